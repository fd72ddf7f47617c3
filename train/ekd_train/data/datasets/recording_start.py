"""The date and time of a recording's first sample: its time column, or a comment `# start: 2026-11-30T12:00:00Z`."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from ekd_edge.errors import DataError
from firmware_bridge.errors import FormatError
from firmware_bridge.tables.layout import layout_of
from firmware_bridge.tables.numbers import is_number
from firmware_bridge.tables.text import as_lines

__all__ = ["date_of", "start_of"]

_HEAD_BYTES: Final = 1 << 16
_START = re.compile(rb"#\s*start\s*:\s*(\S.*?)\s*", re.IGNORECASE)
_UNITS_S: Final = (1.0, 1e-3, 1e-6, 1e-9)
_SINCE_1970_S: Final = (5e8, 5e9)
"""Times since 1970 of the years 1985 to 2128."""


def start_of(path: Path) -> datetime | None:
    """When the recording began, with a zone if the file states one; None if the file has no dates.

    Raises DataError if the file cannot be read or is not a table of samples.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if len(head) == _HEAD_BYTES:
                head += file.readline() if not head.startswith((b"\xff\xfe", b"\xfe\xff")) else file.read()
        lines = as_lines(head)
        stated = next((match for line in lines.split(b"\n") if (match := _START.fullmatch(line))), None)
        if stated is not None and (start := date_of(stated[1].decode())) is not None:
            return start
        layout = layout_of(lines)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    except FormatError as error:
        raise DataError(f"{path}: {error}") from error
    columns = layout.columns
    if columns.time is None:
        return None
    rows = (row.split(b",") for row in layout.rows.split(b"\n"))
    first = next((row for row in rows if len(row) == layout.count and is_number(row[columns.value])), None)
    return None if first is None else _date_of_cell(first[columns.time].strip(), columns.tick_s)


def date_of(text: str) -> datetime | None:
    """The date and time of a text in ISO 8601, with or without a zone; None for any other text, as a time of day."""
    try:
        return datetime.fromisoformat(text) if "-" in text[4:5] and ":" in text else None
    except ValueError:
        return None


def _date_of_cell(cell: bytes, tick_s: float | None) -> datetime | None:
    if not is_number(cell):
        return date_of(cell.decode("utf-8", "replace").replace(",", "."))
    low, high = _SINCE_1970_S
    units = _UNITS_S if tick_s is None else (tick_s,)
    found = next((seconds for unit in units if low < (seconds := float(cell) * unit) < high), None)
    return None if found is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=found)
