"""The rate that samples really have, where a device's clock is off by more than it matters."""

from fractions import Fraction

from firmware_bridge.serial_port.clock import ClockRate

__all__ = ["RateCorrection"]

_TOLERATED_PPM = 2000
"""Below this, skin conductance at a rate that is not quite right is the same: 0.06 s in a window of 32 s."""
_MAX_UNCERTAINTY_PPM = 500
_MAX_CLOCK_ERROR_PPM = 50_000
"""A clock that is surely further off is no clock: the stated rate must be wrong, which the user is told."""
_STEP = 1000


class RateCorrection:
    """Replaces a stated rate by the measured one once that is certain, and again when it has moved as far.

    Each change starts windows anew, so a steady device costs one at most.
    """

    def __init__(self) -> None:
        self._stated = Fraction(0)
        self._applied = Fraction(0)

    def __call__(self, stated_hz: Fraction, clock: ClockRate | None) -> Fraction:
        """The rate to go by. clock: the device's against the host's, None while it is not known."""
        if stated_hz != self._stated:
            self._stated = self._applied = stated_hz
        if (
            clock is None
            or clock.error_ppm > _MAX_UNCERTAINTY_PPM
            or abs(clock.ppm) > _MAX_CLOCK_ERROR_PPM + _MAX_UNCERTAINTY_PPM
        ):
            return self._applied
        if abs(clock.rate_hz / float(self._applied) - 1) * 1e6 > _TOLERATED_PPM + clock.error_ppm:
            self._applied = Fraction(round(clock.rate_hz * _STEP), _STEP)
        return self._applied
