"""Predictions as JSON Lines."""

import json
from typing import TextIO

from ekd_edge.live import Prediction
from ekd_edge.signal.blocks import SampleBlock

__all__ = ["JsonLines", "to_json"]


def to_json(prediction: Prediction) -> dict[str, object]:
    """The object written for one prediction.

    first_index, segment: where the window begins in the sensor's own count.
    time: the window's end, in seconds on the sensor's own clock.
    targets: {name: {"probabilities": [one a label], "label": text, or null where withheld}}.
    quality, reason: 0 to 1, and what is wrong with the signal, or null.
    latency_ms: from the arrival of the last samples to the prediction.
    """
    return {
        "first_index": prediction.first_index,
        "segment": prediction.segment,
        "time": round(prediction.time_s, 6),
        "targets": {
            name: {
                "probabilities": [round(p, 6) for p in probabilities],
                "label": prediction.labels[name],
            }
            for name, probabilities in prediction.probabilities.items()
        },
        "quality": round(prediction.quality.score, 3),
        "reason": prediction.quality.reason,
        "latency_ms": round(prediction.latency_ms, 3),
    }


class JsonLines:
    """Writes one JSON object a line to a text stream; flush_each: for a reader who waits for each."""

    def __init__(self, stream: TextIO, flush_each: bool) -> None:
        self._stream = stream
        self._flush_each = flush_each
        self._encode = json.JSONEncoder(separators=(", ", ": "), allow_nan=False).encode

    def observe(self, block: SampleBlock) -> None:
        """Nothing to write for a block."""

    def write(self, prediction: Prediction) -> None:
        """Write one line."""
        self._stream.write(self._encode(to_json(prediction)) + "\n")
        if self._flush_each:
            self._stream.flush()

    def close(self) -> None:
        """Flush what is buffered; the stream stays open."""
        self._stream.flush()
