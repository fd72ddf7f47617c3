"""Whether readings have the magnitude of skin conductance in their unit, and which units they could have instead."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.units import Unit, UnitKind

__all__ = ["doubt_of"]

_PLAUSIBLE_US: Final = (0.01, 100.0)
_CONDUCTANCES: Final[tuple[UnitKind, ...]] = ("S", "mS", "uS", "nS")
_RESISTANCES: Final[tuple[UnitKind, ...]] = ("ohm", "kohm", "Mohm")
_LARGEST_COUNT: Final = 1 << 24


def doubt_of(readings: NDArray[np.float64], unit: Unit, stated: str | None) -> str | None:
    """A sentence where the median of the readings is not a skin conductance of 0.01 to 100 uS, else None.

    It names the units that the magnitude fits, each with the kind of reading that it would mean: a conductance, a
    resistance or counts. A wrong choice between these inverts the signal, so the sentence does not choose.

    Args:
        readings: at least one, in the unit's range.
        unit: of the readings.
        stated: the unit as it is stated, or None if it is assumed.
    """
    median = float(np.median(readings))
    if _fits(median, unit):
        return None
    conductances = [kind for kind in _CONDUCTANCES if kind != unit.kind and _fits(median, Unit(kind))]
    resistances = [kind for kind in _RESISTANCES if kind != unit.kind and _fits(median, Unit(kind))]
    choices = [f"'# unit: {kind}' if it is a conductance" for kind in conductances]
    choices += [f"'# unit: {kind}' if it is a resistance" for kind in resistances]
    whole = bool(np.all(readings[:1000] == np.rint(readings[:1000])))
    if whole and median >= 1 and readings.max() < _LARGEST_COUNT and unit.kind not in ("adc", "divider"):
        choices.append("'# unit: adc' and '# adc_bits: 10' if it is a count of a converter")
    microsiemens = float(unit.converted(np.array([median]))[0])
    origin = f"{unit.kind} is stated" if stated is not None else f"no unit is stated, {unit.kind} is assumed"
    remedy = ", ".join(choices) if choices else "the unit of the readings, or record with the electrodes attached"
    return f"the median is {microsiemens:.4g} uS ({origin}), which is not a conductance of skin: write {remedy}"


def _fits(reading: float, unit: Unit) -> bool:
    value = np.array([reading])
    return bool(unit.in_range(value)[0]) and _PLAUSIBLE_US[0] <= float(unit.converted(value)[0]) <= _PLAUSIBLE_US[1]
