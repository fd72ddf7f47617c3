"""Correction of a device's sample rate where its clock deviates too far from the rate that it states."""

from fractions import Fraction

from firmware_bridge.serial_port.clock import LARGEST_CLOCK_ERROR_PPM, ClockRate

__all__ = ["RateCorrection"]

_TOLERATED_PPM = 2000
"""A smaller error changes nothing in skin conductance: it is 0.06 s in a window of 32 s."""
_MAX_UNCERTAINTY_PPM = 500
_UNCERTAIN_SHARE = 0.1
"""A large clock error is corrected before it is known exactly, and corrected again later if need be."""
_DIGITS = 7
"""Significant digits of a corrected rate."""


class RateCorrection:
    """Replaces the stated rate by the measured one as soon as the measurement is certain, and after each later drift.

    A time is a sample index divided by the rate, so time within a segment would jump where the rate changes, and could
    run backwards: the caller begins a segment wherever the rate differs from the one before. Each change restarts
    windowing, so a device with a steady clock loses one window at most.
    """

    def __init__(self) -> None:
        self._stated = Fraction(0)
        self._applied = Fraction(0)

    def __call__(self, stated_hz: Fraction, clock: ClockRate | None) -> Fraction:
        """The rate to use. clock: the device's clock measured by the host's; None while it is unknown."""
        if stated_hz != self._stated:
            self._stated = self._applied = stated_hz
        if clock is None or clock.error_ppm > max(_MAX_UNCERTAINTY_PPM, _UNCERTAIN_SHARE * abs(clock.ppm)):
            return self._applied
        if abs(clock.ppm) > LARGEST_CLOCK_ERROR_PPM + _MAX_UNCERTAINTY_PPM:
            return self._applied
        if abs(clock.rate_hz / float(self._applied) - 1) * 1e6 > _TOLERATED_PPM + clock.error_ppm:
            self._applied = Fraction(f"{clock.rate_hz:.{_DIGITS}g}")
        return self._applied
