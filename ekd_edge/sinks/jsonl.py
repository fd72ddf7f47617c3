"""Predictions as JSON Lines."""

import json
import math
from functools import lru_cache
from typing import TextIO

from ekd_edge.errors import ModelFileError
from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock

__all__ = ["JsonLinesSink", "to_line"]


def to_line(prediction: Prediction) -> str:
    """One prediction as one line of JSON, letter for letter as `json.dumps` writes it, in two thirds of its time.

    first_index, segment: where the window begins in the sensor's own count.
    time: the window's end, in seconds on the sensor's own clock.
    targets: {name: {"probabilities": [one a label], "label": text, or null where withheld}}.
    quality, reason: 0 to 1, and what is wrong with the signal, or null.
    latency_ms: from the arrival of the last samples to the prediction.
    port: the sensor's, first, where there are several.

    Raises ModelFileError where a probability is no number: JSON has no word for that.
    """
    targets = []
    for name, probabilities in prediction.probabilities.items():
        if not math.isfinite(sum(probabilities)):
            raise ModelFileError(
                f"the model's probabilities of {name} are {probabilities}, no numbers: export it again"
            )
        chances = ", ".join([repr(round(chance, 6)) for chance in probabilities])
        label = _quoted(prediction.labels[name])
        targets.append(f'{_quoted(name)}: {{"probabilities": [{chances}], "label": {label}}}')
    quality = prediction.quality
    port = "" if prediction.source is None else f'"port": {_quoted(prediction.source)}, '
    return (
        f'{{{port}"first_index": {prediction.first_index}, "segment": {prediction.segment}, '
        f'"time": {round(prediction.time_s, 6)!r}, "targets": {{{", ".join(targets)}}}, '
        f'"quality": {round(quality.score, 3)!r}, "reason": {_quoted(quality.reason)}, '
        f'"latency_ms": {round(prediction.latency_ms, 3)!r}}}'
    )


@lru_cache(maxsize=256)
def _quoted(text: str | None) -> str:
    return json.dumps(text)


class JsonLinesSink:
    """Writes one JSON object a line to a text stream; flush_each: for a reader who waits for each."""

    wants_blocks = False

    def __init__(self, stream: TextIO, flush_each: bool) -> None:
        self._stream = stream
        self._flush_each = flush_each

    def observe(self, block: SampleBlock) -> None:
        """Nothing to write for a block."""

    def write(self, prediction: Prediction) -> None:
        """Write one line."""
        self._stream.write(to_line(prediction) + "\n")
        if self._flush_each:
            self._stream.flush()

    def close(self) -> None:
        """Flush what is buffered; the stream stays open."""
        self._stream.flush()
