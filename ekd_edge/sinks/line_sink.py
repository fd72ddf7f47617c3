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
        flush_each: flush after each line, for a live reader.
        to_line: the line of a prediction, without a newline.
    """

    wants_blocks = False

    def __init__(self, stream: TextIO, flush_each: bool, to_line: Callable[[Prediction], str]) -> None:
        self._stream = stream
        self._flush_each = flush_each
        self._to_line = to_line

    def observe(self, block: SampleBlock, source: str | None = None) -> None:
        """Ignore the block."""

    def write(self, prediction: Prediction) -> None:
        """Write one line."""
        self._stream.write(self._to_line(prediction) + "\n")
        if self._flush_each:
            self._stream.flush()

    def close(self) -> None:
        """Flush the stream."""
        self._stream.flush()
