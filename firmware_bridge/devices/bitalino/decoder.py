"""Decoder for a BITalino with its EDA sensor, which sends nothing until the host sets its rate and starts it.

Commands have one byte: stop is 0, set rate is code << 6 | 3 for 1, 10, 100 and 1000 Hz, start is channel mask << 2 | 1,
and get version is 7. Source of the conversion: BITalino EDA sensor data sheet, uS = ADC / 2**10 * 3.3 V / 0.132.
"""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.devices.bitalino.frames import FRAME_BYTES, decode_channel, find_frames, find_sequences, valid_crc
from firmware_bridge.devices.emulator import Emulator
from firmware_bridge.devices.polled import PolledDecoder
from firmware_bridge.devices.registry import DeviceFormat, Probe, ReceivedBytes, check_settings
from firmware_bridge.devices.stream import Declared, RawBlock, StreamOptions
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.errors import ConfigError, FormatError

__all__ = ["FORMAT", "INPUTS", "RATES_HZ", "STOP", "VERSION", "BitalinoDecoder", "rate_command", "start_command"]

RATES_HZ = (1, 10, 100, 1000)
INPUTS = ("A1", "A2", "A3", "A4", "A5", "A6")
STOP, VERSION = b"\x00", b"\x07"

_EDA_INPUT = "A3"
_DEFAULT_HZ = 100
"""The default rate. The sensor's bandwidth is 3 Hz, and 100 Hz has a tenth of the radio traffic of 1000 Hz."""
_IN_A_ROW = 4
"""Consecutive valid frames that are required before the first one is accepted: 28 check bits."""
_STOPPING_S, _SETTING_S = 0.3, 0.1


def rate_command(rate_hz: Fraction | int) -> bytes:
    """The command that sets the sampling rate of an idle BITalino; 1, 10, 100 or 1000 Hz."""
    return bytes([RATES_HZ.index(int(rate_hz)) << 6 | 3])


def start_command(channel: int) -> bytes:
    """The command that starts the acquisition of one input, 0 for A1 to 5 for A6."""
    return bytes([1 << channel << 2 | 1])


class BitalinoDecoder(PolledDecoder):
    """Decodes frames (see `StreamDecoder`). A live decoder stops the device, sets its rate and starts it.

    A four-bit CRC misses many errors, so a frame is accepted only when the next frame is valid and has the next
    sequence number. A frame with a wrong CRC or sequence number is rejected. After it, four consecutive valid frames
    are required, of which all but the first are accepted. The four-bit sequence number shows the number of lost frames.
    If more than 15 may be lost, the number is estimated from the bytes in between, or from the clock if live.
    """

    def __init__(self, options: StreamOptions) -> None:
        check_settings("bitalino", options.settings, _SETTINGS)
        super().__init__(options, STOP, "frame of a BITalino", _IN_A_ROW)
        self._input = _input(options.settings.get("channel", _EDA_INPUT))
        stated = options.settings.get("channels")
        self._inputs = None if stated is None else tuple(_input(name) for name in stated.split("+"))
        if self._live and self._inputs is None:
            self._inputs = (self._input,)
        if self._inputs is not None and self._input not in self._inputs:
            raise ConfigError(
                f"bitalino:channels={stated} lacks {self._input}, the EDA sensor's input: set channel= too"
            )
        self._rate = _rate(options)
        self._length = None if self._inputs is None else FRAME_BYTES[len(self._inputs)]
        self._number = 0
        self._lost_bytes = 0

    def _next_command(self, waited_s: float) -> bytes:
        """Set the rate after stop, and start after that."""
        if self._state == "stopping" and waited_s >= _STOPPING_S:
            return self._enter("setting", rate_command(self._rate))
        if self._state == "setting" and waited_s >= _SETTING_S:
            self._begin_run()
            self._lost_bytes = 0
            return self._enter("started", start_command(INPUTS.index(self._input)))
        return b""

    def _decode(self, in_a_row: int, at_end: bool = False) -> list[RawBlock]:
        if self._length is None and not self._find_length():
            return []
        length = self._length
        assert length is not None
        blocks: list[RawBlock] = []
        while self._locked or self._lock(in_a_row):
            whole = len(self._buffer) // length
            frames = np.frombuffer(self._buffer, np.uint8, whole * length).reshape(whole, length)
            expected = (self._number + np.arange(whole)) % 16
            wrong = np.flatnonzero(~valid_crc(frames) | (frames[:, -1] >> 4 != expected))
            fits = int(wrong[0]) if len(wrong) else whole
            confirmed = fits if at_end and fits == whole else max(0, fits - 1)
            if confirmed:
                blocks.append(self._block(frames[:confirmed]))
            self._buffer = self._buffer[confirmed * length :]
            if fits == whole:
                break
            # The next valid frame may start at any byte after the first one of this frame.
            self._buffer = self._buffer[1:]
            self._discarded += 1
            self._lost_bytes += 1
            self._rejected += 1
            self._locked = False
        return blocks

    def _block(self, frames: NDArray[np.uint8]) -> RawBlock:
        values = decode_channel(frames, self._position())
        values.flags.writeable = False
        self._number = (self._number + len(values)) % 16
        self._samples += len(values)
        if self._live:
            self._received_s = self._clock()
        first, self._next = self._next, self._next + len(values)
        bits = 10 if self._position() < 4 else 6
        return RawBlock(values, first, self._rate, self._segment, declared=Declared(self._rate, "adc", bits))

    def _lock(self, in_a_row: int) -> bool:
        """Find the next consecutive valid frames, and count the frames before them as lost."""
        assert self._length is not None
        begins = find_sequences(in_a_row, self._buffer, self._length)
        found = len(begins) > 0
        useless = int(begins[0]) if found else max(0, len(self._buffer) - in_a_row * self._length + 1)
        if found and (useless or self._found_any):
            # Only eight bits confirm the first of the four frames, which may be the end of a damaged frame.
            useless += self._length
        self._discarded += useless
        self._lost_bytes += useless
        self._buffer = self._buffer[useless:]
        if not found:
            return False
        number = self._buffer[self._length - 1] >> 4
        if self._found_any and (lost := self._lost((number - self._number) % 16)):
            self._next += lost
            self._dropped += lost
        self._number, self._locked, self._found_any, self._lost_bytes = number, True, True, 0
        return True

    def _lost(self, at_least: int) -> int:
        """The number of lost frames, of which the sequence numbers give the lowest four bits."""
        assert self._length is not None
        if self._next == 0:
            return 0
        likely = self._lost_bytes / self._length
        if self._live:
            silent = (self._clock() - self._received_s) * float(self._rate) - len(self._buffer) / self._length
            likely = silent if silent - likely > 16 else likely
        return at_least + 16 * max(0, round((likely - at_least) / 16))

    def _find_length(self) -> bool:
        self._length = find_frames(self._buffer)
        if self._length is None:
            return False
        if self._length == FRAME_BYTES[1]:
            self._inputs = (self._input,)
        elif self._length == FRAME_BYTES[6]:
            self._inputs = INPUTS
        else:
            raise FormatError(
                f"a frame has {self._length} bytes: name the inputs in it, as in the format bitalino:channels=A2+A3"
            )
        return True

    def _position(self) -> int:
        assert self._inputs is not None
        return self._inputs.index(self._input)


def _input(name: str) -> str:
    if name.upper() not in INPUTS:
        raise ConfigError(f"a BITalino has no input {name!r}: it has A1 to A6")
    return name.upper()


def _rate(options: StreamOptions) -> Fraction:
    rate = options.rate_hz or options.default_rate_hz
    if options.live and rate is not None and rate not in RATES_HZ:
        raise ConfigError(f"a BITalino samples at 1, 10, 100 or 1000 Hz, not at {rate}: give one of these rates")
    if not options.live and rate is None:
        raise FormatError("a BITalino's frames do not state their rate: give 1, 10, 100 or 1000 Hz")
    return rate or Fraction(_DEFAULT_HZ)


def _recognises(received: ReceivedBytes) -> bool:
    return find_frames(received.data) is not None


def _is_answer(received: bytes) -> bool:
    return b"BITalino" in received


def _emulate(waveform: Waveform) -> Emulator:
    from firmware_bridge.devices.bitalino.emulator import BitalinoEmulator

    return BitalinoEmulator(waveform)


_SETTINGS = {
    "channel": "input of the EDA sensor (default: A3)",
    "channels": "inputs in the frames of a recording, such as A1+A3",
}

FORMAT = DeviceFormat(
    name="bitalino",
    about="BITalino with its EDA sensor",
    baud=115200,
    open=BitalinoDecoder,
    recognises=_recognises,
    emulate=_emulate,
    probe=Probe(STOP + VERSION, _is_answer),
    settings=_SETTINGS,
)
