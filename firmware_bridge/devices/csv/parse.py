"""Parsing of complete text lines to numbers, in bulk or one by one, with the same result."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.devices.csv.layout import LARGEST_TIME_S, Layout
from firmware_bridge.tables.numbers import column_of, is_number, numbers_of

__all__ = ["Parsed", "parse_bulk", "parse_line"]

_COMMA, _NEWLINE = b",\n"


@dataclass(frozen=True, slots=True)
class Parsed:
    """Parsed lines. values: raw readings, float64 (n,). times_s: their times in seconds, float64 (n,), or None."""

    values: NDArray[np.float64]
    times_s: NDArray[np.float64] | None


def parse_bulk(lines: bytes, layout: Layout, longest: int) -> Parsed | None:
    """Parse all lines, each of which ends in a newline, or return None if a line is not a plain row.

    A plain row has the layout's number of fields, decimal numbers without spaces in the value and time columns, and at
    most `longest` bytes. It is not a comment.
    """
    if b"\r" in lines:
        lines = lines.replace(b"\r\n", b"\n").replace(b"\n\r", b"\n").removeprefix(b"\r")
    text = np.frombuffer(lines, dtype=np.uint8)
    ends = np.flatnonzero(text == _NEWLINE)
    if len(ends) == 0 or ends[0] > longest or (len(ends) > 1 and np.diff(ends).max() > longest + 1):
        return None
    if layout.columns == 1:
        values = numbers_of(lines, len(ends))
        return None if values is None else Parsed(values, None)
    cuts = np.flatnonzero((text == _COMMA) | (text == _NEWLINE))
    if len(cuts) != layout.columns * len(ends) or not np.array_equal(cuts[layout.columns - 1 :: layout.columns], ends):
        return None
    if lines.startswith(b"#") or b"\n#" in lines:
        return None
    values = numbers_of(column_of(text, cuts, layout.value, layout.columns), len(ends))
    if values is None or layout.time is None:
        return None if values is None else Parsed(values, None)
    times = numbers_of(column_of(text, cuts, layout.time, layout.columns), len(ends))
    if times is None or max(times.max(), -times.min()) * layout.tick_s > LARGEST_TIME_S:
        return None
    return Parsed(values, times * layout.tick_s)


def parse_line(line: bytes, layout: Layout) -> tuple[float, float] | None:
    """The value and the time in seconds (0 without a time column) of one line, or None if the line is invalid."""
    fields = line.split(b",")
    if len(fields) != layout.columns or not is_number(fields[layout.value]):
        return None
    value, time = float(fields[layout.value]), 0.0
    if layout.time is not None:
        if not is_number(fields[layout.time]):
            return None
        time = float(fields[layout.time]) * layout.tick_s
    return (value, time) if math.isfinite(value) and abs(time) <= LARGEST_TIME_S else None
