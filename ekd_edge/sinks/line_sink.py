"""A sink that writes one line of text for each prediction."""

from collections.abc import Callable
from typing import TextIO

from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock

__all__ = ["LineSink"]


class LineSink:
    """Writes one line for each prediction to a text stream.

    Args:
        stream: stays open.
        to_line: the line of a prediction, without a newline.
    """

    wants_blocks = False

    def __init__(self, stream: TextIO, to_line: Callable[[Prediction], str]) -> None:
        self._stream = stream
        self._to_line = to_line

    def observe(self, block: SampleBlock, source: str | None = None) -> None:
        """Ignore the block."""

    def write(self, prediction: Prediction) -> None:
        """Write one line."""
        self._stream.write(self._to_line(prediction) + "\n")

    def flush(self) -> None:
        """Flush the stream, for a live reader."""
        self._stream.flush()

    def close(self) -> None:
        """Flush the stream."""
        self._stream.flush()
