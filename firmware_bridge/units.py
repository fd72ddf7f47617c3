"""Conversion of raw sensor readings to microsiemens, the unit of the signal chain.

S, mS, uS and nS are conductances; ohm, kohm and Mohm are resistances. Sources of the other formulas:
  adc      BITalino EDA data sheet: uS = ADC / 2**bits * VCC / 0.132 with VCC = 3.3 V, so full scale is 25 uS.
  divider  Seeed wiki, Grove GSR sensor v1.2: R = (1024 + 2 x) * 10 kOhm / (zero - x), where x is a 10-bit reading and
           zero is the reading with open electrodes (512 with the factory setting of the potentiometer).
  ohm      conductance is the inverse of resistance: uS = 1e6 / Ohm.
"""

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import SignalError
from firmware_bridge.suggestions import did_you_mean
from firmware_bridge.unit_kinds import UnitKind

__all__ = ["BITALINO_FULL_SCALE_US", "LARGEST_US", "Unit", "UnitKind", "parse_unit"]

BITALINO_FULL_SCALE_US = 25.0
"""Conductance at full scale of a BITalino EDA front end, in uS: 3.3 / 0.132."""

LARGEST_US = 1e6
"""Upper limit of a plausible conductance in uS, which is 1 Ohm: readings of skin that exceed it are invalid."""

_MICROSIEMENS: dict[UnitKind, float] = {"S": 1e6, "mS": 1e3, "uS": 1.0, "nS": 1e-3}
"""The conductances, with their value in uS."""
_PER_OHM: dict[UnitKind, float] = {"ohm": 1e6, "kohm": 1e3, "Mohm": 1.0}
"""The resistances, with the conductance in uS of a reading of 1."""

_SPELLINGS: dict[str, UnitKind] = {
    **dict.fromkeys(("us", "µs", "μs", "microsiemens", "usiemens", "micromho", "umho"), "uS"),
    **dict.fromkeys(("s", "siemens"), "S"),
    **dict.fromkeys(("ms", "millisiemens"), "mS"),
    **dict.fromkeys(("ns", "nanosiemens"), "nS"),
    **dict.fromkeys(("ohm", "ohms", "ω"), "ohm"),
    **dict.fromkeys(("kohm", "kohms", "kω", "kiloohm"), "kohm"),
    **dict.fromkeys(("mohm", "mohms", "mω", "megaohm", "megohm"), "Mohm"),
    **dict.fromkeys(("adc", "count", "counts"), "adc"),
    **dict.fromkeys(("divider", "grove"), "divider"),
}
"""The units by their names in lower case. The sign of Ohm (U+2126) becomes a Greek omega in lower case."""


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a sensor's raw readings.

    kind: the kind of reading, see `UnitKind`.
    adc_bits: resolution of the converter, for "adc" and "divider"; readings range from 0 to 2**adc_bits - 1.
    full_scale_us: conductance in uS at full scale, for "adc".
    reference_ohm: series resistance in Ohm, for "divider".
    divider_zero: reading with open electrodes, for "divider"; None means half of full scale.
    offset_us: conductance in uS at reading 0, for "adc".
    """

    kind: UnitKind = "uS"
    adc_bits: int = 10
    full_scale_us: float = BITALINO_FULL_SCALE_US
    reference_ohm: float = 10_000.0
    divider_zero: float | None = None
    offset_us: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(UnitKind):
            raise SignalError(f"unknown unit {self.kind!r}: choose one of {', '.join(get_args(UnitKind))}")
        if not 1 <= self.adc_bits <= 32:
            raise SignalError(f"adc_bits is {self.adc_bits}: give the converter's resolution, 1 to 32 bits")
        if not (math.isfinite(self.full_scale_us) and self.full_scale_us > 0):
            raise SignalError("full_scale_us must be a positive number of microsiemens")
        if not (math.isfinite(self.reference_ohm) and self.reference_ohm > 0):
            raise SignalError("reference_ohm must be a positive number of Ohm")
        if self.divider_zero is not None and not 0 < self.divider_zero < 2**self.adc_bits:
            raise SignalError(f"divider_zero must be between 0 and {2**self.adc_bits}")
        if not math.isfinite(self.offset_us):
            raise SignalError("offset_us must be a number of microsiemens")

    def in_range(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """A mask of the valid readings: finite, within the converter's range, and at least 1 Ohm (`LARGEST_US`)."""
        valid: NDArray[np.bool_] = np.isfinite(values)
        if self.kind in ("adc", "divider"):
            valid &= (values >= 0) & (values < 2**self.adc_bits)
        elif self.kind in _MICROSIEMENS:
            valid &= np.abs(values) <= LARGEST_US / _MICROSIEMENS[self.kind]
        else:
            valid &= values >= _PER_OHM[self.kind] / LARGEST_US
        return valid

    def to_microsiemens(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert raw readings of any shape to conductance in uS, element by element.

        Raises SignalError if a reading is not `in_range`; the message names the first such reading.
        """
        values = np.asarray(values, dtype=np.float64)
        if (fault := self.fault_of(values)) is not None:
            raise SignalError(fault)
        return self.converted(values)

    def fault_of(self, values: NDArray[np.float64]) -> str | None:
        """A sentence about the first reading that is not `in_range`, or None."""
        valid = self.in_range(values)
        return None if valid.all() else self._out_of_range_message(float(values[~valid][0]))

    def converted(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert raw readings, all of which are `in_range`, to conductance in uS, element by element."""
        microsiemens = values
        if self.kind == "adc":
            microsiemens = values / 2**self.adc_bits * self.full_scale_us + self.offset_us
        elif self.kind in _PER_OHM:
            microsiemens = np.divide(_PER_OHM[self.kind], values)
        elif self.kind in _MICROSIEMENS and self.kind != "uS":
            microsiemens = values * _MICROSIEMENS[self.kind]
        elif self.kind == "divider":
            span = 2**self.adc_bits
            zero = span / 2 if self.divider_zero is None else self.divider_zero
            # A reading at or above `zero` means open electrodes, which have a conductance of 0.
            conducting = np.maximum(zero - values, 0.0)
            microsiemens = 1e6 * conducting / ((span + 2 * values) * self.reference_ohm)
        return microsiemens

    def to_readings(self, microsiemens: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert conductances in uS to raw readings, the inverse of `to_microsiemens`.

        Readings of "adc" and "divider" are whole counts, clipped to the converter's range. The resistance of a
        conductance of 0 is infinite.
        """
        microsiemens = np.asarray(microsiemens, dtype=np.float64)
        if self.kind == "uS":
            return microsiemens
        if self.kind in _MICROSIEMENS:
            return microsiemens / _MICROSIEMENS[self.kind]
        if self.kind in _PER_OHM:
            with np.errstate(divide="ignore"):
                return np.divide(_PER_OHM[self.kind], microsiemens)
        span = 2**self.adc_bits
        if self.kind == "adc":
            counts = (microsiemens - self.offset_us) / (self.full_scale_us / span)
        else:
            zero = span / 2 if self.divider_zero is None else self.divider_zero
            product = microsiemens * self.reference_ohm
            counts = (1e6 * zero - span * product) / (1e6 + 2 * product)
        readings: NDArray[np.float64] = np.clip(np.rint(counts), 0, span - 1)
        return readings

    def _out_of_range_message(self, reading: float) -> str:
        if not math.isfinite(reading):
            return f"a reading is {reading}: remove or fill missing values before they reach the signal chain"
        if self.kind in ("adc", "divider"):
            return (
                f"reading {reading:g} does not fit a {self.adc_bits}-bit converter: "
                "give its resolution, or another unit"
            )
        if self.kind in _MICROSIEMENS:
            return f"a reading of {reading:g} {self.kind} is not a conductance of skin: check the unit"
        return f"a resistance of {reading:g} {self.kind} has no conductance: check the unit and the electrodes"


def parse_unit(
    text: str,
    adc_bits: int = 10,
    full_scale_us: float = BITALINO_FULL_SCALE_US,
    reference_ohm: float = 10_000.0,
    divider_zero: float | None = None,
) -> Unit:
    """The unit of a name and its parameters.

    Args:
        text: a kind of `UnitKind` or another spelling of it (µS, Ω, kΩ, grove), in upper or lower case.
        adc_bits: resolution of the converter, for adc and divider.
        full_scale_us: conductance in uS at full scale, for adc.
        reference_ohm: series resistance in Ohm, for divider.
        divider_zero: reading with open electrodes, for divider; None means half of full scale.

    Raises:
        SignalError: the name is unknown, or a parameter is out of range.
    """
    kind = _SPELLINGS.get(text.strip().lower())
    if kind is None:
        hint = did_you_mean(text.strip(), _SPELLINGS)
        raise SignalError(f"unknown unit {text!r}: choose one of {', '.join(get_args(UnitKind))}{hint}")
    return Unit(kind, adc_bits, full_scale_us, reference_ohm, divider_zero)
