"""The columns of a text stream, by the names that tables of files have too (`firmware_bridge.tables.columns`)."""

from collections import Counter
from dataclasses import dataclass

from firmware_bridge.tables import columns as tables

__all__ = ["LARGEST_TIME_S", "Layout", "columns_of", "layout_of", "majority", "names_value"]

LARGEST_TIME_S = 1e15
"""Largest magnitude of a time; a line with a larger one is rejected. Times since 1970 in nanoseconds are smaller."""

_TICK_S = 1e-3
"""Unit of a time column whose name does not state it, until the rate shows another."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a line.

    columns: number of fields. value, time: index of the value and the time column. tick_s: unit of the time column in
    seconds. unit_named: whether a header names this unit.
    """

    columns: int
    value: int
    time: int | None = None
    tick_s: float = _TICK_S
    unit_named: bool = False


def columns_of(header: bytes) -> list[str]:
    """The names in a header line, without quotes and surrounding spaces."""
    text = header.decode("utf-8", errors="replace")
    return [name.strip().strip("\"'").strip() for name in text.split(",")]


def names_value(line: bytes) -> bool:
    """Whether a line is a header that names a value column. A single name of several words is a greeting."""
    names = columns_of(line)
    return tables.names_value(names) and (len(names) > 1 or not _is_greeting(names[0]))


def layout_of(header: bytes | None, columns: int, line: bytes = b"") -> tuple[Layout, str | None]:
    """The layout of lines with this number of fields, and the unit that the header names, or None.

    Without a header that names a value column, lines are `value`, or time and value.

    Args:
        header: the header line, or another text that was sent before the numbers, or None.
        columns: number of fields of the lines.
        line: one of them, for the error message.

    Raises:
        FormatError: the value column cannot be identified.
    """
    names = columns_of(header) if header is not None else []
    if header is not None and not names_value(header) and columns <= 2 and not _is_header(names, columns):
        names = []
    found = tables.columns_of(names, columns, line.decode("utf-8", errors="replace"))
    tick_s = found.tick_s
    return Layout(columns, found.value, found.time, tick_s or _TICK_S, tick_s is not None), found.unit


def majority(columns: list[int]) -> int:
    """The most frequent number of columns; on a tie, the one that occurs first."""
    return Counter(columns).most_common(1)[0][0]


def _is_header(names: list[str], columns: int) -> bool:
    """Whether a text without a known value column is a header: it has the columns of the lines, and no sentence."""
    return len(names) == columns > 1 and not any(map(_is_greeting, names))


def _is_greeting(name: str) -> bool:
    return " " in name and "(" not in name and "[" not in name
