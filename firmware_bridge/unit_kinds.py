"""The kinds of a sensor's raw readings, as the options of commands list them; loads nothing."""

from typing import Literal

__all__ = ["UnitKind"]

UnitKind = Literal["uS", "S", "mS", "nS", "adc", "ohm", "kohm", "Mohm", "divider"]
"""The kinds of raw readings; `firmware_bridge.units` has the formula of each."""
