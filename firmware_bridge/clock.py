"""How fast a device's clock runs against the host's."""

import math
from collections import deque
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

__all__ = ["ClockFit", "ClockRate"]

_BUCKET_S = 1.0
_BUCKETS = 900
_FEWEST = 5


@dataclass(frozen=True, slots=True)
class ClockRate:
    """rate_hz: the true sampling rate by the host's clock. ppm: how much the device is fast, in parts per million.

    error_ppm: half the width of ppm's 95 % interval.
    """

    rate_hz: float
    ppm: float
    error_ppm: float


class ClockFit:
    """Fits the arrivals of samples to their nominal rate.

    Bytes arrive late by what buffers and buses hold them back, never early: so of each second only the sample that
    came with the least delay counts, and a straight line through those delays has the clocks' difference as slope.
    """

    def __init__(self, nominal_hz: Fraction) -> None:
        self.nominal_hz = nominal_hz
        self._least: deque[tuple[float, float]] = deque(maxlen=_BUCKETS)
        self._bucket = -1

    def push(self, arrived_s: float, samples: int) -> None:
        """`samples` of the device's samples (lost ones too) had arrived by that time on the host's clock."""
        device_s = float(samples / self.nominal_hz)
        delay_s = arrived_s - device_s
        bucket = int(device_s // _BUCKET_S)
        if bucket != self._bucket:
            self._bucket = bucket
            self._least.append((device_s, delay_s))
        elif delay_s < self._least[-1][1]:
            self._least[-1] = (device_s, delay_s)

    def rate(self) -> ClockRate | None:
        """The device's true rate; None in the first seconds."""
        if len(self._least) < _FEWEST + 1:
            return None
        # The first second holds what the port had gathered before it was read, the last one is not over.
        times, delays = np.array(self._least)[1:].T
        spread = times - times.mean()
        slope = float(spread @ delays / (spread @ spread))
        residuals = delays - delays.mean() - slope * spread
        variance = float(residuals @ residuals) / max(1, len(times) - 2)
        error = 1.96 * math.sqrt(variance / float(spread @ spread))
        fast = -slope / (1 + slope)
        return ClockRate(float(self.nominal_hz) * (1 + fast), fast * 1e6, error * 1e6)
