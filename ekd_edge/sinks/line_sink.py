"""A sink that writes one line of text for each prediction."""

import os
import select
import stat
from collections.abc import Callable
from typing import TextIO

from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock

__all__ = ["LineSink"]

_ATOMIC_CHARACTERS = select.PIPE_BUF // 4
"""A pipe that is writable accepts PIPE_BUF bytes, and a character takes at most four in UTF-8."""


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
        self._poll = _poll_of(stream)

    def observe(self, block: SampleBlock, source: str | None = None) -> None:
        """Ignore the block."""

    def write(self, prediction: Prediction) -> None:
        """Write one line."""
        self._stream.write(self._to_line(prediction) + "\n")

    def flush(self) -> None:
        """Flush the stream, for a live reader."""
        self._stream.flush()

    def try_write(self, prediction: Prediction) -> bool:
        """Write one line if the stream is a pipe or a socket that accepts it without blocking; return whether it did.

        A file or a terminal may block at any time.
        """
        if self._poll is None or not self._poll.poll(0):
            return False
        line = self._to_line(prediction) + "\n"
        if len(line) > _ATOMIC_CHARACTERS:
            return False
        self._stream.write(line)
        self._stream.flush()
        return True

    def close(self) -> None:
        """Flush the stream."""
        self._stream.flush()


def _poll_of(stream: TextIO) -> "select.poll | None":
    """A poll object that shows whether the stream accepts a line; None unless it is a pipe or a socket."""
    try:
        descriptor = stream.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError):
        return None
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return None
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return poll
