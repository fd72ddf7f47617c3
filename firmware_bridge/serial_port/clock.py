"""Measurement of a device's sampling rate by the host's clock."""

import math
from collections import deque
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = ["ClockFit", "ClockRate"]

_BUCKET_S = 1.0
_BUCKETS = 900
_FEWEST = 5
_STALL_S, _LATE_S = 1.0, 0.25
_JUMP_S = 0.5
"""Bytes that arrive this much earlier than expected show that the host's clock was suspended."""


@dataclass(frozen=True, slots=True)
class ClockRate:
    """A measured clock rate.

    rate_hz: the true sampling rate by the host's clock. ppm: clock error of the device in parts per million; a positive
    error means a fast clock. error_ppm: half the width of the 95 % interval of ppm.
    """

    rate_hz: float
    ppm: float
    error_ppm: float


class ClockFit:
    """Measures the clock rate by a linear fit to the arrival times of samples.

    Buffers and buses delay bytes, and no byte arrives early. So only the sample with the smallest delay of each second
    is used. The slope of a straight line through these delays, without outliers, is the clock error. Bytes that had
    accumulated while no process read the port are ignored. The host's clock is monotonic and has no steps. It does not
    count a suspend, after which the fit restarts.
    """

    def __init__(self, nominal_hz: Fraction) -> None:
        self.nominal_hz = nominal_hz
        self._smallest_delays: deque[tuple[float, float]] = deque(maxlen=_BUCKETS)
        self._bucket = -1
        self._rate: ClockRate | None = None
        self._new_points = 0
        self._arrived_s: float | None = None
        self._usual_s: float | None = None
        self._late_until_s: float | None = None

    def push(self, arrived_s: float, samples: int) -> None:
        """Add an arrival: `samples` samples, including lost ones, had arrived at time `arrived_s` of the host."""
        device_s = float(samples / self.nominal_hz)
        delay_s = arrived_s - device_s
        if self._is_delayed(arrived_s, device_s, delay_s):
            return
        bucket = int(device_s // _BUCKET_S)
        if bucket == self._bucket:
            if delay_s < self._smallest_delays[-1][1]:
                self._smallest_delays[-1] = (device_s, delay_s)
            return
        if len(self._smallest_delays) > _FEWEST and delay_s < self._expected(device_s) - _JUMP_S:
            self._smallest_delays.clear()
            self._rate = None
        self._bucket = bucket
        self._new_points += 1
        self._smallest_delays.append((device_s, delay_s))

    def _is_delayed(self, arrived_s: float, device_s: float, delay_s: float) -> bool:
        """Whether the bytes were delayed by a pause in reading."""
        pause_s = 0.0 if self._arrived_s is None else arrived_s - self._arrived_s
        self._arrived_s = arrived_s
        usual_s = pause_s if self._usual_s is None else self._usual_s
        if pause_s > max(_STALL_S, 3 * usual_s):
            self._late_until_s = arrived_s + 3 * pause_s
        elif pause_s > 0:
            self._usual_s = usual_s + 0.1 * (pause_s - usual_s)
        if self._late_until_s is None:
            return False
        known = len(self._smallest_delays) > _FEWEST
        if arrived_s < self._late_until_s and (not known or delay_s > self._expected(device_s) + _LATE_S):
            return True
        if arrived_s >= self._late_until_s:
            # The delay has not decreased: samples were lost, or the fit had too few points.
            self._smallest_delays.clear()
            self._rate = None
        self._late_until_s = None
        return False

    def rate(self) -> ClockRate | None:
        """The measured rate; None in the first seconds."""
        if len(self._smallest_delays) < _FEWEST + 1:
            return None
        if self._rate is None or self._new_points:
            self._rate = self._fit()
            self._new_points = 0
        return self._rate

    def _expected(self, device_s: float) -> float:
        (first_s, first), (last_s, last) = self._smallest_delays[1], self._smallest_delays[-1]
        slope = (last - first) / (last_s - first_s) if last_s > first_s else 0.0
        return last + slope * (device_s - last_s)

    def _fit(self) -> ClockRate:
        # The first second has the bytes that had accumulated in the port before the first read.
        times, delays = np.array(self._smallest_delays)[1:].T
        slope, residuals, spread = _line(times, delays)
        typical = 3 * 1.4826 * float(np.median(np.abs(residuals - np.median(residuals)))) + 1e-6
        kept = np.abs(residuals - np.median(residuals)) <= typical
        if _FEWEST <= np.count_nonzero(kept) < len(times):
            slope, residuals, spread = _line(times[kept], delays[kept])
        variance = float(residuals @ residuals) / max(1, len(residuals) - 2)
        error = 1.96 * math.sqrt(variance / float(spread @ spread))
        fast = -slope / (1 + slope)
        return ClockRate(float(self.nominal_hz) * (1 + fast), fast * 1e6, error * 1e6)


def _line(
    times: NDArray[np.float64], delays: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """The slope of the least-squares line, the residuals, and the times minus their mean."""
    spread = times - times.mean()
    slope = float(spread @ delays / (spread @ spread))
    return slope, delays - delays.mean() - slope * spread, spread
