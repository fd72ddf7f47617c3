"""An emulated sketch that prints `value` or `millis,value` after comments that state rate and unit."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.devices.emulator import Burst, in_pieces
from firmware_bridge.devices.waveform import Waveform

__all__ = ["CsvEmulator", "line_bursts"]


class CsvEmulator:
    """See `Emulator`. millis: put the time in whole milliseconds before each reading. about: start with comments."""

    baud = 115200

    def __init__(self, waveform: Waveform, millis: bool = False, about: bool = True) -> None:
        self.rate_hz = waveform.rate_hz
        self._values = waveform.readings()
        self._unit = waveform.unit
        self._bits = waveform.adc_bits if waveform.unit == "adc" else None
        self._millis, self._about = millis, about
        self.run = 1

    def bursts(self) -> Iterator[Burst]:
        """See `Emulator`."""
        lines = line_bursts(self._values, self.rate_hz, self._unit, self._bits, self._millis)
        return (burst for burst in lines if self._about or burst.samples)

    def receive(self, data: bytes) -> bytes:
        """See `Emulator`. The sketch ignores what it receives."""
        return b""

    def reset(self) -> None:
        """See `Emulator`."""
        self.run += 1


def line_bursts(
    values: Iterable[NDArray[np.float64]],
    rate_hz: Fraction,
    unit: str = "uS",
    adc_bits: int | None = None,
    millis: bool = False,
) -> Iterator[Burst]:
    """CSV lines for readings, after comments that state rate and unit.

    Args:
        values: readings in arrays of any length.
        rate_hz: sampling rate.
        unit: unit of the readings.
        adc_bits: resolution of ADC counts, or None.
        millis: put the time in whole milliseconds before each reading.
    """
    about = [f"# rate_hz: {rate_hz}", f"# unit: {unit}", *([f"# adc_bits: {adc_bits}"] if adc_bits else [])]
    yield Burst(0, "".join(f"{line}\r\n" for line in about).encode())
    index = 0
    for piece in in_pieces(values, max(1, round(rate_hz / 100))):
        lines = []
        for value in piece:
            text = f"{value:.10g}"
            lines.append(f"{index * 1000 // rate_hz},{text}\r\n" if millis else f"{text}\r\n")
            index += 1
        yield Burst(index, "".join(lines).encode())
