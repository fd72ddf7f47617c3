"""An emulated BITalino with four sampling rates and six inputs, which sends nothing until it is started."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from firmware_bridge.devices.bitalino.decoder import RATES_HZ, STOP, VERSION
from firmware_bridge.devices.bitalino.frames import encode_frames
from firmware_bridge.devices.emulator import Burst, in_pieces
from firmware_bridge.devices.waveform import Waveform, at_rate
from firmware_bridge.units import Unit

__all__ = ["BitalinoEmulator"]

_CONVERTER = Unit("adc", 10)
_EDA_INPUT = 2
_BURSTS_PER_S = 50


class BitalinoEmulator:
    """See `Emulator`. The EDA sensor is on input A3; the other inputs read a constant."""

    baud = 115200

    def __init__(self, waveform: Waveform) -> None:
        self._values = waveform.microsiemens()
        self._waveform_hz = waveform.rate_hz
        self.rate_hz = Fraction(1000)
        self.run = 0
        self._runs = 0
        self._inputs: list[int] = []

    def bursts(self) -> Iterator[Burst]:
        """See `Emulator`."""
        inputs = self._inputs
        sent = 0
        values = at_rate(self._values, self._waveform_hz, self.rate_hz)
        for piece in in_pieces(values, max(1, int(self.rate_hz) // _BURSTS_PER_S)):
            counts = np.full((len(piece), len(inputs)), 21, dtype=np.uint16)
            if _EDA_INPUT in inputs:
                counts[:, inputs.index(_EDA_INPUT)] = _CONVERTER.to_readings(np.array(piece))
            frames = encode_frames(counts, sent % 16)
            sent += len(piece)
            yield Burst(sent, frames)

    def receive(self, data: bytes) -> bytes:
        """See `Emulator`."""
        answer = b""
        for byte in data:
            if self.run:
                self.run = 0 if byte == STOP[0] else self.run
            elif byte == VERSION[0]:
                answer += b"BITalino_v5.2\n"
            elif byte & 0x3F == 3:
                self.rate_hz = Fraction(RATES_HZ[byte >> 6])
            elif byte & 3 == 1 and byte >> 2:
                self._inputs = [i for i in range(6) if byte >> 2 & 1 << i]
                self._runs += 1
                self.run = self._runs
        return answer

    def reset(self) -> None:
        """See `Emulator`."""
        self.run = 0
        self.rate_hz = Fraction(1000)
