"""A device format for an invented sensor: `ekd-edge --port PORT --format skinlink`.

It sends 32 lines a second, each with a sample's number and the skin conductance in nanosiemens: `SL 17 4812`.
The number shows lost lines. It starts at 0 when the sensor is switched on.
"""

import re
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from firmware_bridge.devices.emulator import Burst, Emulator, in_pieces
from firmware_bridge.devices.registry import DeviceFormat, ReceivedBytes, check_settings
from firmware_bridge.devices.stream import Declared, RawBlock, StreamCounts, StreamDecoder, StreamOptions
from firmware_bridge.devices.waveform import Waveform, at_rate
from firmware_bridge.errors import FormatError

BAUD = 115200
RATE_HZ = Fraction(32)
LINE = re.compile(rb"SL (\d{1,9}) (\d{1,6})\r?")
LONGEST = 64  # bytes of a line; more without a line end is discarded, so that memory stays bounded
PATIENCE = 4096  # bytes without a valid line after which this is another device


class SkinlinkDecoder:
    """Bytes to samples; see the protocol `StreamDecoder`. The result does not depend on how the bytes are cut."""

    def __init__(self, options: StreamOptions) -> None:
        self._options = options
        self._declared = Declared(RATE_HZ, "uS")
        self._rest = b""
        self._next: int | None = None  # the number that the next line should have
        self._segment = 0
        self._samples = self._dropped = self._rejected = self._discarded = 0

    def feed(self, data: bytes) -> list[RawBlock]:
        """One block for each line. A jump of `first_index` is a gap; a lower number starts a segment."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        blocks = [block for line in lines if (block := self._block(line + b"\n")) is not None]
        if len(self._rest) > LONGEST:
            self._discarded += len(self._rest) - LONGEST
            self._rest = self._rest[-LONGEST:]
        if not self._samples and self._discarded > PATIENCE:
            raise FormatError(f"these are not lines of a skinlink sensor: {self._options.hint}")
        return blocks

    def _block(self, line: bytes) -> RawBlock | None:
        match = LINE.fullmatch(line.rstrip(b"\n"))
        if match is None:
            self._discarded += len(line)
            self._rejected += self._samples > 0  # the first line of a live stream may be cut
            return None
        number, nanosiemens = int(match[1]), int(match[2])
        if self._next is not None and number < self._next:
            self._segment += 1
        elif self._next is not None:
            self._dropped += number - self._next
        self._next = number + 1
        self._samples += 1
        values = np.array([nanosiemens / 1000])
        values.flags.writeable = False
        rate_hz = self._options.rate_hz or RATE_HZ
        return RawBlock(values, number, rate_hz, self._segment, declared=self._declared)

    def finish(self) -> list[RawBlock]:
        """The end of the stream: a last line without a line end counts where nothing was cut."""
        blocks = [] if self._options.live or not self._rest else self.feed(b"\n")
        if not self._samples:
            raise FormatError(f"no line of a skinlink sensor was found: {self._options.hint}")
        return blocks

    def failure_reason(self) -> str | None:
        """Why there are no samples so far, in one sentence."""
        return None if self._samples else f"no line of a skinlink sensor so far: {self._options.hint}"

    def take_request(self) -> bytes:
        """Nothing: the sensor sends without a command."""
        return b""

    def stop_command(self) -> bytes:
        """Nothing: the sensor cannot be stopped."""
        return b""

    @property
    def counts(self) -> StreamCounts:
        """Samples, losses and rejected lines so far."""
        return StreamCounts(self._samples, self._dropped, self._rejected, self._discarded)


class SkinlinkEmulator:
    """The sensor without hardware; see the protocol `Emulator`. For `sim://?format=skinlink` and for tests."""

    baud = BAUD
    rate_hz = RATE_HZ

    def __init__(self, waveform: Waveform) -> None:
        self._values = at_rate(waveform.microsiemens(), waveform.rate_hz, RATE_HZ)
        self.run = 1

    def bursts(self) -> Iterator[Burst]:
        """A line for each sample of the waveform."""
        for number, (value,) in enumerate(in_pieces(self._values, 1)):
            yield Burst(number + 1, b"SL %d %d\r\n" % (number, round(value * 1000)))

    def receive(self, data: bytes) -> bytes:
        """No answer: the sensor ignores what is sent to it."""
        return b""

    def reset(self) -> None:
        """A power cycle: `bursts` starts again at number 0 with the rest of the waveform."""
        self.run += 1


def open_decoder(options: StreamOptions) -> StreamDecoder:
    """A decoder. The format has no settings, so that `--format skinlink:key=value` is refused."""
    check_settings("skinlink", options.settings)
    return SkinlinkDecoder(options)


def recognises(received: ReceivedBytes) -> bool:
    """Whether these bytes are certainly this sensor's: several lines, each of the right form."""
    lines = received.data.split(b"\n")[1 if received.live else 0 : -1]
    return len(lines) >= 3 and all(LINE.fullmatch(line) for line in lines)


def emulate(waveform: Waveform) -> Emulator:
    """The emulated sensor, measuring a waveform."""
    return SkinlinkEmulator(waveform)


FORMAT = DeviceFormat(
    name="skinlink",
    about="an invented sensor with numbered lines, 115200 baud",
    baud=BAUD,
    open=open_decoder,
    recognises=recognises,
    emulate=emulate,
)
