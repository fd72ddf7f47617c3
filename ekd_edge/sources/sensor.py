"""Decoding of a sensor's bytes, live or from a file, into sample blocks in microsiemens."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ekd_edge.errors import EkdError, FormatError, PortError
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sources.closable import Closable
from ekd_edge.sources.readings import ReadingConverter
from ekd_edge.sources.stated import SensorOptions, unit_of_readings
from firmware_bridge.devices.csv.table_file import PlacedTable, is_table_file, read_placed_table
from firmware_bridge.devices.detect import open_decoder
from firmware_bridge.devices.stream import Declared, StreamCounts, StreamOptions
from firmware_bridge.serial_port.clock import ClockRate
from firmware_bridge.serial_port.device import Device, Stop, as_function, identity_of, open_device

__all__ = [
    "Sensor",
    "SensorFileReplay",
    "SensorOptions",
    "Stop",
    "open_replay",
    "open_sensor",
    "replay_blocks",
]

_CHUNK_BYTES = 1 << 20
_PIECE = 1 << 16
"""Largest number of samples in a block of a table."""
_WAIT_S = 0.1


class Sensor(Closable):
    """An open sensor: a context manager that stops the device and closes the port. Made by `open_sensor`."""

    def __init__(self, device: Device, options: SensorOptions) -> None:
        self._device = device
        self._readings = ReadingConverter(options, device.url, "--port", live=True)
        self._failure: EkdError | None = None

    def close(self) -> None:
        """Close the port; an unplugged device is not an error."""
        self._device.close()

    @property
    def about(self) -> str:
        """The port and its device, such as "/dev/ttyUSB0: ekd 01a2b3c4d5e6f708"."""
        return f"{self._device.url}: {self._device.about}"

    @property
    def identity(self) -> str:
        """Identifies the sensor among others: the id that it states, else its format and port."""
        hello = getattr(self._device.decoder, "hello", None)
        stated = identity_of(hello)
        return f"{self._device.format_name} {stated}" if stated else f"{self._device.format_name} at {self._device.url}"

    @property
    def clock(self) -> ClockRate | None:
        """The device's clock measured by the host's; None in the first seconds."""
        return self._device.clock

    @property
    def counts(self) -> StreamCounts:
        """Counts of samples so far; readings outside the unit's range count as rejected and dropped."""
        return self._readings.joined(self._device.counts)

    @property
    def problem(self) -> str | None:
        """A lasting fault of the stream, such as a rate that does not fit the samples' arrival, or open electrodes."""
        return self._device.problem or self._readings.problem

    def time_of(self, sample_index: int) -> float | None:
        """When a sample was measured, on the clock of `monotonic`; None in the first seconds."""
        return self._device.time_of(sample_index)

    @property
    def descriptor(self) -> int | None:
        """See `Device.descriptor`."""
        return self._device.descriptor

    @property
    def ended(self) -> bool:
        """Whether a simulated sensor has delivered its last samples."""
        return self._device.ended

    @property
    def received_bytes(self) -> int:
        """Bytes received so far."""
        return self._device.received_bytes

    def wait(self, seconds: float) -> None:
        """See `Device.wait`."""
        self._device.wait(seconds)

    def step(self, notify: Callable[[str], None] | None = None, silent_s: float = math.inf) -> list[SampleBlock]:
        """Blocks in microsiemens of the bytes that have arrived, without waiting.

        Args:
            notify: see `Device.blocks`.
            silent_s: see `Device.blocks`.

        Returns:
            The blocks that are complete.

        Raises:
            PortError: the device was unplugged, or has sent no samples for `silent_s`.
            FormatError: its bytes are not in the stated format.
            SignalError: its readings do not fit the unit. Samples that arrived before an error are returned first.
        """
        if self._failure is not None:
            raise self._failure
        blocks: list[SampleBlock] = []
        try:
            with _naming(self._device.url):
                for block in self._readings(self._device.step(notify, silent_s), notify):
                    blocks.append(block)
        except EkdError as error:
            if not blocks:
                raise
            self._failure = error
        return blocks

    def blocks(
        self, stop: Stop | None = None, notify: Callable[[str], None] | None = None, silent_s: float = math.inf
    ) -> Iterator[SampleBlock]:
        """Blocks in microsiemens as they arrive, until `stop` is set or a simulated sensor ends.

        Args:
            stop: an Event, or a function that returns whether to stop.
            notify: see `Device.blocks`.
            silent_s: see `Device.blocks`.

        Raises:
            EkdError: as `step`.
        """
        stopped = as_function(stop)
        while not stopped() and (self._failure is not None or not self.ended):
            blocks = self.step(notify, silent_s)
            yield from blocks
            if not blocks and not self.ended:
                self.wait(_WAIT_S)


def open_sensor(url: str, options: SensorOptions | None = None) -> Sensor:
    """Open a serial port or another pyserial URL exclusively; sim:// is a simulated sensor.

    Raises PortError where it is missing, busy, forbidden or unreachable, ConfigError where the format is unknown.
    """
    options = SensorOptions() if options is None else options
    stream = StreamOptions(options.rate_hz, default_rate_hz=options.default_rate_hz)
    with _naming(url):
        return Sensor(open_device(url, options.format, options.baud, stream), options)


class SensorFileReplay(Closable):
    """A file of a sensor's bytes, read like the sensor itself, or a table of samples. Made by `open_replay`."""

    def __init__(self, path: Path, options: SensorOptions) -> None:
        self._path, self._options = path, options
        self._placed: PlacedTable | None = None
        hint = f"{path} is not a recording of a sensor's bytes: it holds neither frames nor CSV"
        self._decoder = open_decoder(options.format, _stream_options(options, hint))
        self._readings = ReadingConverter(options, str(path), "--replay", live=False)

    def __iter__(self) -> Iterator[SampleBlock]:
        return self.blocks()

    @property
    def counts(self) -> StreamCounts:
        """See `Sensor.counts`."""
        counts = self._decoder.counts if self._placed is None else self._placed.counts
        return self._readings.joined(counts)

    def blocks(self, stop: Stop | None = None, notify: Callable[[str], None] | None = None) -> Iterator[SampleBlock]:
        """Blocks in microsiemens, as fast as they can be decoded. For the errors see `replay_blocks`.

        notify: called with a sentence about what was understood of a table, and with each option of the user that is
        not used, as the file states something else.
        """
        with _naming(str(self._path)):
            yield from self._blocks(as_function(stop), notify)

    def _blocks(self, stopped: Callable[[], bool], notify: Callable[[str], None] | None) -> Iterator[SampleBlock]:
        empty = True
        try:
            if is_table_file(self._path, self._options.format):
                yield from self._table(stopped, notify)
                return
            with self._path.open("rb") as file:
                while not stopped() and (data := file.read(_CHUNK_BYTES)):
                    empty = False
                    yield from self._readings(self._decoder.feed(data), notify)
        except OSError as error:
            raise PortError(f"cannot read {self._path}: {error.strerror}; check its name and permissions") from error
        if empty and not stopped():
            raise FormatError(f"{self._path} is empty: name a file that holds a sensor's bytes")
        if not stopped():
            yield from self._readings(self._decoder.finish(), notify)

    def _table(self, stopped: Callable[[], bool], notify: Callable[[str], None] | None) -> Iterator[SampleBlock]:
        """The blocks of a table of samples, in pieces."""
        options = self._options
        placed = self._placed = read_placed_table(
            self._path, Declared(options.rate_hz), override=True, default_rate_hz=options.default_rate_hz
        )
        unit = unit_of_readings(placed.blocks[0], options)
        if notify is not None:
            notify(f"reading {placed.summary(self._path.name, unit.kind)}")
        for block in self._readings(placed.blocks, notify):
            for start in range(0, len(block.values), _PIECE):
                if stopped():
                    return
                yield _piece(block, start, start + _PIECE)


def _piece(block: SampleBlock, start: int, stop: int) -> SampleBlock:
    readings = None if block.readings is None else block.readings[start:stop]
    return replace(block, values=block.values[start:stop], first_index=block.first_index + start, readings=readings)


def _stream_options(options: SensorOptions, hint: str) -> StreamOptions:
    return StreamOptions(options.rate_hz, live=False, hint=hint, default_rate_hz=options.default_rate_hz)


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Name the port or file in the message of an error that does not name it."""
    try:
        yield
    except EkdError as error:
        if where in str(error):
            raise
        raise type(error)(f"{where}: {error}") from error


def open_replay(path: Path | str, options: SensorOptions | None = None) -> SensorFileReplay:
    """A file of a sensor's bytes in any device format. Raises PortError where the file does not exist."""
    path = Path(path)
    if not path.is_file():
        raise PortError(f"{path} is not a file: name a recording, a folder of recordings or a file of a sensor's bytes")
    return SensorFileReplay(path, SensorOptions() if options is None else options)


def replay_blocks(path: Path | str, options: SensorOptions | None = None) -> Iterator[SampleBlock]:
    """The blocks of a file of a sensor's bytes, by the decoders of a live sensor, as fast as they can be decoded.

    Raises PortError where the file is missing or unreadable, FormatError where it is empty or not a recording,
    SignalError where its readings do not fit the unit.
    """
    return open_replay(path, options).blocks()
