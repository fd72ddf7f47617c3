"""Parsing of complete text lines to numbers, in bulk or one by one, with the same result."""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.devices.csv.layout import LARGEST_TIME_S, Layout, is_number

__all__ = ["Parsed", "parse_bulk", "parse_line"]

_Number = TypeVar("_Number", np.int64, np.float64)

_COMMA, _NEWLINE, _POINT = b",\n."
_DIGITS = b"0123456789"
_EXACT, _EXACT_PLACES = 1 << 53, 22
"""Integers below 2**53 and powers of ten up to 10**22 are exact floats, so their quotient is rounded only once."""


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
        values = _numbers(lines, len(ends))
        return None if values is None else Parsed(values, None)
    cuts = np.flatnonzero((text == _COMMA) | (text == _NEWLINE))
    if len(cuts) != layout.columns * len(ends) or not np.array_equal(cuts[layout.columns - 1 :: layout.columns], ends):
        return None
    if lines.startswith(b"#") or b"\n#" in lines:
        return None
    values = _numbers(_column(text, cuts, layout.value, layout.columns), len(ends))
    if values is None or layout.time is None:
        return None if values is None else Parsed(values, None)
    times = _numbers(_column(text, cuts, layout.time, layout.columns), len(ends))
    if times is None or max(times.max(), -times.min()) * layout.tick_s > LARGEST_TIME_S:
        return None
    return Parsed(values, times * layout.tick_s)


def _column(text: NDArray[np.uint8], cuts: NDArray[np.intp], column: int, columns: int) -> bytes:
    """The fields of one column, each with its separator; cuts are the positions of all separators."""
    stops = cuts[column::columns] + 1
    starts = (
        np.concatenate([[0], cuts[columns - 1 : -1 : columns] + 1]) if column == 0 else cuts[column - 1 :: columns] + 1
    )
    inside = np.zeros(len(text) + 1, dtype=np.int8)
    inside[starts] = 1
    inside[stops] -= 1
    return text[np.cumsum(inside[:-1], dtype=np.int8).view(np.bool_)].tobytes()


def _numbers(fields: bytes, n: int) -> NDArray[np.float64] | None:
    """Parse n fields, each of which ends in a comma or newline, to float64 (n,); None unless all are finite numbers."""
    fields = fields.replace(b"\n", b",")
    rest = fields.translate(None, _DIGITS)
    places = _places(fields, rest, n)
    if places is not None:
        whole = _parsed(fields.translate(None, b"."), n, np.int64)
        if whole is not None and whole.max() < _EXACT:
            quotients: NDArray[np.float64] = whole / float(10**places)
            return quotients
    if rest.translate(None, b"+-.eE,"):
        return None
    values = _parsed(fields, n, np.float64)
    return values if values is not None and np.isfinite(values).all() else None


def _places(fields: bytes, rest: bytes, n: int) -> int | None:
    """The number of decimal places, if it is the same in all n fields and they have only digits and a point, else None.

    rest: the fields without their digits. Such fields are parsed as integers, which takes a third of the time.
    """
    if len(rest) == n:
        return 0
    if len(rest) != 2 * n or rest != b".," * n:
        return None
    places = fields.index(b",") - fields.index(b".") - 1
    text = np.frombuffer(fields, dtype=np.uint8)
    same = (text[np.flatnonzero(text == _COMMA) - 1 - places] == _POINT).all()
    return places if same and places <= _EXACT_PLACES else None


def _parsed(fields: bytes, n: int, dtype: type[_Number]) -> NDArray[_Number] | None:
    """Parse n fields, each of which ends in a comma; integers that exceed int64 become its largest value."""
    try:
        numbers: NDArray[_Number] = np.fromstring(fields, dtype=dtype, sep=",")
    except (ValueError, DeprecationWarning):
        return None
    return numbers if len(numbers) == n else None


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
