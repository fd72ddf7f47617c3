"""Recognition of lines of numbers, and of the lines of a Grove sensor's sketch."""

import numpy as np

from firmware_bridge.devices.csv.layout import columns_of, layout_of, names_value
from firmware_bridge.devices.csv.parse import parse_line
from firmware_bridge.devices.registry import ReceivedBytes
from firmware_bridge.tables.lines import CommonLines
from firmware_bridge.tables.numbers import is_number

__all__ = ["at_grove_rate", "bare_counts", "has_rows", "is_csv"]

_TEXT = b"\t\r\n" + bytes(range(32, 127))
_LARGEST_BINARY_SHARE = 0.25
"""Largest share of non-text bytes in lines; binary frames may contain digits between line ends by chance."""
_ROWS = 3
_GROVE_TOP = 1023
_LISTEN_S = 2.0
_MAX_DELAY_S = 1.5
"""Maximum delay of the first read: the lines of this many seconds may arrive at once."""
_SLOWEST_HZ, _FASTEST_HZ = 18.5, 19.85
"""Limits of the line rate around 19.5 Hz. They exclude a sketch with a delay of 50 ms, which prints 19.9 lines/s."""


def is_csv(received: ReceivedBytes) -> bool:
    """Whether the bytes are certainly lines of numbers, and not those of a Grove sensor's sketch."""
    if len(received.data.translate(None, _TEXT)) > _LARGEST_BINARY_SHARE * len(received.data) or not has_rows(received):
        return False
    return not bare_counts(received) or at_grove_rate(received) is False


def has_rows(received: ReceivedBytes) -> bool:
    """Whether there are three consecutive rows with the same number of numbers, ignoring comments and blank lines."""
    columns, count, header = 0, 0, None
    for line in _common_lines(received):
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


def bare_counts(received: ReceivedBytes) -> bool:
    """Whether every line is a ten-bit integer followed by CRLF."""
    lines = _lines(received)
    return bool(lines) and all(
        line.endswith(b"\r") and line[:-1].isdigit() and len(line) <= 5 and int(line) <= _GROVE_TOP for line in lines
    )


def at_grove_rate(received: ReceivedBytes) -> bool | None:
    """Whether lines arrive at the rate of a Grove sensor's sketch; None before two seconds of data."""
    if not received.arrivals:
        return False
    lines, seconds = received.data.count(b"\n"), received.arrivals[-1][1]
    if lines > _FASTEST_HZ * (_MAX_DELAY_S + 2 * seconds):
        return False
    if seconds < _LISTEN_S:
        return None
    return _SLOWEST_HZ <= _lines_per_second(received) <= _FASTEST_HZ


def _lines_per_second(received: ReceivedBytes) -> float:
    """The line rate: the median of slopes, each over half of the received lines.

    A delayed read returns several lines at once, which is only one outlier of the median.
    """
    known, count = 0, 0
    lines_by_time = {}
    for size, seconds in received.arrivals:
        if more := received.data.count(b"\n", known, size):
            count += more
            lines_by_time[seconds] = count
        known = size
    if len(lines_by_time) < 2:
        return 0.0
    times_s, lines = np.array(list(lines_by_time.items())).T
    half = len(lines) // 2
    return float(np.median((lines[half:] - lines[:-half]) / (times_s[half:] - times_s[:-half])))


def _lines(received: ReceivedBytes) -> list[bytes]:
    """The lines that are certainly complete."""
    lines = received.data.split(b"\n")
    last = lines.pop()
    if not received.live and last:
        lines.append(last)
    return lines[1:] if received.live else lines


def _common_lines(received: ReceivedBytes) -> list[bytes]:
    """The lines that are certainly complete, with commas between the columns."""
    return CommonLines()(b"".join(line + b"\n" for line in _lines(received))).split(b"\n")[:-1]


def _fits_header(header: bytes | None, row: bytes, columns: int) -> bool:
    if header is None or len(columns_of(header)) != columns:
        return False
    return parse_line(row, layout_of(header, columns)[0]) is not None
