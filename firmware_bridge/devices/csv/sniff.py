"""Whether bytes are lines of numbers, and whether they may be those of a Grove sensor's sketch."""

import numpy as np

from firmware_bridge.devices.csv.layout import columns_of, is_number, layout_of, names_value
from firmware_bridge.devices.csv.parse import parse_line
from firmware_bridge.devices.registry import Heard

__all__ = ["at_grove_pace", "bare_counts", "has_rows"]

_ROWS = 3
_GROVE_TOP = 1023
_LISTEN_S = 2.0
_HELD_BACK_S = 1.5
"""A host that is late for so long at the start reads that many seconds' lines at once."""
_SLOWEST_HZ, _FASTEST_HZ = 18.5, 19.85
"""Around 19.5 Hz; a sketch that takes one reading and waits 50 ms prints 19.9 lines a second, and is none."""


def has_rows(heard: Heard) -> bool:
    """Whether three rows of as many numbers follow one another; comments and blank lines may be between them."""
    columns, count, header = 0, 0, None
    for line in _lines(heard):
        text = line.strip()
        if not text or text.startswith(b"#"):
            continue
        fields = text.split(b",")
        if all(map(is_number, fields)) or _fits_header(header, text, len(fields)):
            count = count + 1 if len(fields) == columns else 1
            columns = len(fields)
            if count == _ROWS:
                return True
        else:
            count = 0
            if names_value(text):
                header = text
    return False


def bare_counts(heard: Heard) -> bool:
    """Whether every line is a whole number of ten bits, ended by CRLF, and nothing else."""
    lines = _lines(heard)
    return bool(lines) and all(
        line.endswith(b"\r") and line[:-1].isdigit() and len(line) <= 5 and int(line) <= _GROVE_TOP for line in lines
    )


def at_grove_pace(heard: Heard) -> bool | None:
    """Whether lines arrive at the pace of a Grove sensor's sketch; None before two seconds of data."""
    if not heard.arrivals:
        return False
    lines, seconds = heard.data.count(b"\n"), heard.arrivals[-1][1]
    if lines > _FASTEST_HZ * (_HELD_BACK_S + 2 * seconds):
        return False
    if seconds < _LISTEN_S:
        return None
    return _SLOWEST_HZ <= _lines_per_second(heard) <= _FASTEST_HZ


def _lines_per_second(heard: Heard) -> float:
    """The median slope of lines over time, each taken over half of what was heard.

    A host that is late for a moment reads several lines at once: a single outlier, even at an end.
    """
    known, count = 0, 0
    lines_by_time = {}
    for size, seconds in heard.arrivals:
        if more := heard.data.count(b"\n", known, size):
            count += more
            lines_by_time[seconds] = count
        known = size
    if len(lines_by_time) < 2:
        return 0.0
    times_s, lines = np.array(list(lines_by_time.items())).T
    half = len(lines) // 2
    return float(np.median((lines[half:] - lines[:-half]) / (times_s[half:] - times_s[:-half])))


def _lines(heard: Heard) -> list[bytes]:
    """The lines that are certainly whole."""
    lines = heard.data.split(b"\n")
    last = lines.pop()
    if not heard.live and last:
        lines.append(last)
    return lines[1:] if heard.live else lines


def _fits_header(header: bytes | None, row: bytes, columns: int) -> bool:
    if header is None or len(columns_of(header)) != columns:
        return False
    return parse_line(row, layout_of(header, columns)[0]) is not None
