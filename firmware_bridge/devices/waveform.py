"""The waveform that an emulated device measures."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import FormatError
from firmware_bridge.units import Unit

__all__ = ["Waveform", "at_rate"]


_PIECE = 64


@dataclass(frozen=True, slots=True)
class Waveform:
    """Readings in pieces of any size. They can be read once.

    values: float64 arrays of shape (n,). rate_hz: sampling rate. unit: "uS", or "adc" for whole counts of a linear
    converter. adc_bits: resolution of the counts; for "uS", the resolution of the emulated converter.
    full_scale_us: conductance in uS at the converter's full scale.
    """

    values: Iterable[NDArray[np.float64]]
    rate_hz: Fraction
    unit: Literal["uS", "adc"] = "uS"
    adc_bits: int = 16
    full_scale_us: float = 50.0

    @property
    def converter(self) -> Unit:
        """The linear converter of the counts, or of the emulated device."""
        return Unit("adc", self.adc_bits, self.full_scale_us)

    def readings(self) -> Iterator[NDArray[np.float64]]:
        """The readings in pieces of at most 64; a reset of the emulated device loses the current piece."""
        for block in self.values:
            yield from np.split(block, range(_PIECE, len(block), _PIECE))

    def microsiemens(self) -> Iterator[NDArray[np.float64]]:
        """The readings in uS."""
        for block in self.readings():
            yield block if self.unit == "uS" else self.converter.to_microsiemens(block)

    def counts(self, converter: Unit) -> Iterator[NDArray[np.uint16]]:
        """The readings as counts of the converter; a waveform in counts is not converted.

        Raises FormatError if the waveform's counts exceed its resolution.
        """
        for block in self.readings():
            if self.unit == "uS":
                yield converter.to_readings(block).astype(np.uint16)
                continue
            if block.size and not 0 <= block.min() <= block.max() < 2**self.adc_bits:
                raise FormatError(
                    f"the waveform has readings that exceed {self.adc_bits} bits: correct its resolution or its unit"
                )
            yield np.rint(block).astype(np.uint16)


def at_rate(values: Iterable[NDArray[np.float64]], from_hz: Fraction, to_hz: Fraction) -> Iterator[NDArray[np.float64]]:
    """Resample readings by linear interpolation; they are unchanged if the rates are equal."""
    if from_hz == to_hz:
        for block in values:  # `yield from` would close the iterator of values together with this generator
            yield block
        return
    step = from_hz / to_hz
    position = Fraction(0)
    kept = np.empty(0)
    for block in values:
        kept = np.concatenate([kept, block])
        count = max(0, int((len(kept) - 1 - position) // step) + 1)
        if count:
            at = float(position) + float(step) * np.arange(count)
            yield np.interp(at, np.arange(len(kept)), kept)
            position += count * step
        used = min(int(position), len(kept) - 1)
        if used > 0:
            kept, position = kept[used:], position - used
