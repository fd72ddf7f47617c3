"""Lines on a terminal that are redrawn in place, with nothing left behind when its size changes."""

import os
import shutil
from collections.abc import Sequence
from typing import TextIO

from ekd_edge.sinks.pieces import Look, Piece, width_of

__all__ = ["FullScreen", "InlineLine", "same_terminal", "terminal_size"]

_ERASE_LINE, _ERASE_BELOW = "\x1b[K", "\x1b[J"
_OTHER_SCREEN, _FIRST_SCREEN, _HOME = "\x1b[?1049h", "\x1b[?1049l", "\x1b[H"


def terminal_size(stream: TextIO) -> tuple[int, int]:
    """Columns and lines of the terminal that the stream writes to; of the environment, or 80 and 24, for any other."""
    try:
        size = os.get_terminal_size(stream.fileno())
        if size.columns > 0 and size.lines > 0:
            return size.columns, size.lines
    except (OSError, ValueError):
        pass
    size = shutil.get_terminal_size()
    return size.columns, size.lines


def same_terminal(one: TextIO, other: TextIO) -> bool:
    """Whether both streams write to one terminal."""
    try:
        return one.isatty() and other.isatty() and os.ttyname(one.fileno()) == os.ttyname(other.fileno())
    except (OSError, ValueError):
        return False


class InlineLine:
    """One line below the earlier output of a terminal.

    A terminal that becomes narrower wraps the line that was drawn; all of its rows are erased with the next drawing.
    """

    def __init__(self, stream: TextIO, look: Look) -> None:
        self._stream, self._look = stream, look
        self._drawn: str | None = None
        self._columns = 0
        """Columns of the line that was drawn."""

    def draw(self, pieces: Sequence[Piece]) -> None:
        """Replace the line, if it changed."""
        text = self._look.paint(pieces)
        width, _ = terminal_size(self._stream)
        if text == self._drawn and self._columns < width:
            return
        self._write(f"{self._start(width)}{text}{_ERASE_BELOW}")
        self._drawn, self._columns = text, width_of(pieces)

    def interrupt(self, text: str) -> None:
        """Print other text above the line."""
        line, self._drawn = self._drawn, None
        width, _ = terminal_size(self._stream)
        again = "" if line is None or self._columns >= width else line
        self._write(f"{self._start(width)}{_ERASE_BELOW}{self._look.paint([(text, '')])}\n{again}")
        self._drawn, self._columns = (again, self._columns) if again else (None, 0)

    def erase(self) -> None:
        """Remove the line."""
        if self._drawn is not None:
            self._write(f"{self._start(terminal_size(self._stream)[0])}{_ERASE_BELOW}")
        self._drawn, self._columns = None, 0

    def end(self) -> None:
        """Keep the line, and continue below it."""
        if self._drawn is not None:
            self._write("\n")
        self._drawn, self._columns = None, 0

    def _start(self, width: int) -> str:
        """Move the cursor to the first column of the first row of the line that was drawn."""
        wrapped = max(0, self._columns - 1) // width
        return f"\x1b[{wrapped}A\r" if wrapped else "\r"

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class FullScreen:
    """A terminal's other screen (the alternate screen buffer): the earlier output is there again after `close`."""

    def __init__(self, stream: TextIO, look: Look) -> None:
        self._stream, self._look = stream, look
        self._drawn: tuple[tuple[int, int], str] | None = None

    def draw(self, lines: Sequence[Sequence[Piece]]) -> None:
        """Show these lines and nothing else, if they or the terminal's size changed."""
        text = "\r\n".join([self._look.paint(line) + _ERASE_LINE for line in lines])
        drawn = (terminal_size(self._stream), text)
        if drawn == self._drawn:
            return
        begin = _OTHER_SCREEN if self._drawn is None else ""
        self._drawn = drawn
        self._stream.write(f"{begin}{_HOME}{text}{_ERASE_BELOW}")
        self._stream.flush()

    def close(self, lines: Sequence[Sequence[Piece]]) -> None:
        """Return to the first screen and print these lines there."""
        leave = "" if self._drawn is None else _FIRST_SCREEN
        self._drawn = None
        self._stream.write(leave + "".join([self._look.paint(line) + "\n" for line in lines]))
        self._stream.flush()
