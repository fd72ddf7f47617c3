"""Decoder for lines of text: `value`, `millis,value`, or columns that a header names (PROTOCOL.md)."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from time import monotonic

from firmware_bridge.devices.csv.layout import (
    Layout,
    columns_of,
    layout_of,
    majority,
    names_value,
)
from firmware_bridge.devices.csv.parse import parse_line
from firmware_bridge.devices.csv.rows import LONGEST_TABLE_ROW, RowDecoder, too_long
from firmware_bridge.devices.csv.sniff import is_csv
from firmware_bridge.devices.csv.time_column import FirstTimes
from firmware_bridge.devices.csv.timeline import Timeline
from firmware_bridge.devices.emulator import Emulator
from firmware_bridge.devices.registry import DeviceFormat, check_settings
from firmware_bridge.devices.stream import Declared, RawBlock, StreamCounts, StreamDecoder, StreamOptions
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.errors import FormatError
from firmware_bridge.tables.declared import declared_by
from firmware_bridge.tables.lines import CommonLines
from firmware_bridge.tables.numbers import is_number
from firmware_bridge.tables.rates import NO_RATE

__all__ = ["FORMAT", "CsvDecoder"]

_PATIENCE_BYTES = 8192
"""Maximum number of bytes without a line of numbers, after which the stream is refused."""
_LONGEST_PREAMBLE = 4096
_LAYOUT_LINES = 3
_MAX_BUFFERED_LINES, _MAX_BUFFERED_BYTES = 4096, 1 << 20


class CsvDecoder:
    """Decodes lines (see `StreamDecoder`).

    The first lines are buffered until they show the layout and, with a time column, the sampling rate. Where the column
    could have another unit than milliseconds, the rate at which lines arrive at a port decides.

    A line without a finite number in the value or time column is rejected. It leaves a gap of one sample, or, with a
    time column, a gap if the time shows one. Time that runs backwards starts a segment; without times,
    a repeated header does.

    Args:
        rate_hz: the sampling rate; it overrides the rate that the stream declares.
        default_rate_hz: the sampling rate of a stream that neither declares one nor has a time column.
        live: whether the stream comes from a device. Its first and last lines may be incomplete and are ignored.
        hint: the remedy in the error message about bytes that are not lines of numbers.
        strict: raise FormatError for NaN and infinity, which can be corrected in a recording.
        declared: properties that are known in advance; declarations in the stream do not change them.
        clock: the host's clock in seconds, for the arrival of lines.
    """

    def __init__(
        self,
        rate_hz: Fraction | None = None,
        live: bool = True,
        hint: str = "check the port and its baud rate",
        strict: bool = False,
        declared: Declared | None = None,
        default_rate_hz: Fraction | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._rate_option, self._default_rate = rate_hz, default_rate_hz
        self._live, self._hint = live, hint
        self._at_start = live
        self._declared = declared or Declared()
        self._header: bytes | None = None
        self._layout: Layout | None = None
        self._rows: RowDecoder | None = None
        self._longest = _LONGEST_PREAMBLE if live else LONGEST_TABLE_ROW
        self._common = CommonLines()
        self._tail = b""
        self._overlong: int | None = None
        self._overlong_comment = False
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._columns: list[int] = []
        self._times = FirstTimes(live, clock)
        self._bytes = 0
        self._rejected = self._discarded = 0
        self._strict = strict

    @property
    def declared(self) -> Declared:
        """The properties that the header and comments have declared so far."""
        return self._declared

    @property
    def counts(self) -> StreamCounts:
        """See `StreamCounts`. Blank lines, comments and headers are not counted."""
        if self._rows is None:
            return StreamCounts(rejected=self._rejected, discarded_bytes=self._discarded)
        rows, placed = self._rows, self._rows.timeline
        rejected = self._rejected + rows.rejected + placed.rejected
        return StreamCounts(placed.samples, placed.dropped, rejected, self._discarded + rows.discarded)

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
        cut = buffer.rfind(b"\n") + 1
        self._tail = buffer[cut:]
        at = 0
        while self._rows is None and at < cut:
            end = buffer.index(b"\n", at) + 1
            for line in self._common(buffer[at:end]).split(b"\n")[:-1]:
                blocks += self._prepare(line)
            at = end
        if self._rows is None:
            self._times.arrived()
        elif cut > at:
            blocks += self._rows.decode(buffer[at:cut])
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
        if self._rows is None and self._columns:
            blocks += self._start_rows()
        if self._rows is not None:
            blocks += self._rows.timeline.flush()
        if (reason := self.failure_reason()) is not None:
            raise FormatError(reason)
        return blocks

    def _end_overlong(self) -> None:
        size, self._overlong = self._overlong or 0, None
        if not self._overlong_comment:
            self._reject(size)

    def _reject(self, size: int) -> None:
        """Count an invalid line of `size` bytes, and one lost sample if samples have started."""
        if self._rows is not None:
            self._rows.reject(size)
        elif self._at_start:
            self._at_start = False
        elif self._pending:
            self._pending.append(b"?")
            self._discarded += size - 1
        else:
            self._discarded += size

    def _prepare(self, line: bytes) -> list[RawBlock]:
        """Process one line while the layout or rate is unknown; return blocks when both are known."""
        if self._bytes and not self._columns:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.startswith(b"#"):
            self._at_start = False
            if not too_long(line, self._longest):
                self._declared = declared_by(line.rstrip(), self._declared)
            return []
        if too_long(line, self._longest):
            self._reject(len(line))
            return []
        text = line.strip()
        if not text:
            return []
        if names_value(text):
            if self._layout is None or text != self._header:
                self._start(text)
            return []
        if self._at_start:
            self._at_start = False
            return []
        fields = text.split(b",")
        if self._layout is not None:
            self._add_time(line)
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
        return self._start_rows() if self._layout_and_rate_known() else []

    def _start(self, header: bytes) -> None:
        """Process a header that names the value column; the lines before it belong to an earlier run."""
        self._at_start = False
        self._header = header
        self._discarded += sum(map(len, self._pending))
        self._rejected += len(self._pending)
        self._layout, self._columns = None, []
        self._pending, self._pending_bytes = [], 0
        self._times.clear()
        if len(columns_of(header)) > 2:
            self._longest = LONGEST_TABLE_ROW

    def _stated_rate(self) -> Fraction | None:
        return self._rate_option or self._declared.rate_hz

    def _fits_header(self, line: bytes, columns: int) -> bool:
        if self._header is None or not names_value(self._header) or columns != len(columns_of(self._header)):
            return False
        return parse_line(line, layout_of(self._header, columns)[0]) is not None

    def _find_layout(self, lines: list[bytes]) -> None:
        self._layout, unit = layout_of(self._header, majority(self._columns), lines[0].strip())
        self._declared = replace(self._declared, unit=self._declared.unit or unit)
        for line in lines:
            self._add_time(line)

    def _add_time(self, line: bytes) -> None:
        assert self._layout is not None
        if (row := parse_line(line, self._layout)) is not None:
            self._times.add(row[1])

    def _layout_and_rate_known(self) -> bool:
        if self._layout is None:
            return self._pending_bytes > _MAX_BUFFERED_BYTES
        if (
            self._layout.time is None
            or len(self._pending) >= _MAX_BUFFERED_LINES
            or self._pending_bytes > _MAX_BUFFERED_BYTES
        ):
            return True
        return self._times.suffice(self._layout.unit_named, self._stated_rate() is not None)

    def _start_rows(self) -> list[RawBlock]:
        """Determine layout and rate from the buffered lines, and decode these lines."""
        if self._layout is None:
            self._find_layout(self._pending)
        assert self._layout is not None
        estimated = None
        if self._layout.time is not None:
            unit, estimated = self._times.rate(self._layout.unit_named, self._stated_rate())
            self._layout = replace(self._layout, tick_s=self._layout.tick_s * unit)
        rate = self._stated_rate() or estimated or self._default_rate
        if rate is None:
            raise FormatError(NO_RATE)
        self._rows = RowDecoder(
            self._layout, Timeline(rate, self._declared, self._times.coarse), self._header, self._strict, self._common
        )
        self._longest = self._rows.longest
        lines, self._pending = self._pending, []
        self._times.clear()
        return self._rows.decode_common(b"\n".join(lines) + b"\n")


def _open(options: StreamOptions) -> StreamDecoder:
    check_settings("csv", options.settings)
    return CsvDecoder(
        options.rate_hz,
        options.live,
        options.hint,
        strict=not options.live,
        default_rate_hz=options.default_rate_hz,
        clock=options.clock,
    )


def _emulate(waveform: Waveform) -> Emulator:
    from firmware_bridge.devices.csv.emulator import CsvEmulator

    return CsvEmulator(waveform)


FORMAT = DeviceFormat(
    name="csv",
    about="lines of text with a value, or a time and a value",
    baud=115200,
    open=_open,
    recognises=is_csv,
    emulate=_emulate,
)
