"""The kinds of a sensor's raw readings, as the options of commands list them; loads nothing."""

from typing import Literal

__all__ = ["UnitKind"]

UnitKind = Literal["uS", "adc", "ohm", "kohm", "divider"]
"""The kinds of raw readings; `firmware_bridge.units` has the formula of each."""
