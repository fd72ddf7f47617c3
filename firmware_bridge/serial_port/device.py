"""An open device: reads a port through a decoder and sends the decoder's requests, without waiting or in a loop."""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from threading import Event
from time import monotonic
from types import TracebackType
from typing import Any

from firmware_bridge.devices.detect import DetectingDecoder, open_decoder
from firmware_bridge.devices.ekd.frame import Hello
from firmware_bridge.devices.registry import find_format, parse_format
from firmware_bridge.devices.stream import RawBlock, StreamCounts, StreamDecoder, StreamOptions
from firmware_bridge.errors import FormatError, PortError
from firmware_bridge.serial_port.clock import ClockRate
from firmware_bridge.serial_port.health import DeviceHealth
from firmware_bridge.serial_port.ports import (
    PORT_FAULTS,
    close_port,
    descriptor_of,
    drain,
    open_port,
    read_now,
    wait_readable,
    write_all,
    write_now,
)

__all__ = ["DEFAULT_BAUD", "Device", "Stop", "as_function", "identity_of", "open_device"]

Stop = Event | Callable[[], bool]
"""Stops a waiting reader: an event that is set, or a function that returns True."""

DEFAULT_BAUD = 115200
_OTHER_BAUD = 9600
_PATIENCE_S, _AUTO_PATIENCE_S, _BAUD_PATIENCE_S = 5.0, 3.0, 0.7
_PATIENCE_BYTES = 64
_STEP_BYTES = 1 << 16
"""Upper limit of bytes that one step reads, so that a fast port does not delay others."""
_FULL_BYTES = 4095
"""Bytes that the system buffers for a serial port. After such a read, more may be waiting."""
_CLOSE_S = 0.2
_WAIT_S = 0.1


class Device:
    """A sensor at a port: a context manager that stops the sensor and closes the port. Created by `open_device`."""

    def __init__(self, url: str, port: Any, format: str, baud: int | None, options: StreamOptions) -> None:
        self.url, self._port = url, port
        self._format, self._options = format, options
        self._bauds = [_OTHER_BAUD] if format == "auto" and baud is None and "://" not in url else []
        self._patience_s = _AUTO_PATIENCE_S if format == "auto" else _PATIENCE_S
        self._decoder = open_decoder(format, options)
        self._health = DeviceHealth(url, simulated=url.startswith("sim:"))
        self._ahead = b""
        self._requests = b""
        self._segment = 0
        self._began_s: float | None = None
        self._failure: PortError | None = None
        self.sampled_s = monotonic()
        """Time of the latest samples, or of the opening, on the host's monotonic clock."""
        self.received_bytes = 0
        self.ended = False
        """Whether a simulated sensor has delivered its last samples."""

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
                write_all(self._port, command, _CLOSE_S)
                drain(self._port, _CLOSE_S)
        close_port(self._port)

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

    @property
    def problem(self) -> str | None:
        """A lasting fault of the stream, see `DeviceHealth.problem`."""
        return self._health.problem

    def time_of(self, sample_index: int) -> float | None:
        """When a sample was measured, see `ClockFit.time_of`; None in the first seconds."""
        return self._health.time_of(sample_index)

    @property
    def descriptor(self) -> int | None:
        """The port's file descriptor, for a selector; None for a port without one, which must be read by a timer."""
        return descriptor_of(self._port)

    def blocks(
        self, stop: Stop | None = None, notify: Callable[[str], None] | None = None, silent_s: float = math.inf
    ) -> Iterator[RawBlock]:
        """Blocks of raw readings as they arrive, until `stop` or the end of a simulated sensor.

        Args:
            stop: ends the iteration.
            notify: called at most once per second with messages about silence, damage, losses, restarts, open
                electrodes and a wrong rate.
            silent_s: raise PortError if no samples arrive for this long.

        Raises:
            PortError: the device was disconnected. Earlier readings are delivered first.
            FormatError: the bytes cannot be decoded. Earlier readings are delivered first.
        """
        stopped = as_function(stop)
        while not stopped() and not self.ended:
            blocks = self.step(notify, silent_s)
            yield from blocks
            if not blocks and not self.ended:
                self.wait(_WAIT_S)

    def wait(self, seconds: float) -> None:
        """Wait until bytes have arrived or the time has passed; a disconnection is raised by the next `step`."""
        with suppress(*PORT_FAULTS):
            self._ahead += wait_readable(self._port, seconds)

    def step(self, notify: Callable[[str], None] | None = None, silent_s: float = math.inf) -> list[RawBlock]:
        """Read and decode the bytes that have arrived, and send what the decoder requests, without waiting.

        Args:
            notify: see `blocks`.
            silent_s: see `blocks`.

        Returns:
            The blocks that are complete.

        Raises:
            PortError: the device was disconnected, or has sent no samples for `silent_s`.
            FormatError: the bytes cannot be decoded. Earlier readings are returned by an earlier step.
        """
        if self._failure is not None:
            raise self._failure
        try:
            self._requests += self._decoder.take_request()
            if self._requests:
                # A device that does not receive the request may still send.
                self._requests = write_now(self._port, self._requests)[-_STEP_BYTES:]
            data = self._received()
        except PORT_FAULTS as error:
            gone = PortError(f"{self.url} went away: check the plug and the cable, then start again")
            gone.__cause__ = error
            return self._finish(gone)
        now_s = monotonic()
        blocks: list[RawBlock] = []
        if data:
            self._began_s = now_s if self._began_s is None else self._began_s
            self.received_bytes += len(data)
            if blocks := self._decoder.feed(data):
                self._health.add_block(blocks[-1], now_s)
                self._segment, self.sampled_s = blocks[-1].segment, now_s
        elif getattr(self._port, "at_end", False):
            return self._finish(None)
        if now_s - self.sampled_s > silent_s:
            raise PortError(f"no samples have come from {self.url} for {silent_s:g} s: check the sensor and its cable")
        message = self._health.check(now_s, self.sampled_s, self._decoder.counts, self._segment, self.received_bytes)
        if message is not None and notify is not None:
            notify(message)
        self._check_format(now_s, bool(blocks))
        return blocks

    def _received(self) -> bytes:
        """The bytes that have arrived; the error of a disconnection is raised when they have been delivered."""
        data, self._ahead = self._ahead, b""
        while len(data) < _STEP_BYTES:
            try:
                more = read_now(self._port)
            except PORT_FAULTS:
                if data:
                    return data
                raise
            data += more
            if len(more) < _FULL_BYTES:
                break
        return data

    def _finish(self, failure: PortError | None) -> list[RawBlock]:
        """Decode the rest of the stream. Raise the failure now, or by the next step where there are blocks."""
        self._failure, self.ended = failure, failure is None
        try:
            blocks = self._decoder.finish()
        except FormatError:
            if failure is None:
                raise
            blocks = []
        if failure is not None and not blocks:
            raise failure
        return blocks

    def _check_format(self, now_s: float, delivered: bool) -> None:
        """Try the next baud rate, or raise FormatError, where bytes arrive that are in no known form."""
        began_s = self._began_s
        if delivered or began_s is None or self.received_bytes <= _PATIENCE_BYTES:
            return
        if self._bauds and now_s - began_s > _BAUD_PATIENCE_S and self._received_noise():
            self._change_baud(self._bauds.pop())
            self._began_s = now_s
        elif now_s - began_s > self._patience_s:
            if (reason := self._decoder.failure_reason()) is not None:
                raise FormatError(reason)
            self._began_s = math.inf

    def _received_noise(self) -> bool:
        return isinstance(self._decoder, DetectingDecoder) and self._decoder.received_noise()

    def _change_baud(self, baud: int) -> None:
        """Change the baud rate, discard the bytes received at the previous rate, and restart detection."""
        self._port.baudrate = baud
        self._port.reset_input_buffer()
        self._ahead = b""
        self._options = replace(self._options, hint=_hint(self.url, f"{DEFAULT_BAUD} and {baud} were tried"))
        self._decoder = open_decoder(self._format, self._options)


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
