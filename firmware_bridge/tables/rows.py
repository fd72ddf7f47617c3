"""The numbers in the rows of a table: in bulk where they are plain, line by line where they are not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.tables.declared import shortened
from firmware_bridge.tables.layout import MISSING, Layout
from firmware_bridge.tables.numbers import column_of, is_number, numbers_of
from firmware_bridge.tables.times import seconds_of_iso

__all__ = ["Rows", "read_rows"]

_CHUNK_BYTES, _SMALL_BYTES = 1 << 18, 1 << 12
_COMMA, _NEWLINE = b",\n"
_LARGEST = 1e19
"""Largest magnitude of a time in any unit; times since 1970 in nanoseconds are smaller."""
_DOUBLE_SPACED = 0.9
"""Share of rows with a blank line before them from which blank lines are line ends, not missing samples."""

_Floats = NDArray[np.float64]
_Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a table.

    numbers: float64 (n, k). missing: int64 (n,), lines without a reading before each row. restarts: rows before which
    the header is repeated. damaged: number of lines that are neither rows nor have an empty cell. first_damaged: the
    first of them, with its number.
    """

    numbers: _Floats
    missing: _Counts
    restarts: tuple[int, ...]
    damaged: int
    first_damaged: str


def read_rows(layout: Layout, wanted: Sequence[int], path: Path | None = None) -> Rows:
    """The rows of a table.

    Args:
        layout: of the table.
        wanted: numbers of the columns to read; a time column is the last of them.
        path: the file, if the layout's rows are in it as they are. Plain rows are read three times as fast from it.

    Returns:
        The rows, all of whose numbers are finite. A line with an empty cell, or blank in a table of one column without
        times, is a missing reading.
    """
    if path is not None and (numbers := _plain_rows(layout, list(wanted), path)) is not None:
        return Rows(numbers, np.zeros(len(numbers), dtype=np.int64), (), 0, "")
    reader = _Reader(layout, wanted)
    text, at = layout.rows, 0
    while at < len(text):
        end = text.find(b"\n", at + _CHUNK_BYTES) + 1 or len(text)
        reader.read(at, end)
        at = end
    return reader.rows()


def _plain_rows(layout: Layout, wanted: list[int], path: Path) -> _Floats | None:
    """The wanted numbers (n, k) by numpy's reader of files, or None if a line is not a plain row."""
    lines = layout.rows.count(b"\n")
    if layout.iso or layout.rows.count(b",") != lines * (layout.count - 1):
        return None
    columns = None if len(wanted) == layout.count else wanted
    try:
        numbers: _Floats = np.loadtxt(
            path,
            delimiter=",",
            skiprows=layout.first_line - 1,
            usecols=columns,
            ndmin=2,
            comments=None,
            encoding="utf-8",
        )
    except (ValueError, OSError):
        return None
    if len(numbers) != lines or not np.isfinite(numbers).all():
        return None
    if columns is None and wanted != list(range(layout.count)):
        numbers = numbers[:, wanted]
    if layout.columns.time is not None and np.abs(numbers[:, -1]).max() > _LARGEST:
        return None
    return numbers


class _Reader:
    """Collects the rows of chunks of text."""

    def __init__(self, layout: Layout, wanted: Sequence[int]) -> None:
        self._layout, self._wanted = layout, list(wanted)
        self._text = np.frombuffer(layout.rows, dtype=np.uint8)
        self._parts: list[_Floats] = []
        self._count = 0
        self._missing: dict[int, int] = {}
        self._blank: dict[int, int] = {}
        self._restarts: list[int] = []
        self._damaged, self._first_damaged = 0, ""
        self._is_time = layout.columns.time is not None

    def rows(self) -> Rows:
        """All rows so far."""
        numbers = np.concatenate(self._parts) if self._parts else np.empty((0, len(self._wanted)))
        missing = np.zeros(len(numbers) + 1, dtype=np.int64)
        for row, lines in self._missing.items():
            missing[row] += lines
        if self._layout.count == 1 and len(self._blank) < _DOUBLE_SPACED * len(numbers):
            for row, lines in self._blank.items():
                missing[row] += lines
        return Rows(numbers, missing[:-1], tuple(self._restarts), self._damaged, self._first_damaged)

    def read(self, start: int, stop: int) -> None:
        """Read the lines of these bytes, in bulk where possible."""
        chunk = self._layout.rows[start:stop]
        numbers = None if self._layout.iso else self._bulk(chunk, self._text[start:stop])
        if numbers is not None:
            self._add(numbers)
        elif stop - start > _SMALL_BYTES and not self._layout.iso:
            middle = self._layout.rows.find(b"\n", (start + stop) // 2, stop) + 1 or stop
            if middle == stop:
                self._by_line(chunk, start)
            else:
                self.read(start, middle)
                self.read(middle, stop)
        else:
            self._by_line(chunk, start)

    def _add(self, numbers: _Floats) -> None:
        self._parts.append(numbers)
        self._count += len(numbers)

    def _bulk(self, chunk: bytes, text: NDArray[np.uint8]) -> _Floats | None:
        """The wanted numbers (n, k), or None if a line is not a plain row."""
        columns = self._layout.count
        if b"#" in chunk:
            return None
        n = chunk.count(b"\n")
        if columns == 1:
            values = numbers_of(chunk, n)
            return None if values is None else values[:, None]
        cuts = np.flatnonzero((text == _COMMA) | (text == _NEWLINE))
        if len(cuts) != columns * n or not (text[cuts[columns - 1 :: columns]] == _NEWLINE).all():
            return None
        if 2 * len(self._wanted) >= columns > 3:
            table = numbers_of(chunk, n * columns)
            if table is not None:
                return self._checked(table.reshape(n, columns)[:, self._wanted])
        found = np.empty((n, len(self._wanted)))
        for i, column in enumerate(self._wanted):
            values = numbers_of(column_of(text, cuts, column, columns), n)
            if values is None:
                return None
            found[:, i] = values
        return self._checked(found)

    def _checked(self, numbers: _Floats) -> _Floats | None:
        if self._is_time and len(numbers) and np.abs(numbers[:, -1]).max() > _LARGEST:
            return None
        return numbers

    def _by_line(self, chunk: bytes, start: int) -> None:
        found: list[list[float]] = []
        header, columns = self._layout.header, self._layout.count
        at = start
        for line in chunk.split(b"\n")[:-1]:
            row = self._count + len(found)
            cells = line.split(b",")
            numbers = self._numbers(cells)
            if numbers is not None and len(cells) == columns:
                found.append(numbers)
            elif not line.strip():
                self._blank[row] = self._blank.get(row, 0) + 1
            elif line.startswith(b"#"):
                pass
            elif header is not None and b",".join(cell.strip() for cell in cells) == header:
                self._restarts.append(row)
            else:
                self._missing[row] = self._missing.get(row, 0) + 1
                if not self._is_missing(cells):
                    if not self._damaged:
                        number = self._layout.first_line + self._layout.rows.count(b"\n", 0, at)
                        self._first_damaged = f"line {number}: {shortened(line.decode('utf-8', 'replace'), 60)!r}"
                    self._damaged += 1
            at += len(line) + 1
        if found:
            self._add(np.array(found))

    def _numbers(self, cells: Sequence[bytes]) -> list[float] | None:
        """The wanted numbers of a row, or None if one of them is missing or not finite."""
        numbers = []
        for column in self._wanted:
            if column >= len(cells):
                return None
            cell = cells[column]
            if self._layout.iso and column == self._layout.columns.time:
                if (moment := seconds_of_iso(cell)) is None:
                    return None
                numbers.append(moment)
            elif is_number(cell) and math.isfinite(number := float(cell)):
                numbers.append(number)
            else:
                return None
        return None if self._is_time and abs(numbers[-1]) > _LARGEST else numbers

    def _is_missing(self, cells: Sequence[bytes]) -> bool:
        """Whether the row has all its cells, of which one is empty or a text for a missing reading."""
        return len(cells) == self._layout.count and any(
            cells[column].strip().lower() in MISSING for column in self._wanted
        )
