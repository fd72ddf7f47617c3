"""A terminal in software: what a program's output looks like on a screen whose size changes."""

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import termios
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import TextIO

_PARTS = re.compile(r"\x1b\[(\?)?([\d;]*)([A-Za-z])|\x1b\]9;(\d+)\x07|([\r\n])|([^\x1b])")

_TIMEOUT_S = 60.0
_LONGEST = 16
"""Characters of a sequence."""


@dataclass
class Row:
    """Cells of one row; a wide character takes two, of which the second is empty. wrapped: it goes on in the next."""

    cells: list[str] = field(default_factory=list)
    wrapped: bool = False


@dataclass
class Buffer:
    """Rows with those that have scrolled off at the top; `top` is the first visible one."""

    rows: list[Row] = field(default_factory=lambda: [Row()])
    top: int = 0
    row: int = 0
    column: int = 0


class Screen:
    """The sequences that ekd writes, on a terminal that rewraps its lines when resized (`reflow`), or cuts them."""

    def __init__(self, columns: int, lines: int, reflow: bool = True) -> None:
        self.columns, self.lines, self.reflow = columns, lines, reflow
        self.buffer = Buffer()
        self.other: Buffer | None = None
        """The first screen, while a program uses the other one."""
        self.styles = 0
        self._rest = ""

    @property
    def shown(self) -> list[str]:
        """The visible rows without spaces at the end, without empty rows at the end."""
        return self._text(self.buffer.rows[self.buffer.top :])

    @property
    def everything(self) -> list[str]:
        """The same, with the rows that have scrolled off, and each wrapped line as one."""
        joined: list[Row] = []
        for row in self.buffer.rows:
            if joined and joined[-1].wrapped:
                joined[-1] = Row(joined[-1].cells + row.cells, row.wrapped)
            else:
                joined.append(row)
        return self._text(joined)

    def feed(self, text: str) -> None:
        text, self._rest, at = self._rest + text, "", 0
        while at < len(text):
            match = _PARTS.match(text, at)
            if match is None and len(text) - at < _LONGEST:
                self._rest = text[at:]  # it goes on in the next text
                return
            assert match is not None, repr(text[at : at + 20])
            private, numbers, command, _marker, move, character = match.groups()
            if character is not None:
                self._put(character)
            elif move is not None:
                self._move(move)
            elif command is not None:
                self._command(private is not None, numbers, command)
            at = match.end()

    def resize(self, columns: int, lines: int) -> None:
        self.columns, self.lines = columns, lines
        for buffer in (self.buffer, self.other):
            if buffer is not None:
                self._fit(buffer, self.reflow and (buffer is self.other or self.other is None))

    def _text(self, rows: list[Row]) -> list[str]:
        texts = ["".join(row.cells).rstrip() for row in rows]
        while texts and not texts[-1]:
            texts.pop()
        return texts

    def _put(self, character: str) -> None:
        assert character.isprintable(), repr(character)
        wide = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if self.buffer.column + wide > self.columns:
            self.buffer.rows[self.buffer.row].wrapped = True
            self._down()
            self.buffer.column = 0
        cells = self.buffer.rows[self.buffer.row].cells
        cells += " " * (self.buffer.column + wide - len(cells))
        cells[self.buffer.column : self.buffer.column + wide] = [character, ""][:wide]
        self.buffer.column += wide

    def _move(self, move: str) -> None:
        if move == "\r":
            self.buffer.column = 0
        else:
            self._down()

    def _down(self) -> None:
        buffer = self.buffer
        buffer.row += 1
        if buffer.row == len(buffer.rows):
            buffer.rows.append(Row())
        buffer.top = max(buffer.top, buffer.row - self.lines + 1)

    def _command(self, private: bool, numbers: str, command: str) -> None:
        buffer = self.buffer
        match private, numbers, command:
            case False, _, "m":
                self.styles += 1
            case False, _, "A":
                buffer.row = max(buffer.top, buffer.row - int(numbers or 1))
            case False, "", "H":
                buffer.row, buffer.column = buffer.top, 0
            case False, "", "K" | "J":
                row = buffer.rows[buffer.row]
                del row.cells[buffer.column :]
                row.wrapped = False
                if command == "J":
                    del buffer.rows[buffer.row + 1 :]
            case True, "1049", "h":
                assert self.other is None
                self.other, self.buffer = buffer, Buffer()
            case True, "1049", "l":
                assert self.other is not None
                self.buffer, self.other = self.other, None
            case _:
                raise AssertionError(f"unknown sequence {numbers}{command}")

    def _fit(self, buffer: Buffer, reflow: bool) -> None:
        if reflow:
            self._rewrap(buffer)
        else:
            for row in buffer.rows:
                del row.cells[self.columns :]
                row.wrapped = False
            buffer.column = min(buffer.column, self.columns)
        if self.other is not None and buffer is self.buffer:
            # The other screen keeps no rows that have scrolled off.
            del buffer.rows[: buffer.top]
            buffer.row, buffer.top = buffer.row - buffer.top, 0
        buffer.top = max(0, min(len(buffer.rows) - self.lines, buffer.row), buffer.row - self.lines + 1)

    def _rewrap(self, buffer: Buffer) -> None:
        old, buffer.rows = buffer.rows, []
        line: list[str] = []
        cursor: int | None = None
        for number, row in enumerate(old):
            if number == buffer.row:
                cursor = len(line) + buffer.column
            line += row.cells
            if row.wrapped:
                continue
            first = len(buffer.rows)
            pieces = [line[i : i + self.columns] for i in range(0, len(line), self.columns)] or [[]]
            buffer.rows += [Row(piece, number < len(pieces) - 1) for number, piece in enumerate(pieces)]
            if cursor is not None:
                down = min(max(0, cursor - 1) // self.columns, len(pieces) - 1)
                buffer.row, buffer.column = first + down, min(cursor - down * self.columns, self.columns)
                cursor = None
            line = []


def set_size(terminal: int, columns: int, lines: int) -> None:
    """The size that programs on this terminal are given."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


class Terminal:
    """A pseudo-terminal and what is on its screen: a context manager; programs write to `stream` or to `slave`."""

    def __init__(self, columns: int = 100, lines: int = 24, reflow: bool = True, encoding: str = "utf-8") -> None:
        self.screen = Screen(columns, lines, reflow)
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._markers = count(1)
        self.written = 0
        """Bytes written so far."""

    def __enter__(self) -> "Terminal":
        self.master, self.slave = pty.openpty()
        self.stream: TextIO = os.fdopen(os.dup(self.slave), "w", encoding=self._encoding)
        self.resize(self.screen.columns, self.screen.lines)
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        os.close(self.slave)
        os.close(self.master)

    def resize(self, columns: int, lines: int) -> None:
        set_size(self.slave, columns, lines)
        self.screen.resize(columns, lines)

    def show(self) -> list[str]:
        """Everything that was written until now appears on the screen; the visible rows."""
        marker = f"\x1b]9;{next(self._markers)}\x07".encode()
        os.write(self.slave, marker)
        data = b""
        while not data.endswith(marker):
            data += self._read()
        self.written += len(data) - len(marker)
        return self.screen.shown

    def read_until(self, condition: Callable[[list[str]], bool]) -> None:
        """Read what another process writes until the visible rows meet the condition."""
        while not condition(self.screen.shown):
            self._read()

    def _read(self) -> bytes:
        if not select.select([self.master], [], [], _TIMEOUT_S)[0]:
            raise TimeoutError(f"nothing was written for {_TIMEOUT_S:g} s; the screen: {self.screen.shown}")
        data = os.read(self.master, 65536)
        self.screen.feed(self._decoder.decode(data))
        return data
