"""A sensor's bytes, live or recorded, to sample blocks in microsiemens."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

import numpy as np
import serial

from ekd_edge.errors import FormatError, PortError, SignalError
from ekd_edge.signal.blocks import SampleBlock
from firmware_bridge.formats.detect import Format, open_decoder
from firmware_bridge.formats.stream import Declared, RawBlock, StreamCounts, StreamDecoder
from firmware_bridge.frame import Hello
from firmware_bridge.ports import PORT_FAULTS, check_port, open_port, port_names, read_available
from firmware_bridge.units import Unit, parse_unit

__all__ = [
    "Replay",
    "Sensor",
    "SensorOptions",
    "Stop",
    "check_port",
    "open_replay",
    "open_sensor",
    "port_names",
    "replay_blocks",
]

Stop = threading.Event | Callable[[], bool]
"""Tells a waiting reader to stop: an event, or a function that returns True."""

_PATIENCE_S = {"auto": 3.0, "ekd": 5.0, "csv": 5.0}
_PATIENCE_BYTES = 64
_SILENCE_S = 3.0
_CHUNK_BYTES = 1 << 20
_MANY_IMPOSSIBLE = 16


@dataclass(frozen=True, slots=True)
class SensorOptions:
    """What is known of a sensor beforehand; None leaves it to what the sensor says.

    format: "ekd" (frame protocol v1), "csv" (lines) or "auto". rate_hz: the true sampling rate.
    unit: of the readings. baud: bits a second on a serial line.
    """

    format: Format = "auto"
    rate_hz: Fraction | None = None
    unit: Unit | None = None
    baud: int = 115200


class _Microsiemens:
    """Raw blocks to sample blocks; readings that the unit cannot express are left out as gaps."""

    def __init__(self, unit: Unit | None) -> None:
        self._option = unit
        self._said: Hello | Declared | None = None
        self._unit: Unit | None = unit
        self._possible = 0
        self.impossible = 0

    def __call__(self, blocks: Iterable[RawBlock]) -> Iterator[SampleBlock]:
        """Raises FormatError where nothing tells the unit, SignalError where it plainly does not fit."""
        for block in blocks:
            said = block.hello or block.declared
            if self._unit is None or (self._option is None and said != self._said):
                self._unit, self._said = _unit_of(block), said
            valid = self._unit.in_range(block.values)
            good = int(np.count_nonzero(valid))
            self._possible += good
            self.impossible += len(valid) - good
            if good == len(valid):
                yield _sample_block(block, self._unit, 0, good)
                continue
            if self.impossible >= _MANY_IMPOSSIBLE and self.impossible > self._possible / 10:
                self._unit.to_microsiemens(block.values)
            edges = np.flatnonzero(np.diff(valid, prepend=False, append=False)).tolist()
            for start, stop in zip(edges[::2], edges[1::2], strict=True):
                yield _sample_block(block, self._unit, start, stop)


def _sample_block(block: RawBlock, unit: Unit, start: int, stop: int) -> SampleBlock:
    values = unit.to_microsiemens(block.values[start:stop])
    values.flags.writeable = False
    return SampleBlock(values, block.first_index + start, block.rate_hz, block.segment)


def _unit_of(block: RawBlock) -> Unit:
    """The unit that the stream states. The profiles of a HELLO are defined in PROTOCOL.md."""
    if block.hello is not None:
        hello, (a, b) = block.hello, block.hello.calibration
        try:
            if hello.profile == 0:
                return Unit("adc", hello.adc_bits, full_scale_us=a * 2**hello.adc_bits, offset_us=b)
            if hello.profile == 1:
                return Unit("divider", hello.adc_bits, reference_ohm=a, divider_zero=b or None)
        except SignalError as error:
            raise FormatError(f"the device's calibration makes no sense ({error}): correct its HELLO") from error
        raise FormatError(f"the device's front-end profile {hello.profile} is unknown: update ekd, or say --unit")
    declared = block.declared or Declared()
    if declared.unit is None:
        raise FormatError("the lines do not tell their unit: say --unit uS, or --unit adc --adc-bits N")
    if declared.adc_bits is None and declared.unit.lower() in ("adc", "divider", "grove"):
        raise FormatError(f"the lines do not tell the ADC's resolution: say --unit {declared.unit} --adc-bits N")
    return parse_unit(declared.unit, declared.adc_bits or 10)


def _joint_counts(decoder: StreamDecoder, readings: _Microsiemens) -> StreamCounts:
    counts, lost = decoder.counts, readings.impossible
    return StreamCounts(counts.samples - lost, counts.dropped + lost, counts.rejected + lost, counts.discarded_bytes)


class Sensor:
    """An open sensor: a context manager that closes the port. Made by `open_sensor`."""

    def __init__(self, url: str, port: Any, options: SensorOptions) -> None:
        self._url, self._port = url, port
        self._patience_s = _PATIENCE_S[options.format]
        hint = "check --format and what is at the other end"
        if "://" not in url:
            hint = f"check --baud (now {options.baud}) and --format"
        self._decoder = open_decoder(options.format, options.rate_hz, live=True, hint=hint)
        self._readings = _Microsiemens(options.unit)

    def __enter__(self) -> "Sensor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the port; a device that has gone away already is no fault."""
        with suppress(*PORT_FAULTS):
            self._port.close()

    @property
    def counts(self) -> StreamCounts:
        """What arrived so far; readings that the unit cannot express count as rejected and dropped."""
        return _joint_counts(self._decoder, self._readings)

    def blocks(self, stop: Stop | None = None, silent: Callable[[float], None] | None = None) -> Iterator[SampleBlock]:
        """Blocks in microsiemens as they arrive, until told to stop or until a simulated sensor ends.

        silent: called about once a second, with the seconds since the last byte, while none came for 3 s.
        Raises PortError when the device goes away, FormatError where its bytes make no sense and SignalError
        where its readings do not fit the unit; what arrived before is delivered first.
        """
        stopped = _as_function(stop)
        began: float | None = None
        received, heard, told = 0, monotonic(), 0.0
        while not stopped():
            try:
                self._send(self._decoder.take_request())
                data = read_available(self._port)
            except PORT_FAULTS as error:
                with suppress(FormatError):
                    yield from self._readings(self._decoder.finish())
                raise PortError(f"{self._url} went away: check the plug and the cable, then start again") from error
            now = monotonic()
            if data:
                began, heard = now if began is None else began, now
                received += len(data)
                yield from self._readings(self._decoder.feed(data))
            elif getattr(self._port, "at_end", False):
                yield from self._readings(self._decoder.finish())
                return
            elif silent is not None and now - max(heard + _SILENCE_S - 1, told) >= 1:
                told = now
                silent(now - heard)
            if began is not None and now - began > self._patience_s and received > _PATIENCE_BYTES:
                complaint = self._decoder.complaint()
                if complaint is not None:
                    raise FormatError(complaint)
                began = float("inf")

    def _send(self, request: bytes) -> None:
        if request:
            # A device that does not listen is asked in vain; it may still talk.
            with suppress(serial.SerialTimeoutException):
                self._port.write(request)


def open_sensor(url: str, options: SensorOptions | None = None) -> Sensor:
    """Open a serial port, or any pyserial URL, for this program alone. sim:// is a simulated sensor.

    Raises PortError where it is missing, busy, forbidden or unreachable.
    """
    options = SensorOptions() if options is None else options
    return Sensor(url, open_port(url, options.baud), options)


class Replay:
    """A recording of a sensor's bytes, read like the sensor itself. Made by `open_replay`."""

    def __init__(self, path: Path, options: SensorOptions) -> None:
        self._path = path
        hint = f"{path} is no recording of a sensor's bytes, neither frames nor CSV"
        self._decoder = open_decoder(options.format, options.rate_hz, live=False, hint=hint)
        self._readings = _Microsiemens(options.unit)

    def __enter__(self) -> "Replay":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close: the file is open only while `blocks` runs."""

    @property
    def counts(self) -> StreamCounts:
        """See `Sensor.counts`."""
        return _joint_counts(self._decoder, self._readings)

    def blocks(self, stop: Stop | None = None) -> Iterator[SampleBlock]:
        """Blocks in microsiemens, as fast as they can be decoded. For errors see `replay_blocks`."""
        stopped = _as_function(stop)
        empty = True
        try:
            with self._path.open("rb") as file:
                while not stopped() and (data := file.read(_CHUNK_BYTES)):
                    empty = False
                    yield from self._readings(self._decoder.feed(data))
        except OSError as error:
            raise PortError(f"cannot read {self._path}: {error.strerror}; check the name after --replay") from error
        if empty and not stopped():
            raise FormatError(f"{self._path} is empty: name a recording of a sensor's bytes")
        if not stopped():
            yield from self._readings(self._decoder.finish())


def open_replay(path: Path | str, options: SensorOptions | None = None) -> Replay:
    """A recording, in any format of a sensor. Raises PortError where there is no such file."""
    path = Path(path)
    if not path.is_file():
        raise PortError(f"{path} is no file: name a recording after --replay")
    return Replay(path, SensorOptions() if options is None else options)


def replay_blocks(path: Path | str, options: SensorOptions | None = None) -> Iterator[SampleBlock]:
    """The blocks of a recording, as fast as they can be decoded, through the decoders of a live sensor.

    Raises PortError where the file is missing or unreadable, FormatError where it is empty or no recording,
    SignalError where its readings do not fit the unit.
    """
    return open_replay(path, options).blocks()


def _as_function(stop: Stop | None) -> Callable[[], bool]:
    if stop is None:
        return lambda: False
    return stop.is_set if isinstance(stop, threading.Event) else stop
