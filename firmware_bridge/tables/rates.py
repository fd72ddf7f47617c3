"""The sampling rate that a column of times shows, and the rates that are plausible for skin conductance."""

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = ["FASTEST_HZ", "JITTER_S", "NO_RATE", "SLOWEST_HZ", "estimate_rate", "is_plausible"]

NO_RATE = (
    "the lines do not state the sampling rate: state the rate in Hz, such as 128, or add the line '# rate_hz: 128'"
)
"""The sentence about a file or stream without a rate."""

JITTER_S = 0.0025
"""Jitter of a microcontroller's millisecond clock; a shorter delay is not a gap."""

SLOWEST_HZ, FASTEST_HZ = 0.49, 4100
"""Plausible rates of a sensor, from 0.5 to 4096 Hz."""

_FINEST_DENOMINATOR = 1 << 20
_SHORT_SPAN = 0.2
"""Largest tolerance of a rate that is rounded, for times of a short span."""
_USUAL_RATES = (
    *(1, 2, 4, 5, 8, 10, 15, 16, 20, 24, 25, 30, 32, 40, 50, 60, 64, 75, 80, 100, 120, 125, 128, 150, 200, 240),
    *(250, 256, 300, 400, 480, 500, 512, 600, 750, 800, 860, 1000, 1024, 1200, 2000, 2048, 4000, 4096),
)


def is_plausible(rate_hz: Fraction) -> bool:
    """Whether a sensor of skin conductance can have this rate: from 0.5 to 4096 Hz, with a tolerance."""
    return SLOWEST_HZ <= rate_hz <= FASTEST_HZ


def estimate_rate(times_s: NDArray[np.float64]) -> Fraction | None:
    """Estimate the sampling rate from times in seconds, shape (n,); None if the times do not increase.

    Gaps and steps backwards are ignored. The rate is rounded to a usual rate if the clock's resolution allows it, else
    to a whole number or a simple fraction of Hz. A rate below a millionth of a hertz is None.
    """
    steps = np.diff(times_s)
    steps = steps[steps >= 0]
    if len(steps) == 0 or (span := float(steps.sum())) <= 0:
        return None
    changes = np.flatnonzero(steps)
    if 1 < len(changes) < len(steps):
        # The clock is coarse: only the readings between two of its changes are complete.
        steps = steps[changes[0] + 1 : changes[-1] + 1]
        span = float(steps.sum())
    intervals = float(len(steps))
    steps = steps[steps > 0]
    median = float(np.median(steps))
    gaps = steps[steps > max(1.5 * median, median + JITTER_S)]
    with np.errstate(over="ignore"):
        intervals += float(np.sum(np.rint(gaps / median) - 1)) * round(intervals / len(steps))
    rate = intervals / span
    if not math.isfinite(rate):
        return None
    tolerance = rate * max(2e-3, min(_SHORT_SPAN, JITTER_S / span))
    usual = min(_USUAL_RATES, key=lambda r: abs(r - rate))
    if abs(usual - rate) <= tolerance:
        return Fraction(usual)
    if round(rate) >= 1 and abs(round(rate) - rate) <= tolerance / 4:
        return Fraction(round(rate))
    denominator = 1
    while abs((simple := Fraction(rate).limit_denominator(denominator)) - rate) > tolerance / 4 or simple <= 0:
        if denominator >= _FINEST_DENOMINATOR:
            return None
        denominator *= 2
    return simple
