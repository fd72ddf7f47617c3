"""Raw sensor readings to microsiemens, the one unit of everything downstream.

Sources of the formulae:
  adc      BITalino EDA data sheet: uS = ADC / 2**bits * VCC / 0.132 with VCC = 3.3 V, so full scale is 25 uS.
  divider  Seeed wiki, Grove GSR sensor v1.2: R = (1024 + 2 x) * 10 kOhm / (zero - x), x a 10-bit reading and
           zero the reading with open electrodes (512 as the potentiometer leaves the factory).
  ohm      conductance is the inverse of resistance: uS = 1e6 / Ohm.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import SignalError
from firmware_bridge.suggestions import did_you_mean

__all__ = ["BITALINO_FULL_SCALE_US", "LARGEST_US", "Unit", "UnitKind", "parse_unit"]

UnitKind = Literal["uS", "adc", "ohm", "kohm", "divider"]
"""What a raw reading is; the module's docstring gives each formula."""

BITALINO_FULL_SCALE_US = 25.0
"""Conductance at full scale of a BITalino EDA front end, in uS: 3.3 / 0.132."""

LARGEST_US = 1e6
"""What nothing exceeds that is measured with two electrodes on skin, 1 Ohm: a reading beyond it is a garbled one."""

_SPELLINGS: dict[str, UnitKind] = {
    "us": "uS",
    "µs": "uS",
    "μs": "uS",
    "microsiemens": "uS",
    "adc": "adc",
    "ohm": "ohm",
    "kohm": "kohm",
    "divider": "divider",
    "grove": "divider",
}


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a sensor's raw readings.

    kind: see `UnitKind`.
    adc_bits: resolution of the converter, for "adc" and "divider": readings are in 0 .. 2**adc_bits - 1.
    full_scale_us: conductance at full scale, for "adc".
    reference_ohm: the series resistance of a "divider".
    divider_zero: reading of a "divider" with open electrodes; None means half of full scale.
    offset_us: conductance at reading 0, for "adc".
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
        """Which readings this unit can express: finite, in the converter's range, of 1 Ohm or more (`LARGEST_US`)."""
        valid: NDArray[np.bool_] = np.isfinite(values)
        if self.kind in ("adc", "divider"):
            valid &= (values >= 0) & (values < 2**self.adc_bits)
        elif self.kind == "uS":
            valid &= np.abs(values) <= LARGEST_US
        else:
            valid &= values >= (1e6 if self.kind == "ohm" else 1e3) / LARGEST_US
        return valid

    def to_microsiemens(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Conductance in uS of raw readings of any shape, element by element.

        Raises SignalError at the first reading that is not `in_range`.
        """
        values = np.asarray(values, dtype=np.float64)
        valid = self.in_range(values)
        if not valid.all():
            raise SignalError(self._complaint(float(values[~valid][0])))
        microsiemens = values
        if self.kind == "adc":
            microsiemens = values / 2**self.adc_bits * self.full_scale_us + self.offset_us
        elif self.kind == "ohm":
            microsiemens = np.divide(1e6, values)
        elif self.kind == "kohm":
            microsiemens = np.divide(1e3, values)
        elif self.kind == "divider":
            span = 2**self.adc_bits
            zero = span / 2 if self.divider_zero is None else self.divider_zero
            # At and above `zero` the electrodes are open: no conductance.
            conducting = np.maximum(zero - values, 0.0)
            microsiemens = 1e6 * conducting / ((span + 2 * values) * self.reference_ohm)
        return microsiemens

    def to_readings(self, microsiemens: NDArray[np.float64]) -> NDArray[np.float64]:
        """Raw readings of conductances in uS, the inverse of `to_microsiemens`: whole counts, clipped to the
        converter's range, for "adc" and "divider"; a conductance of 0 has an infinite resistance."""
        microsiemens = np.asarray(microsiemens, dtype=np.float64)
        if self.kind == "uS":
            return microsiemens
        with np.errstate(divide="ignore"):
            if self.kind == "ohm":
                return np.divide(1e6, microsiemens)
            if self.kind == "kohm":
                return np.divide(1e3, microsiemens)
        span = 2**self.adc_bits
        if self.kind == "adc":
            counts = (microsiemens - self.offset_us) / (self.full_scale_us / span)
        else:
            zero = span / 2 if self.divider_zero is None else self.divider_zero
            product = microsiemens * self.reference_ohm
            counts = (1e6 * zero - span * product) / (1e6 + 2 * product)
        readings: NDArray[np.float64] = np.clip(np.rint(counts), 0, span - 1)
        return readings

    def _complaint(self, reading: float) -> str:
        if not math.isfinite(reading):
            return f"a reading is {reading}: remove or fill missing values before they reach the signal chain"
        if self.kind in ("adc", "divider"):
            return (
                f"reading {reading:g} does not fit a {self.adc_bits}-bit converter: "
                "give its resolution, or another unit"
            )
        if self.kind == "uS":
            return f"a reading of {reading:g} uS is not a conductance of skin: check the unit"
        return f"a resistance of {reading:g} {self.kind} has no conductance: check the unit and the electrodes"


def parse_unit(
    text: str,
    adc_bits: int = 10,
    full_scale_us: float = BITALINO_FULL_SCALE_US,
    reference_ohm: float = 10_000.0,
    divider_zero: float | None = None,
) -> Unit:
    """The unit a user names: uS (or µS), adc, ohm, kohm, divider (or grove), in any case.

    Raises SignalError for another name or a parameter out of range.
    """
    kind = _SPELLINGS.get(text.strip().lower())
    if kind is None:
        hint = did_you_mean(text.strip(), _SPELLINGS)
        raise SignalError(f"unknown unit {text!r}: choose one of {', '.join(get_args(UnitKind))}{hint}")
    return Unit(kind, adc_bits, full_scale_us, reference_ohm, divider_zero)
