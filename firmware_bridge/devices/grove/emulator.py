"""An emulated Seeed Grove GSR sensor on an Arduino with Seeed's example sketch."""

from collections.abc import Iterator

from firmware_bridge.devices.emulator import Burst, in_pieces
from firmware_bridge.devices.grove.decoder import BAUD, NOMINAL_HZ, UNIT
from firmware_bridge.devices.waveform import Waveform, at_rate

__all__ = ["GroveEmulator"]


class GroveEmulator:
    """See `Emulator`."""

    baud = BAUD
    rate_hz = NOMINAL_HZ

    def __init__(self, waveform: Waveform) -> None:
        self._values = at_rate(waveform.microsiemens(), waveform.rate_hz, NOMINAL_HZ)
        self.run = 1

    def bursts(self) -> Iterator[Burst]:
        """See `Emulator`."""
        for i, piece in enumerate(in_pieces(map(UNIT.to_readings, self._values), 1)):
            yield Burst(i + 1, b"%d\r\n" % int(piece[0]))

    def receive(self, data: bytes) -> bytes:
        """See `Emulator`. The sketch ignores what it receives."""
        return b""

    def reset(self) -> None:
        """See `Emulator`."""
        self.run += 1
