"""Reading of a whole table of samples: readings, times, missing samples, sampling rate and unit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import FormatError, SignalError
from firmware_bridge.tables.columns import Columns
from firmware_bridge.tables.declared import Declared
from firmware_bridge.tables.layout import layout_of
from firmware_bridge.tables.rates import NO_RATE, is_plausible
from firmware_bridge.tables.rows import read_rows
from firmware_bridge.tables.text import as_lines
from firmware_bridge.tables.times import timing_of
from firmware_bridge.units import parse_unit

__all__ = ["Table", "read_table"]

_EPOCH_S, _FAR_FROM_OTHERS = 5e8, 1e4
_FEW_DAMAGED, _LARGEST_DAMAGED_SHARE = 2, 0.1

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of samples.

    columns: which column is what. numbers: float64 (n, k), the value column and then the other wanted columns.
    times_s: float64 (n,), or None where the rows follow each other. coarse: whether several rows have the same time.
    missing: int64 (n,), lines without a reading before each row. restarts: rows before which the header is repeated,
    of a table without times. rate_hz: the sampling rate. declared: unit and resolution. damaged, first_damaged: number
    of lines that are neither rows nor empty cells, and a text about the first.
    """

    columns: Columns
    numbers: _Floats
    times_s: _Floats | None
    coarse: bool
    missing: NDArray[np.int64]
    restarts: tuple[int, ...]
    rate_hz: Fraction
    declared: Declared
    damaged: int
    first_damaged: str


def read_table(
    file: Path | bytes,
    given: Declared | None = None,
    others: Callable[[Columns], Sequence[int]] | None = None,
    override: bool = False,
    default_rate_hz: Fraction | None = None,
) -> Table:
    """Read a table of samples.

    Args:
        file: its path or its bytes.
        given: properties that are stated elsewhere. They count more than the file's own statements.
        others: the numbers of further columns to read, chosen by the columns of the table.
        override: whether the given rate replaces that of a comment; otherwise both must agree.
        default_rate_hz: the rate of a table that states none and has no times.

    Returns:
        The table with at least one row.

    Raises:
        FormatError: the file is not such a table, is ambiguous, or its rate is unknown, implausible or contradictory.
        OSError: the file cannot be read.
    """
    given = given or Declared()
    data = file if isinstance(file, bytes) else file.read_bytes()
    text = as_lines(data)
    layout = layout_of(text)
    as_written = len(text) + data.count(b"\r\n") == len(data) and text.endswith(layout.rows)
    columns = layout.columns
    wanted = [columns.value, *(others(columns) if others is not None else ())]
    if columns.time is not None:
        wanted.append(columns.time)
    rows = read_rows(layout, wanted, file if as_written and not isinstance(file, bytes) else None)
    count = len(rows.numbers)
    damage = f": {rows.first_damaged} is not a row of it" if rows.damaged else ""
    if count == 0:
        raise FormatError(f"the file contains no samples{damage or ': record it again'}")
    if rows.damaged > max(_FEW_DAMAGED, _LARGEST_DAMAGED_SHARE * count):
        raise FormatError(f"{rows.damaged:,} lines are not rows of the table, first {rows.first_damaged}: correct them")
    declared = _stated(layout.declared, columns, given, override)
    _check_first(rows.numbers[:, 0], columns)
    times_s, rate_hz, coarse = None, declared.rate_hz, False
    if columns.time is not None and count > 1:
        tick_s = 1.0 if layout.iso else columns.tick_s
        timing = timing_of(rows.numbers[:, -1], tick_s, columns.time_name, rate_hz)
        times_s, rate_hz, coarse = timing.times_s, timing.rate_hz, timing.coarse
    rate_hz = rate_hz or default_rate_hz
    if rate_hz is None:
        raise FormatError(NO_RATE)
    return Table(
        columns,
        rows.numbers[:, : len(wanted) - (columns.time is not None)],
        times_s,
        coarse,
        rows.missing,
        rows.restarts if columns.time is None else (),
        rate_hz,
        replace(declared, rate_hz=rate_hz),
        rows.damaged,
        rows.first_damaged,
    )


def _stated(found: Declared, columns: Columns, given: Declared, override: bool) -> Declared:
    """What is given, else what comments or the header state. Raises FormatError for statements that differ."""
    for rate_hz in (found.rate_hz, given.rate_hz):
        if rate_hz is not None and not is_plausible(rate_hz):
            raise FormatError(f"the stated rate is {float(rate_hz):g} Hz: state one from 0.5 to 4096 Hz")
    if found.rate_hz and given.rate_hz and not override and not 1 / 1.05 <= found.rate_hz / given.rate_hz <= 1.05:
        raise FormatError(
            f"the file states {float(found.rate_hz):g} Hz, but {float(given.rate_hz):g} Hz is given: correct one"
        )
    if given.unit is None and columns.unit is not None and found.unit is not None:
        kinds = [_kind(found.unit), _kind(columns.unit)]
        if kinds[0] != kinds[1]:
            raise FormatError(
                f"a comment states the unit {found.unit}, but the column {columns.value_name} is in {columns.unit}: "
                "correct one of both"
            )
    return Declared(
        given.rate_hz or found.rate_hz,
        given.unit or found.unit or columns.unit,
        given.adc_bits or found.adc_bits,
        found.divider_zero if given.divider_zero is None else given.divider_zero,
    )


def _kind(unit: str) -> str:
    try:
        return parse_unit(unit).kind
    except SignalError:
        return unit.lower()


def _check_first(values: _Floats, columns: Columns) -> None:
    """Raise FormatError where a single column begins with a time since 1970, as files of an Empatica E4 do."""
    if columns.names or columns.time is not None or len(values) < 3 or not values[0] >= _EPOCH_S:
        return
    if values[0] > _FAR_FROM_OTHERS * float(np.abs(values[2:]).max()):
        raise FormatError(
            f"the first line {values[0]:.0f} is a time since 1970 and the second, {values[1]:g}, a rate, as in a file "
            f"of an Empatica E4: write '# rate_hz: {values[1]:g}' and '# unit: uS' in place of these two lines"
        )
