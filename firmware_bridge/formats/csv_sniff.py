"""Whether bytes are lines of numbers, and whether they may be those of a Grove sensor's sketch."""

from firmware_bridge.formats.csv_layout import columns_of, is_number, layout_of, names_value
from firmware_bridge.formats.csv_parse import parse_line
from firmware_bridge.formats.device_format import Heard

__all__ = ["at_grove_pace", "bare_counts", "has_rows"]

_ROWS = 3
_GROVE_TOP = 1023
_LISTEN_S = 2.0
_SURE_LINES = 10
_SLOWEST_HZ, _FASTEST_HZ = 18.5, 19.85
"""Around 19.5 Hz; a sketch that takes one reading and waits 50 ms prints 19.9 lines a second, and is none."""


def has_rows(heard: Heard) -> bool:
    """Whether three rows of as many numbers follow one another; comments and blank lines may lie between them."""
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
    """Whether lines arrive at the pace of a Grove sensor's sketch; None until two seconds of listening tell."""
    if heard.seconds is None:
        return False
    lines = heard.data.count(b"\n")
    if lines >= _SURE_LINES and lines - 1 > 2 * _FASTEST_HZ * heard.seconds:
        return False
    if heard.seconds < _LISTEN_S:
        return None
    return _SLOWEST_HZ <= (lines - 1) / heard.seconds <= _FASTEST_HZ


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
