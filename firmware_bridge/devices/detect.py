"""Detection of a device's format from the bytes it sends, or from its answer to a probe; no received byte is lost."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle

from firmware_bridge.devices.registry import (
    DeviceFormat,
    ReceivedBytes,
    check_settings,
    find_format,
    installed_formats,
    parse_format,
)
from firmware_bridge.devices.stream import RawBlock, StreamCounts, StreamDecoder, StreamOptions
from firmware_bridge.errors import FormatError
from firmware_bridge.tables.text import readable_line

__all__ = ["DetectingDecoder", "open_decoder"]

_PATIENCE_BYTES = 16384
_TEXT = frozenset(b"\t\r\n" + bytes(range(32, 127)))
_SILENCE_S = 1.0
"""Probes are sent to a device that has sent nothing for this long."""
_ANSWER_S = 0.5


def open_decoder(format: str = "auto", options: StreamOptions | None = None) -> StreamDecoder:
    """A decoder for the format `NAME` or `NAME:key=value,...`, or for "auto", which detects the format.

    Raises ConfigError if the format or a setting is unknown.
    """
    options = options or StreamOptions()
    name, settings = parse_format(format)
    if name == "auto":
        check_settings("auto", settings)
        return DetectingDecoder(options)
    return find_format(name).open(replace(options, settings=settings))


class DetectingDecoder:
    """Detects the format, then decodes all bytes from the first one on (see `StreamDecoder`).

    The format is detected when exactly one format recognises the bytes, or when a device answers a probe. Probes are
    sent only to a device that sends nothing.
    """

    def __init__(self, options: StreamOptions) -> None:
        self._options = options
        self._formats = list(installed_formats())
        self._received = b""
        self._next_check = 1
        self._first_s = 0.0
        self._arrivals: list[tuple[int, float]] = []
        self._silent_since_s: float | None = None
        self._probes = self._cycle_probes()
        self._probed: list[DeviceFormat] = []
        self._probed_s = 0.0
        self._chosen: StreamDecoder | None = None
        self.format: DeviceFormat | None = None
        """The detected format, or None."""

    @property
    def decoder(self) -> StreamDecoder | None:
        """The decoder of the detected format, or None."""
        return self._chosen

    @property
    def counts(self) -> StreamCounts:
        """The counts of the detected format's decoder, which include all bytes from the first one on; 0 before."""
        return StreamCounts() if self._chosen is None else self._chosen.counts

    def failure_reason(self) -> str | None:
        """See `StreamDecoder`."""
        if self._chosen is not None:
            return self._chosen.failure_reason()
        if self._options.live and (line := readable_line(self._received)) is not None:
            return (
                f"text arrives, but the lines are not readings, such as {line!r}: print one number in each line, or "
                "columns with a header such as 'millis,gsr_us'"
            )
        names = ", ".join(format.name for format in self._formats)
        return f"{len(self._received)} bytes arrived in none of the formats {names}: {self._options.hint}"

    def received_noise(self) -> bool:
        """Whether the received bytes are in no known format and are not text either."""
        printable = sum(byte in _TEXT for byte in self._received)
        return self._chosen is None and printable < 0.9 * len(self._received)

    def take_request(self) -> bytes:
        """A probe if the device has been silent; after detection, the request of the format's decoder."""
        if self._chosen is not None:
            return self._chosen.take_request()
        now_s = self._options.clock()
        if self._silent_since_s is None:
            self._silent_since_s = now_s
        patience_s = _ANSWER_S if self._probed else _SILENCE_S
        if not self._options.live or self._received or now_s - max(self._silent_since_s, self._probed_s) < patience_s:
            return b""
        probed = next(self._probes, None)
        if probed is None or probed.probe is None:
            return b""
        self._probed.append(probed)
        self._probed_s = now_s
        return probed.probe.request

    def stop_command(self) -> bytes:
        """See `StreamDecoder`."""
        return b"" if self._chosen is None else self._chosen.stop_command()

    def feed(self, data: bytes) -> list[RawBlock]:
        """See `StreamDecoder`."""
        if self._chosen is not None:
            return self._chosen.feed(data)
        if data and self._options.live:
            now_s = self._options.clock()
            self._first_s = self._first_s if self._received else now_s
            self._arrivals.append((len(self._received) + len(data), now_s - self._first_s))
        self._received += data
        if len(self._received) >= self._next_check:
            self._next_check = len(self._received) + max(1, len(self._received) // 16)
            if (found := self._detect()) is not None:
                return self._choose(found)
        if len(self._received) > _PATIENCE_BYTES:
            raise FormatError(self.failure_reason())
        return []

    def finish(self) -> list[RawBlock]:
        """See `StreamDecoder`."""
        if self._chosen is None:
            found = self._detect()
            if found is None:
                found = self._detect_short_csv()
            if found is None:
                raise FormatError(self.failure_reason())
            return self._choose(found) + self.finish()
        return self._chosen.finish()

    def _detect(self) -> DeviceFormat | None:
        """The format that the received bytes identify, or None."""
        for format in self._probed:
            if format.probe is not None and format.probe.is_answer(self._received):
                return format
        received = ReceivedBytes(self._received, self._options.live, tuple(self._arrivals))
        found = [format for format in self._formats if format.recognises(received)]
        return found[0] if len(found) == 1 else None

    def _detect_short_csv(self) -> DeviceFormat | None:
        """The CSV format, if a recording has only one or two lines of numbers; else None."""
        if self._options.live or not self._received.strip():
            return None
        last = self._received.rstrip().rsplit(b"\n", 1)[-1]
        csv = find_format("csv")
        return (
            csv
            if csv.recognises(ReceivedBytes(b"\n".join([self._received.rstrip(), last, last]), live=False))
            else None
        )

    def _choose(self, format: DeviceFormat) -> list[RawBlock]:
        self.format = format
        self._chosen = format.open(self._options)
        received, self._received, self._arrivals = self._received, b"", []
        return self._chosen.feed(received)

    def _cycle_probes(self) -> Iterator[DeviceFormat]:
        probed = [format for format in self._formats if format.probe is not None]
        return cycle(probed)
