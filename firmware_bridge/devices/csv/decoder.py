"""Decoder for lines of text: `value`, `millis,value`, or columns that a header names (PROTOCOL.md)."""

import re
from dataclasses import replace
from fractions import Fraction

import numpy as np

from firmware_bridge.devices.csv.layout import (
    Layout,
    columns_of,
    declared_by,
    estimate_rate,
    is_number,
    layout_of,
    majority,
    names_value,
)
from firmware_bridge.devices.csv.parse import Parsed, parse_bulk, parse_line
from firmware_bridge.devices.csv.sniff import at_grove_rate, bare_counts, has_rows
from firmware_bridge.devices.csv.timeline import Timeline
from firmware_bridge.devices.emulator import Emulator
from firmware_bridge.devices.registry import DeviceFormat, ReceivedBytes, check_settings
from firmware_bridge.devices.stream import Declared, RawBlock, StreamCounts, StreamDecoder, StreamOptions
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.errors import FormatError

__all__ = ["FORMAT", "CsvDecoder"]

_PATIENCE_BYTES = 8192
"""Maximum number of bytes without a line of numbers, after which the stream is refused."""
_LONGEST_ROW, _LONGEST_PREAMBLE, _LONGEST_TABLE_ROW = 256, 4096, 65536
_LAYOUT_LINES = 3
_RATE_LINES, _RATE_SPAN_S, _MAX_BUFFERED_LINES, _MAX_BUFFERED_BYTES = 8, 2.0, 4096, 1 << 20
_BULK_BYTES = 2048
_NOT_FINITE = re.compile(rb"(?:^|,)\s*[+-]?(?:nan|inf|infinity)\s*(?:,|$)", re.IGNORECASE)


class CsvDecoder:
    """Decodes lines (see `StreamDecoder`).

    The first lines are buffered until they show the layout and, with a time column, the sampling rate. A line without
    a finite number in the value or time column is rejected and leaves a gap of one sample. With a time column, a jump
    in time is a gap. Time that runs backwards starts a segment, and so does a repeated header.

    Args:
        rate_hz: the sampling rate; it overrides the rate that the stream declares.
        default_rate_hz: the sampling rate of a stream that neither declares one nor has a time column.
        live: whether the stream comes from a device. Its first and last lines may be incomplete and are ignored.
        hint: the remedy in the error message about bytes that are not lines of numbers.
        strict: raise FormatError for NaN and infinity, which can be corrected in a recording.
        declared: properties that are known in advance; declarations in the stream do not change them.
    """

    def __init__(
        self,
        rate_hz: Fraction | None = None,
        live: bool = True,
        hint: str = "check the port and its baud rate",
        strict: bool = False,
        declared: Declared | None = None,
        default_rate_hz: Fraction | None = None,
    ) -> None:
        self._rate_option, self._default_rate = rate_hz, default_rate_hz
        self._strict = strict
        self._live, self._hint = live, hint
        self._at_start = live
        self._declared = declared or Declared()
        self._header: bytes | None = None
        self._layout: Layout | None = None
        self._timeline: Timeline | None = None
        self._longest = _LONGEST_PREAMBLE if live else _LONGEST_TABLE_ROW
        self._tail = b""
        self._overlong: int | None = None
        self._overlong_comment = False
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._columns: list[int] = []
        self._times: list[float] = []
        self._bytes = 0
        self._lost = self._rejected = self._discarded = 0

    @property
    def declared(self) -> Declared:
        """The properties that the header and comments have declared so far."""
        return self._declared

    @property
    def counts(self) -> StreamCounts:
        """See `StreamCounts`. Blank lines, comments and headers are not counted."""
        placed = self._timeline
        samples, dropped = (0, 0) if placed is None else (placed.samples, placed.dropped)
        return StreamCounts(samples, dropped, self._rejected, self._discarded)

    def failure_reason(self) -> str | None:
        """See `StreamDecoder`."""
        if self._layout is not None or self._columns:
            return None
        return f"{self._bytes} bytes arrived without a line of numbers: {self._hint}"

    def take_request(self) -> bytes:
        """No bytes: the sketch sends lines without a request."""
        return b""

    def stop_command(self) -> bytes:
        """No bytes: the sketch ignores what it receives."""
        return b""

    def feed(self, data: bytes) -> list[RawBlock]:
        """See `StreamDecoder`."""
        self._bytes += len(data)
        blocks: list[RawBlock] = []
        if self._overlong is not None:
            rest, newline, data = data.partition(b"\n")
            self._overlong += len(rest)
            if not newline:
                return []
            self._end_overlong()
        buffer = self._tail + data
        at = 0
        while self._timeline is None and (end := buffer.find(b"\n", at)) >= 0:
            blocks += self._prepare(buffer[at:end])
            at = end + 1
        cut = buffer.rfind(b"\n") + 1
        if cut > at:
            blocks += self._rows(buffer[at:cut])
        self._tail = buffer[cut:]
        if len(self._tail) > self._longest + 1:
            self._overlong, self._overlong_comment = len(self._tail), self._tail.startswith(b"#")
            self._tail = b""
        if self._discarded > _PATIENCE_BYTES and (reason := self.failure_reason()) is not None:
            raise FormatError(reason)
        return blocks

    def finish(self) -> list[RawBlock]:
        """See `StreamDecoder`."""
        blocks: list[RawBlock] = []
        if self._tail and not self._live:
            blocks += self.feed(b"\n")
        if self._timeline is None and self._columns:
            blocks += self._start_timeline()
        if (reason := self.failure_reason()) is not None:
            raise FormatError(reason)
        return blocks

    def _end_overlong(self) -> None:
        size, self._overlong = self._overlong or 0, None
        if not self._overlong_comment:
            self._reject(size)

    def _reject(self, size: int) -> None:
        """Count an invalid line of `size` bytes, and one lost sample if samples have started."""
        if self._at_start:
            self._at_start = False
        elif self._pending:
            self._pending.append(b"?")
            self._discarded += size - 1
        else:
            self._discarded += size
            if self._timeline is not None:
                self._rejected += 1
                self._lost += 1

    def _too_long(self, line: bytes) -> bool:
        return len(line) > self._longest and len(line.removesuffix(b"\r")) > self._longest

    def _prepare(self, line: bytes) -> list[RawBlock]:
        """Process one line while the layout or rate is unknown; return blocks when both are known."""
        if self._bytes and not self._columns:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.startswith(b"#"):
            self._at_start = False
            if not self._too_long(line):
                self._declared = declared_by(line.rstrip(), self._declared)
            return []
        if self._too_long(line):
            self._reject(len(line))
            return []
        text = line.strip()
        if not text:
            return []
        if names_value(text):
            self._start(text)
            return []
        if self._at_start:
            self._at_start = False
            return []
        fields = text.split(b",")
        if self._layout is not None:
            row = parse_line(line, self._layout)
            self._times += [row[1]] if row is not None else []
        elif all(map(is_number, fields)) or self._fits_header(line, len(fields)):
            self._columns.append(len(fields))
            if len(self._columns) == _LAYOUT_LINES:
                self._find_layout([*self._pending, line])
        elif not self._columns:
            self._header = text
            self._discarded += len(line)
            return []
        self._pending.append(line)
        self._pending_bytes += len(line)
        return self._start_timeline() if self._layout_and_rate_known() else []

    def _start(self, header: bytes) -> None:
        """Process a header that names the value column; the lines before it belong to an earlier run."""
        self._at_start = False
        self._header = header
        self._discarded += sum(map(len, self._pending))
        self._rejected += len(self._pending)
        self._layout, self._pending, self._pending_bytes, self._columns, self._times = None, [], 0, [], []
        if len(columns_of(header)) > 2:
            self._longest = _LONGEST_TABLE_ROW

    def _fits_header(self, line: bytes, columns: int) -> bool:
        if self._header is None or not names_value(self._header) or columns != len(columns_of(self._header)):
            return False
        return parse_line(line, layout_of(self._header, columns)[0]) is not None

    def _find_layout(self, lines: list[bytes]) -> None:
        self._layout, unit = layout_of(self._header, majority(self._columns))
        self._declared = replace(self._declared, unit=self._declared.unit or unit)
        self._times = [row[1] for line in lines if (row := parse_line(line, self._layout)) is not None]

    def _layout_and_rate_known(self) -> bool:
        if self._layout is None:
            return self._pending_bytes > _MAX_BUFFERED_BYTES
        if (
            self._layout.time is None
            or len(self._pending) >= _MAX_BUFFERED_LINES
            or self._pending_bytes > _MAX_BUFFERED_BYTES
        ):
            return True
        return len(self._times) >= _RATE_LINES and self._times[-1] - self._times[0] >= _RATE_SPAN_S

    def _start_timeline(self) -> list[RawBlock]:
        """Determine layout and rate from the buffered lines, and decode these lines."""
        if self._layout is None:
            self._find_layout(self._pending)
        assert self._layout is not None
        estimated = None if self._layout.time is None else estimate_rate(np.array(self._times))
        rate = self._rate_option or self._declared.rate_hz or estimated or self._default_rate
        if rate is None:
            raise FormatError(
                "the lines do not state the sampling rate: give it in Hz, or add the line '# rate_hz: HZ'"
            )
        if estimated is not None and not 0.8 < estimated / rate < 1.25:
            raise FormatError(
                f"the stated rate is {float(rate):g} Hz but the time column shows {float(estimated):.4g} Hz: "
                "correct the rate, or the time column's name (millis, or time_s for seconds)"
            )
        self._timeline = Timeline(rate, self._declared)
        self._longest = _LONGEST_ROW if self._layout.columns <= 2 else _LONGEST_TABLE_ROW
        lines, self._pending, self._times = self._pending, [], []
        return self._rows(b"\n".join(lines) + b"\n")

    def _rows(self, lines: bytes) -> list[RawBlock]:
        """Decode complete lines, in bulk where all lines are plain rows."""
        assert self._layout is not None
        assert self._timeline is not None
        parsed = parse_bulk(lines, self._layout, self._longest)
        if parsed is not None:
            skipped = np.zeros(len(parsed.values), dtype=np.int64)
            skipped[0], self._lost = self._lost, 0
            return self._timeline.place(parsed, skipped)
        if len(lines) > _BULK_BYTES and self._layout.columns <= 2:
            middle = lines.find(b"\n", len(lines) // 2) + 1
            if middle < len(lines):
                return self._rows(lines[:middle]) + self._rows(lines[middle:])
        return self._parse_by_line(lines)

    def _parse_by_line(self, lines: bytes) -> list[RawBlock]:
        assert self._layout is not None
        assert self._timeline is not None
        values: list[float] = []
        times: list[float] = []
        skipped: list[int] = []
        blocks: list[RawBlock] = []
        for line in lines.split(b"\n")[:-1]:
            if line.startswith(b"#"):
                continue
            row = None if self._too_long(line) else parse_line(line, self._layout)
            if row is not None:
                values.append(row[0])
                times.append(row[1])
                skipped.append(self._lost)
                self._lost = 0
                continue
            text = line.strip()
            if not text and not self._too_long(line):
                continue
            if self._strict and _NOT_FINITE.search(text):
                raise FormatError(
                    f"the recording has {text[:40].decode('ascii', 'replace')!r} after sample "
                    f"{self._timeline.samples + len(values)}, which is not a reading: correct or remove the line"
                )
            if text == self._header and not self._too_long(line):
                blocks += self._place_lists(values, times, skipped)
                values, times, skipped = [], [], []
                self._timeline.restart()
            else:
                self._rejected += 1
                self._discarded += len(line)
                self._lost += 1
        return blocks + self._place_lists(values, times, skipped)

    def _place_lists(self, values: list[float], times: list[float], skipped: list[int]) -> list[RawBlock]:
        if not values:
            return []
        assert self._layout is not None
        assert self._timeline is not None
        clock = None if self._layout.time is None else np.array(times)
        return self._timeline.place(Parsed(np.array(values), clock), np.array(skipped, dtype=np.int64))


def _open(options: StreamOptions) -> StreamDecoder:
    check_settings("csv", options.settings)
    return CsvDecoder(
        options.rate_hz,
        options.live,
        options.hint,
        strict=not options.live,
        default_rate_hz=options.default_rate_hz,
    )


_TEXT = b"\t\r\n" + bytes(range(32, 127))
_LARGEST_BINARY_SHARE = 0.25
"""Largest share of non-text bytes in lines; binary frames may contain digits between line ends by chance."""


def _recognises(received: ReceivedBytes) -> bool:
    if len(received.data.translate(None, _TEXT)) > _LARGEST_BINARY_SHARE * len(received.data) or not has_rows(received):
        return False
    return not bare_counts(received) or at_grove_rate(received) is False


def _emulate(waveform: Waveform) -> Emulator:
    from firmware_bridge.devices.csv.emulator import CsvEmulator

    return CsvEmulator(waveform)


FORMAT = DeviceFormat(
    name="csv",
    about="lines of text with a value, or a time and a value",
    baud=115200,
    open=_open,
    recognises=_recognises,
    emulate=_emulate,
)
