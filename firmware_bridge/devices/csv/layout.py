"""The columns of a text stream, the declarations in its comments, and the sampling rate of its time column."""

from collections import Counter
from dataclasses import dataclass

from firmware_bridge.errors import FormatError
from firmware_bridge.tables.declared import declared_by, shortened
from firmware_bridge.tables.numbers import is_number
from firmware_bridge.tables.rates import JITTER_S, estimate_rate

__all__ = [
    "JITTER_S",
    "LARGEST_TIME_S",
    "TIME_COLUMNS",
    "VALUE_COLUMNS",
    "Layout",
    "columns_of",
    "declared_by",
    "estimate_rate",
    "is_number",
    "layout_of",
    "majority",
    "names_value",
]

VALUE_COLUMNS = ("gsr", "gsr_us", "eda", "us", "µs", "microsiemens", "value", "adc")
"""Names of the value column, in order of preference; case is ignored."""

TIME_COLUMNS = {
    **dict.fromkeys(("millis", "ms", "time_ms", "milliseconds"), 1e-3),
    **dict.fromkeys(("micros", "time_us", "microseconds"), 1e-6),
    **dict.fromkeys(("time_s", "time", "seconds"), 1.0),
}
"""Names of the time column, in order of preference, with their unit in seconds."""

LARGEST_TIME_S = 1e15
"""Largest magnitude of a time; a line with a larger one is rejected. Times since 1970 in nanoseconds are smaller."""

_UNITS = {"gsr_us": "uS", "us": "uS", "µs": "uS", "microsiemens": "uS", "adc": "adc"}
_MAX_NAMES = 8


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a line.

    columns: number of fields. value, time: index of the value and the time column. tick_s: unit of the time column in
    seconds. unit_named: whether a header names this unit.
    """

    columns: int
    value: int
    time: int | None = None
    tick_s: float = 1e-3
    unit_named: bool = False


def columns_of(header: bytes) -> list[str]:
    """The names in a header line, in lower case, without quotes and surrounding spaces."""
    text = header.decode("utf-8", errors="replace").replace("μ", "µ")
    return [name.strip().strip("\"'").strip().lower() for name in text.split(",")]


def names_value(line: bytes) -> bool:
    """Whether a line is a header that names a value column."""
    return not set(VALUE_COLUMNS).isdisjoint(columns_of(line))


def layout_of(header: bytes | None, columns: int) -> tuple[Layout, str | None]:
    """The layout of lines with this number of fields, and the unit that the header names, or None.

    Without a header, lines are `value` or `millis,value`. Raises FormatError if the value column cannot be identified.
    """
    names = columns_of(header) if header is not None else []
    value = next((n for n in VALUE_COLUMNS if n in names), None)
    if value is not None:
        if len(names) != columns:
            raise FormatError(f"the header names {len(names)} columns but the lines have {columns}: correct the header")
        time = next((n for n in TIME_COLUMNS if n in names and n != value), None)
        if time is None:
            return Layout(columns, names.index(value)), _UNITS.get(value)
        return Layout(columns, names.index(value), names.index(time), TIME_COLUMNS[time], True), _UNITS.get(value)
    if columns == 1:
        return Layout(1, 0), None
    known = ", ".join(VALUE_COLUMNS)
    if len(names) == columns:
        shown = ", ".join(map(shortened, names[:_MAX_NAMES]))
        raise FormatError(f"none of the columns {shown} is skin conductance: rename its column to one of {known}")
    if columns == 2:
        return Layout(2, 1, 0), None
    raise FormatError(f"the lines have {columns} columns and no header: add one that names the value column ({known})")


def majority(columns: list[int]) -> int:
    """The most frequent number of columns; on a tie, the one that occurs first."""
    return Counter(columns).most_common(1)[0][0]
