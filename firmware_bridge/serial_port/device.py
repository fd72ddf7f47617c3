"""An open device: reads a port through a decoder and sends the decoder's requests."""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from threading import Event
from time import monotonic, sleep
from types import TracebackType
from typing import Any

from firmware_bridge.devices.detect import DetectingDecoder, open_decoder
from firmware_bridge.devices.ekd.frame import Hello
from firmware_bridge.devices.registry import find_format, parse_format
from firmware_bridge.devices.stream import RawBlock, StreamCounts, StreamDecoder, StreamOptions
from firmware_bridge.errors import FormatError, PortError
from firmware_bridge.serial_port.clock import ClockRate
from firmware_bridge.serial_port.health import DeviceHealth
from firmware_bridge.serial_port.ports import PORT_FAULTS, open_port, read_available, write_all

__all__ = ["DEFAULT_BAUD", "Device", "Stop", "as_function", "identity_of", "open_device"]

Stop = Event | Callable[[], bool]
"""Stops a waiting reader: an event that is set, or a function that returns True."""

DEFAULT_BAUD = 115200
_OTHER_BAUD = 9600
_PATIENCE_S, _AUTO_PATIENCE_S, _BAUD_PATIENCE_S = 5.0, 3.0, 0.7
_PATIENCE_BYTES = 64
_MUCH_BYTES = 1500
"""A read of at least this many bytes is followed by another read at once, since a port buffers only 4095 bytes."""


class Device:
    """A sensor at a port: a context manager that stops the sensor and closes the port. Created by `open_device`."""

    def __init__(self, url: str, port: Any, format: str, baud: int | None, options: StreamOptions) -> None:
        self.url, self._port = url, port
        self._format, self._options = format, options
        self._bauds = [_OTHER_BAUD] if format == "auto" and baud is None and "://" not in url else []
        self._patience_s = _AUTO_PATIENCE_S if format == "auto" else _PATIENCE_S
        self._decoder = open_decoder(format, options)
        self._health = DeviceHealth(url)
        self.arrived_s = 0.0
        """Time of the latest bytes on the host's monotonic clock."""

    def __enter__(self) -> "Device":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the device and close the port. No error is raised if the device is already disconnected."""
        with suppress(*PORT_FAULTS):
            if command := self._decoder.stop_command():
                write_all(self._port, command)
                self._port.flush()
        with suppress(*PORT_FAULTS):
            self._port.close()

    @property
    def decoder(self) -> StreamDecoder:
        """The decoder in use: after detection, the decoder of the detected format."""
        if isinstance(self._decoder, DetectingDecoder) and self._decoder.decoder is not None:
            return self._decoder.decoder
        return self._decoder

    @property
    def format_name(self) -> str | None:
        """The format's name; None before detection."""
        if isinstance(self._decoder, DetectingDecoder):
            return None if self._decoder.format is None else self._decoder.format.name
        return parse_format(self._format)[0]

    @property
    def about(self) -> str:
        """The format's name and the device's id."""
        hello = getattr(self.decoder, "hello", None)
        return " ".join(filter(None, (self.format_name or "unknown device", identity_of(hello))))

    @property
    def counts(self) -> StreamCounts:
        """Counts of the stream so far."""
        return self._decoder.counts

    @property
    def clock(self) -> ClockRate | None:
        """The device's clock, measured by the host's clock; None in the first seconds."""
        return self._health.clock

    def blocks(
        self,
        stop: Stop | None = None,
        notify: Callable[[str], None] | None = None,
        silent_s: float = math.inf,
        pause_s: Callable[[], float] | None = None,
    ) -> Iterator[RawBlock]:
        """Blocks of raw readings as they arrive, until `stop` or the end of a simulated sensor.

        Args:
            stop: ends the iteration.
            notify: called at most once per second with messages about silence, damage, losses, restarts, open
                electrodes and a wrong rate.
            silent_s: raise PortError if no bytes arrive for this long.
            pause_s: returns the seconds to wait before the next read, which then reads all bytes that have arrived.

        Raises:
            PortError: the device was disconnected. Earlier readings are delivered first.
            FormatError: the bytes cannot be decoded. Earlier readings are delivered first.
        """
        stopped = as_function(stop)
        began: float | None = None
        received, segment, latest = 0, 0, 0
        self.arrived_s = monotonic()
        while not stopped():
            try:
                self._send(self._decoder.take_request())
                if pause_s is not None and latest < _MUCH_BYTES and (pause := pause_s()) > 0:
                    sleep(pause)
                data = read_available(self._port)
            except PORT_FAULTS as error:
                with suppress(FormatError):
                    yield from self._decoder.finish()
                raise PortError(f"{self.url} went away: check the plug and the cable, then start again") from error
            now, latest = monotonic(), len(data)
            if data:
                began, self.arrived_s = now if began is None else began, now
                received += len(data)
                if blocks := self._decoder.feed(data):
                    self._health.add_block(blocks[-1], now)
                    segment = blocks[-1].segment
                    yield from blocks
            elif getattr(self._port, "at_end", False):
                yield from self._decoder.finish()
                return
            elif now - self.arrived_s > silent_s:
                raise PortError(f"no data has come from {self.url} for {silent_s:g} s: check the sensor and its cable")
            message = self._health.check(now, self.arrived_s, self._decoder.counts, segment)
            if message is not None and notify is not None:
                notify(message)
            if began is not None and received > _PATIENCE_BYTES:
                if self._bauds and now - began > _BAUD_PATIENCE_S and self._received_noise():
                    self._change_baud(self._bauds.pop())
                    began = now
                elif now - began > self._patience_s:
                    if (reason := self._decoder.failure_reason()) is not None:
                        raise FormatError(reason)
                    began = float("inf")

    def _received_noise(self) -> bool:
        return isinstance(self._decoder, DetectingDecoder) and self._decoder.received_noise()

    def _change_baud(self, baud: int) -> None:
        """Change the baud rate, discard the bytes received at the previous rate, and restart detection."""
        self._port.baudrate = baud
        self._port.reset_input_buffer()
        self._options = replace(self._options, hint=_hint(self.url, f"{DEFAULT_BAUD} and {baud} were tried"))
        self._decoder = open_decoder(self._format, self._options)

    def _send(self, request: bytes) -> None:
        if request:
            # A device that does not receive the request may still send, so a failure is ignored.
            write_all(self._port, request)


def open_device(
    url: str, format: str = "auto", baud: int | None = None, options: StreamOptions | None = None
) -> Device:
    """Open a sensor at a serial port or pyserial URL, with exclusive access.

    Args:
        url: a device node such as "/dev/ttyUSB0", or a pyserial URL; "sim://" is a simulated sensor.
        format: name of the device format, with its settings if any; "auto" detects it.
        baud: baud rate; None for the format's baud rate, or, for "auto", 115200 and then 9600.
        options: properties of the stream that are known in advance, such as its rate.

    Raises:
        PortError: the port is missing, busy, not permitted or unreachable.
        ConfigError: the format or a setting is unknown.
    """
    name, _ = parse_format(format)
    rate = baud or (DEFAULT_BAUD if name == "auto" else find_format(name).baud)
    options = replace(options or StreamOptions(), live=True, hint=_hint(url, f"now {rate}"))
    open_decoder(format, options)
    return Device(url, open_port(url, rate), format, baud, options)


def identity_of(hello: Hello | None) -> str | None:
    """A device's id as text, or as hex digits if it is not printable; None without a HELLO."""
    if hello is None:
        return None
    text = hello.device_id.rstrip(b"\0")
    return text.decode() if text.isascii() and text.decode().isprintable() else hello.device_id.hex()


def as_function(stop: Stop | None) -> Callable[[], bool]:
    """The stop condition as a function; None never stops."""
    if stop is None:
        return lambda: False
    return stop.is_set if isinstance(stop, Event) else stop


def _hint(url: str, baud: str) -> str:
    if "://" in url:
        return "check the device format and the device at the other end"
    return f"check the baud rate ({baud}) and the device format"
