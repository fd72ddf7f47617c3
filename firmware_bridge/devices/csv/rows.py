"""Decoding of the lines of a text stream whose layout and sampling rate are known."""

import re

import numpy as np

from firmware_bridge.devices.csv.layout import Layout
from firmware_bridge.devices.csv.parse import Parsed, parse_bulk, parse_line
from firmware_bridge.devices.csv.timeline import Timeline
from firmware_bridge.devices.stream import RawBlock
from firmware_bridge.errors import FormatError
from firmware_bridge.tables.lines import CommonLines

__all__ = ["LONGEST_TABLE_ROW", "RowDecoder", "too_long"]

LONGEST_TABLE_ROW = 65536
_LONGEST_ROW = 256
_BULK_BYTES = 2048
_NOT_FINITE = re.compile(rb"(?:^|,)\s*[+-]?(?:nan|inf|infinity)\s*(?:,|$)", re.IGNORECASE)


def too_long(line: bytes, longest: int) -> bool:
    """Whether a line has more than `longest` bytes, not counting a carriage return at its end."""
    return len(line) > longest and len(line.removesuffix(b"\r")) > longest


class RowDecoder:
    """Decodes lines to blocks.

    longest: maximum number of bytes of a line. rejected, discarded: numbers of
    lines that are not rows, and of their bytes.

    Args:
        layout: of the lines.
        timeline: places the readings; has the counts of samples.
        header: the header line, whose repetition starts a segment if there are no times, or None.
        strict: raise FormatError for NaN and infinity.
        common: rewrites lines that are not plain rows.
    """

    def __init__(
        self, layout: Layout, timeline: Timeline, header: bytes | None, strict: bool, common: CommonLines
    ) -> None:
        self._layout, self._header, self._strict, self._common = layout, header, strict, common
        self.timeline = timeline
        self.longest = _LONGEST_ROW if layout.columns <= 2 else LONGEST_TABLE_ROW
        self._damaged = 0
        self.rejected = self.discarded = 0

    def reject(self, size: int) -> None:
        """Count a damaged line of this many bytes."""
        self.rejected += 1
        self.discarded += size
        self._damaged += 1

    def decode(self, lines: bytes) -> list[RawBlock]:
        """The blocks of complete lines, parsed in bulk where all lines are plain rows."""
        parsed = parse_bulk(lines, self._layout, self.longest)
        if parsed is not None:
            self._common.note_plain(len(parsed.values))
            return self._place_bulk(parsed)
        return self.decode_common(self._common(lines))

    def _place_bulk(self, parsed: Parsed) -> list[RawBlock]:
        damaged = np.zeros(len(parsed.values), dtype=np.int64)
        damaged[0], self._damaged = self._damaged, 0
        return self.timeline.place(parsed, damaged)

    def decode_common(self, lines: bytes) -> list[RawBlock]:
        """The blocks of lines in the common form."""
        parsed = parse_bulk(lines, self._layout, self.longest)
        if parsed is not None:
            return self._place_bulk(parsed)
        if len(lines) > _BULK_BYTES and self._layout.columns <= 2:
            middle = lines.find(b"\n", len(lines) // 2) + 1
            if middle < len(lines):
                return self.decode_common(lines[:middle]) + self.decode_common(lines[middle:])
        return self._decode_by_line(lines)

    def _decode_by_line(self, lines: bytes) -> list[RawBlock]:
        values: list[float] = []
        times: list[float] = []
        damaged: list[int] = []
        blocks: list[RawBlock] = []
        for line in lines.split(b"\n")[:-1]:
            if line.startswith(b"#"):
                continue
            long = too_long(line, self.longest)
            row = None if long else parse_line(line, self._layout)
            if row is not None:
                values.append(row[0])
                times.append(row[1])
                damaged.append(self._damaged)
                self._damaged = 0
                continue
            text = line.strip()
            if not text and not long:
                continue
            if self._strict and _NOT_FINITE.search(text):
                raise FormatError(
                    f"the recording has {text[:40].decode('ascii', 'replace')!r} after sample "
                    f"{self.timeline.samples + len(values)}, which is not a reading: correct or remove the line"
                )
            if text == self._header and not long:
                # With times, a restart is where the time runs backwards.
                if self._layout.time is None:
                    blocks += self._place(values, times, damaged)
                    values, times, damaged = [], [], []
                    self.timeline.restart()
            else:
                self.reject(len(line))
        return blocks + self._place(values, times, damaged)

    def _place(self, values: list[float], times: list[float], damaged: list[int]) -> list[RawBlock]:
        if not values:
            return []
        times_s = None if self._layout.time is None else np.array(times)
        return self.timeline.place(Parsed(np.array(values), times_s), np.array(damaged, dtype=np.int64))
