"""Which format a device speaks, found by listening, without losing a byte that was heard meanwhile."""

from fractions import Fraction
from typing import Literal

from firmware_bridge.errors import FormatError
from firmware_bridge.formats.csv import CsvDecoder
from firmware_bridge.formats.csv_layout import columns_of, is_number, layout_of, names_value
from firmware_bridge.formats.csv_parse import parse_line
from firmware_bridge.formats.ekd import EkdDecoder
from firmware_bridge.formats.stream import RawBlock, StreamCounts, StreamDecoder
from firmware_bridge.frame import Decoder

__all__ = ["DetectingDecoder", "Format", "open_decoder"]

Format = Literal["auto", "ekd", "csv"]

_PATIENCE_BYTES = 16384
_ROWS = 3


def open_decoder(
    format: Format = "auto",
    rate_hz: Fraction | None = None,
    live: bool = True,
    hint: str = "check the port and its baud rate",
) -> StreamDecoder:
    """A decoder for that format; "auto" finds out by listening.

    rate_hz: the rate, where the stream does not tell it; it wins over what the stream says.
    live: the stream is joined at any moment, not read from its beginning.
    hint: what to check when the bytes make no sense.
    """
    if format == "ekd":
        return EkdDecoder(rate_hz, hint)
    if format == "csv":
        return CsvDecoder(rate_hz, live, hint, strict=not live)
    return DetectingDecoder(rate_hz, live, hint)


class DetectingDecoder:
    """Listens, decides, then decodes everything heard from the first byte on (see `StreamDecoder`).

    A frame that passes its CRC means "ekd"; three rows of numbers in succession mean "csv".
    """

    def __init__(
        self,
        rate_hz: Fraction | None = None,
        live: bool = True,
        hint: str = "check the port and its baud rate",
    ) -> None:
        self._rate_hz, self._live, self._hint = rate_hz, live, hint
        self._heard = b""
        self._line_start = 0
        self._rows = _Rows()
        self._frames = Decoder()
        self._chosen: StreamDecoder | None = None

    @property
    def counts(self) -> StreamCounts:
        """Zero until the format is known; nothing heard before is left out of the count then."""
        return StreamCounts() if self._chosen is None else self._chosen.counts

    def complaint(self) -> str | None:
        """See `StreamDecoder`."""
        if self._chosen is not None:
            return self._chosen.complaint()
        return f"{len(self._heard)} bytes arrived but neither frames nor lines of numbers: {self._hint}"

    def take_request(self) -> bytes:
        """Nothing before the format is known: an unknown device might take any byte for a command."""
        return b"" if self._chosen is None else self._chosen.take_request()

    def feed(self, data: bytes) -> list[RawBlock]:
        """See `StreamDecoder`."""
        if self._chosen is not None:
            return self._chosen.feed(data)
        self._heard += data
        if self._frames.payloads(data):
            return self._choose("ekd")
        while (end := self._heard.find(b"\n", self._line_start)) >= 0:
            if self._line_start > 0 or not self._live:
                self._rows.add(self._heard[self._line_start : end])
            self._line_start = end + 1
            if self._rows.count >= _ROWS:
                return self._choose("csv")
        if len(self._heard) > _PATIENCE_BYTES:
            raise FormatError(self.complaint())
        return []

    def finish(self) -> list[RawBlock]:
        """See `StreamDecoder`."""
        if self._chosen is None:
            self._rows.add(self._heard[self._line_start :])
            if self._live or not self._rows.count:
                raise FormatError(self.complaint())
            return self._choose("csv") + self.finish()
        return self._chosen.finish()

    def _choose(self, format: Format) -> list[RawBlock]:
        self._chosen = open_decoder(format, self._rate_hz, self._live, self._hint)
        heard, self._heard = self._heard, b""
        return self._chosen.feed(heard)


class _Rows:
    """Counts rows of as many numbers in succession; comments and blank lines may lie between them."""

    def __init__(self) -> None:
        self.count = 0
        self._columns = 0
        self._header: bytes | None = None

    def add(self, line: bytes) -> None:
        text = line.strip()
        if not text or text.startswith(b"#"):
            return
        fields = text.split(b",")
        if all(map(is_number, fields)) or self._fits_header(text, len(fields)):
            self.count = self.count + 1 if len(fields) == self._columns else 1
            self._columns = len(fields)
            return
        self.count = 0
        if names_value(text):
            self._header = text

    def _fits_header(self, row: bytes, columns: int) -> bool:
        if self._header is None or len(columns_of(self._header)) != columns:
            return False
        return parse_line(row, layout_of(self._header, columns)[0]) is not None
