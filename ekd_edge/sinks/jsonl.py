"""Predictions as JSON Lines."""

import json
import math
from functools import lru_cache
from typing import TextIO

from ekd_edge.errors import ModelFileError
from ekd_edge.formatting import utc_text
from ekd_edge.prediction import Prediction
from ekd_edge.sinks.line_sink import LineSink

__all__ = ["VERSION", "JsonLinesSink", "to_line"]

VERSION = 1
"""Version of the keys of a line; docs/reference/json-lines.md has the rules for the next one."""


def to_line(prediction: Prediction) -> str:
    """One prediction as one line of JSON, identical to the output of `json.dumps`, in two thirds of its time.

    version: VERSION, the first key. port: the sensor's, as the second key, where there are several sensors.
    first_index, segment: start of the window in the sensor's own count.
    time: the window's end, in seconds on the sensor's own clock. utc: the same in wall-clock time, see `utc_text`.
    targets: {name: {"probabilities": [one for each label], "label": text, or null where withheld}}.
    quality, reason: 0 to 1, and the fault of the signal, or null.
    latency_ms: from the arrival of the last samples to the prediction.

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
        f'{{"version": {VERSION}, {port}"first_index": {prediction.first_index}, "segment": {prediction.segment}, '
        f'"time": {round(prediction.time_s, 6)!r}, "utc": {_quoted_utc(prediction.utc_s)}, '
        f'"targets": {{{", ".join(targets)}}}, '
        f'"quality": {round(quality.score, 3)!r}, "reason": {_quoted(quality.reason)}, '
        f'"latency_ms": {round(prediction.latency_ms, 3)!r}}}'
    )


def _quoted_utc(utc_s: float | None) -> str:
    text = utc_text(utc_s)
    return "null" if text is None else f'"{text}"'


@lru_cache(maxsize=256)
def _quoted(text: str | None) -> str:
    return json.dumps(text)


class JsonLinesSink(LineSink):
    """Writes one JSON object for each prediction; see `LineSink`."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream, to_line)
