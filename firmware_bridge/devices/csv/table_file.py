"""A table of samples with the places of its rows: gaps and restarts by the rules of a live sensor's lines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.devices.csv.parse import Parsed
from firmware_bridge.devices.csv.timeline import Timeline
from firmware_bridge.devices.registry import ReceivedBytes, installed_formats
from firmware_bridge.devices.stream import RawBlock, StreamCounts
from firmware_bridge.rates import rate_text
from firmware_bridge.tables.columns import Columns
from firmware_bridge.tables.declared import Declared
from firmware_bridge.tables.layout import layout_of
from firmware_bridge.tables.rates import JITTER_S
from firmware_bridge.tables.reader import Table, read_table
from firmware_bridge.tables.text import as_lines, is_text

__all__ = ["PlacedTable", "columns_of_file", "is_table_file", "read_placed_table"]

_HEAD_BYTES, _DETECTED_BYTES = 1 << 17, 1 << 14
_LARGEST_BYTES = 1 << 26
_PRECISE = 0.9
"""Share of steps of one period from which the times are precise."""


@dataclass(frozen=True, slots=True)
class PlacedTable:
    """A table and the places of its rows.

    table: the rows. blocks: of the readings, in the order of the rows. rows: numbers of the rows in each block, int64.
    rejected: number of lines that are not readings.
    """

    table: Table
    blocks: tuple[RawBlock, ...]
    rows: tuple[NDArray[np.int64], ...]
    rejected: int

    @property
    def gaps_s(self) -> tuple[float, ...]:
        """The lengths of the gaps, in seconds."""
        gaps, before = [], None
        for block in self.blocks:
            if before is not None and block.segment == before.segment:
                gaps.append(float((block.first_index - before.first_index - len(before.values)) / block.rate_hz))
            before = block
        return tuple(gaps)

    @property
    def counts(self) -> StreamCounts:
        """Counts of the rows, as those of a decoder."""
        samples, dropped = 0, 0
        before = None
        for block in self.blocks:
            same = before is not None and block.segment == before.segment
            dropped += block.first_index - (before.first_index + len(before.values) if same and before else 0)
            samples += len(block.values)
            before = block
        return StreamCounts(samples, dropped, self.rejected)

    @property
    def rate_hz(self) -> Fraction:
        """The sampling rate."""
        return self.table.rate_hz

    def summary(self, name: str, unit: str | None) -> str:
        """A sentence about what was understood, such as "p0.csv: 16 Hz, uS from column gsr_us, 1,920 samples".

        name: of the file. unit: of the readings, None if it is unknown.
        """
        columns, gaps = self.table.columns, self.gaps_s
        parts = [f"{name}: {rate_text(self.rate_hz)} Hz", f"{unit or 'unknown unit'} from column {columns.value_name}"]
        parts.append(f"{sum(len(block.values) for block in self.blocks):,} samples")
        if gaps:
            parts.append(f"{len(gaps):,} gap{'s' * (len(gaps) > 1)} of {_seconds(sum(gaps))}")
        segments = len({block.segment for block in self.blocks})
        if segments > 1:
            parts.append(f"{segments} segments")
        if self.table.damaged:
            parts.append(f"{self.table.damaged:,} lines left out, first {self.table.first_damaged}")
        return ", ".join(parts)


def is_table_file(path: Path, format: str) -> bool:
    """Whether a file is read as a table of samples: text of at most 64 MiB that no other device format recognises.

    Larger files are decoded as a stream, in constant memory.

    Args:
        path: the file.
        format: the name of the device format, or "auto".

    Raises:
        OSError: the file cannot be read.
    """
    if format not in ("auto", "csv") or path.stat().st_size > _LARGEST_BYTES:
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head.strip() or not is_text(head):
        return False
    received = ReceivedBytes(head[:_DETECTED_BYTES], live=False)
    return format == "csv" or not any(each.name != "csv" and each.recognises(received) for each in installed_formats())


def columns_of_file(path: Path) -> Columns:
    """The columns of a table by the first lines of its file.

    Raises FormatError as `read_table`, OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if len(head) == _HEAD_BYTES:
            end = max(head.rfind(b"\n"), head.rfind(b"\r"))
            head = head + file.read() if head.startswith((b"\xff\xfe", b"\xfe\xff")) or end < 0 else head[:end]
    return layout_of(as_lines(head)).columns


def read_placed_table(
    file: Path | bytes,
    given: Declared | None = None,
    others: Callable[[Columns], Sequence[int]] | None = None,
    override: bool = False,
    default_rate_hz: Fraction | None = None,
) -> PlacedTable:
    """Read a table and place its rows. For the arguments and errors see `read_table`."""
    table = read_table(file, given, others, override, default_rate_hz)
    numbers = np.arange(len(table.numbers), dtype=np.float64)
    placed, rejected = [RawBlock(numbers, 0, table.rate_hz, 0, declared=table.declared)], 0
    steps_s = None if table.times_s is None else np.diff(table.times_s)
    jitter_s = _jitter_s(table, steps_s)
    if not _follow_each_other(table, steps_s, jitter_s):
        placed, rejected = _placed(table, numbers, jitter_s)
    rows = tuple(block.values.astype(np.int64) for block in placed)
    blocks = tuple(_with_values(block, table.numbers[found, 0]) for block, found in zip(placed, rows, strict=True))
    return PlacedTable(table, blocks, rows, rejected + table.damaged)


def _jitter_s(table: Table, steps_s: NDArray[np.float64] | None) -> float:
    """The jitter of the times: that of a microcontroller's clock, or less if nearly all steps are a period."""
    if steps_s is None or table.coarse:
        return JITTER_S
    period_s = float(1 / table.rate_hz)
    return 0.0 if np.mean(np.abs(steps_s - period_s) < 0.25 * period_s) > _PRECISE else JITTER_S


def _follow_each_other(table: Table, steps_s: NDArray[np.float64] | None, jitter_s: float) -> bool:
    """Whether no sample is missing and every time continues the one before."""
    if table.coarse or table.restarts or table.missing.any():
        return False
    if steps_s is None or not len(steps_s):
        return True
    period_s = float(1 / table.rate_hz)
    return bool(steps_s.min() > 0 and steps_s.max() <= period_s + max(0.5 * period_s, jitter_s))


def _placed(table: Table, numbers: NDArray[np.float64], jitter_s: float) -> tuple[list[RawBlock], int]:
    """The blocks of the rows, with the numbers of the rows as their values, and how many rows have damaged times."""
    timeline = Timeline(table.rate_hz, table.declared, table.coarse, jitter_s)
    cuts = [0, *(row for row in table.restarts if 0 < row < len(numbers)), len(numbers)]
    placed: list[RawBlock] = []
    for start, stop in pairwise(cuts):
        if start:
            timeline.restart()
        times_s = None if table.times_s is None else table.times_s[start:stop]
        placed += timeline.place(Parsed(numbers[start:stop], times_s), table.missing[start:stop])
    return placed + timeline.flush(), timeline.rejected


def _with_values(block: RawBlock, values: NDArray[np.float64]) -> RawBlock:
    values = np.ascontiguousarray(values)
    values.flags.writeable = False
    return RawBlock(values, block.first_index, block.rate_hz, block.segment, declared=block.declared)


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"
