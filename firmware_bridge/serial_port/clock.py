"""Measurement of a device's sampling rate and of its samples' times by the host's clock."""

import math
from collections import deque
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = ["LARGEST_CLOCK_ERROR_PPM", "ClockFit", "ClockRate"]

LARGEST_CLOCK_ERROR_PPM = 50_000
"""A larger deviation is not an error of a device's clock: the stated rate is wrong."""

_BUCKET_S = 1.0
_BUCKETS, _RECENT = 900, 120
_FEWEST = 5
_REFIT_SHARE = 16
"""The line is fitted again when the points have grown by one in this many."""
_LOW_SHARE = 0.05
"""Share of the recent points that may lie below the line of the smallest delay, since devices jitter."""
_NEW, _STEP_S = 30, 0.1
_STALL_S = 2.5
_LATE_S, _EARLY_S = 0.25, 0.01
_JUMP_S, _EARLY_POINTS = 0.5, 3
_MIN_WAIT_S, _MAX_WAIT_S = 10.0, 120.0
"""Limits of the time after which a delay that does not go back is permanent: samples were lost, or the rate changed."""
_LEARNING = 0.1
_SEVERAL, _LONG_READ_S, _FRAME_S = 1.5, 0.25, 0.1
_SMALLEST = 1e-6


@dataclass(frozen=True, slots=True)
class ClockRate:
    """A measured clock rate.

    rate_hz: the true sampling rate by the host's clock. ppm: clock error of the device in parts per million; a positive
    error means a fast clock. error_ppm: half the width of the 95 % interval of ppm.
    """

    rate_hz: float
    ppm: float
    error_ppm: float


@dataclass(frozen=True, slots=True)
class _Line:
    """The delay over the device's time: level + slope * (device_s - middle_s), plus `low_s` for the smallest delay.

    spread_s: median of the delays above the smallest one. error: half the width of the 95 % interval of the slope.
    """

    middle_s: float
    level_s: float
    slope: float
    low_s: float
    spread_s: float
    error: float

    def smallest(self, device_s: float) -> float:
        return self.level_s + self.slope * (device_s - self.middle_s) + self.low_s

    def uncertainty(self, device_s: float) -> float:
        return 2 * self.error * abs(device_s - self.middle_s)


class ClockFit:
    """Measures the clock rate by a linear fit to the arrival times of samples.

    Buffers and buses delay bytes, and no byte arrives early. So only the sample with the smallest delay of each second
    is used, however often the port is read. The slope of a straight line through these delays, without outliers, is the
    clock error; the line below them gives the time at which a sample was measured.

    Where several frames or lines arrive in each read, reads at regular intervals of the host can see a multiple of
    frames that hides the clock error: `ClockRate.error_ppm` then includes one frame in the measured time.

    A delay that grows for a while is ignored: the bytes waited in a buffer. If it lasts, samples were lost uncounted,
    and the fit restarts. The host's clock is monotonic and has no steps. It does not count a suspend: samples that then
    seem to arrive early restart the fit.
    """

    def __init__(self, nominal_hz: Fraction) -> None:
        self.nominal_hz = nominal_hz
        self._bucket: int | None = None
        self._new_points = 0
        self._period_s = float(1 / nominal_hz)
        self._points: deque[tuple[float, float]] = deque(maxlen=_BUCKETS)
        self._restart()
        self._arrived_s: float | None = None
        self._usual_s: float | None = None
        self._arrivals = self._samples = self._quantum = 0
        self._per_read = 1.0

    def push(self, arrived_s: float, samples: int) -> None:
        """Add an arrival: `samples` samples, including lost ones, had arrived at time `arrived_s` of the host."""
        device_s = samples * self._period_s
        delay_s = arrived_s - device_s
        paused = self._paused(arrived_s)
        self._add_step(samples)
        line = self._fitted()
        if line is None:
            if paused:
                self._restart()
        elif not self._fits(line, arrived_s, device_s, delay_s):
            return
        bucket = int(arrived_s // _BUCKET_S)
        if bucket != self._bucket:
            self._bucket = bucket
            self._points.append((device_s, delay_s))
            self._new_points += 1
        elif delay_s < self._points[-1][1]:
            self._points[-1] = (device_s, delay_s)

    def rate(self) -> ClockRate | None:
        """The measured rate; None in the first seconds."""
        line = self._fitted()
        if line is None:
            return None
        duration = max(1 + line.slope, _SMALLEST)
        error_ppm = (line.error / duration + self._hidden_s / max(self.span_s, _BUCKET_S)) / duration * 1e6
        return ClockRate(float(self.nominal_hz) / duration, (1 / duration - 1) * 1e6, error_ppm)

    @property
    def span_s(self) -> float:
        """Seconds of the host between the first and the last arrival in the fit."""
        if len(self._points) < 2:
            return 0.0
        first, last = self._points[min(1, len(self._points) - 2)], self._points[-1]
        return sum(last) - sum(first)

    def time_of(self, sample_index: int) -> float | None:
        """The host's time at which the sample with this index was measured, or a constant transmission time later.

        None in the first seconds, and while arrivals deviate from the line.
        """
        line = self._fitted()
        if line is None or self._late_until_s is not None or self._early_points:
            return None
        device_s = (sample_index + 1) * self._period_s
        return device_s + line.smallest(device_s)

    def _add_step(self, samples: int) -> None:
        """Learn the samples of a frame or line, and how many of them arrive in a read."""
        step, self._samples = samples - self._samples, samples
        if self._arrivals and step > 0:
            before, self._quantum = self._quantum or step, math.gcd(self._quantum, step)
            self._per_read *= before / self._quantum
            self._per_read += _LEARNING * (step / self._quantum - self._per_read)
        self._arrivals += 1

    @property
    def _hidden_s(self) -> float:
        """The change of the delay that reads at regular intervals can hide: one frame, if a read has several.

        A read of the same large number of samples each time does not show the frame, which is then taken to be short.
        """
        quantum_s = self._quantum * self._period_s
        if self._per_read > _SEVERAL:
            return quantum_s
        return 0.0 if quantum_s < _LONG_READ_S else _FRAME_S

    def _restart(self) -> None:
        self._points.clear()
        self._bucket = None
        self._line: _Line | None = None
        self._new_points = self._early_points = 0
        self._early_bucket: int | None = None
        self._late_until_s: float | None = None

    def _paused(self, arrived_s: float) -> bool:
        """Whether much more time than usual has passed since the last arrival."""
        pause_s = 0.0 if self._arrived_s is None else arrived_s - self._arrived_s
        self._arrived_s = arrived_s
        usual_s = pause_s if self._usual_s is None else self._usual_s
        if pause_s > max(_STALL_S, 3 * usual_s):
            return True
        if pause_s > 0:
            self._usual_s = usual_s + _LEARNING * (pause_s - usual_s)
        return False

    def _fits(self, line: _Line, arrived_s: float, device_s: float, delay_s: float) -> bool:
        """Whether the arrival belongs to the fit, which restarts where a deviation lasts."""
        late_s = delay_s - line.smallest(device_s)
        unsure_s = line.uncertainty(device_s)
        if late_s > _LATE_S + 2 * line.spread_s + unsure_s:
            if self._late_until_s is None:
                self._late_until_s = arrived_s + min(max(_MIN_WAIT_S, 3 * late_s), _MAX_WAIT_S)
            if arrived_s < self._late_until_s:
                return False
            self._restart()
            return True
        self._late_until_s = None
        if late_s > -(_EARLY_S + self._hidden_s + 0.5 * line.spread_s + unsure_s):
            self._early_points = 0
            return True
        if (bucket := int(arrived_s // _BUCKET_S)) != self._early_bucket:
            self._early_points, self._early_bucket = self._early_points + 1, bucket
        if late_s > -(_JUMP_S + unsure_s) and self._early_points < _EARLY_POINTS:
            return False
        self._restart()
        return True

    def _fitted(self) -> _Line | None:
        if len(self._points) <= _FEWEST:
            return None
        if self._line is None or self._new_points * _REFIT_SHARE >= len(self._points):
            self._new_points = 0
            if len(self._points) <= _NEW:
                for _ in range(_begin_of_line(self._points)):
                    self._points.popleft()
            self._line = _fit(self._points) if len(self._points) > _FEWEST else None
        return self._line


def _begin_of_line(points: deque[tuple[float, float]]) -> int:
    """The index of the first point after the last step of the delay, or 0: a step in a few points bends their line.

    A single point whose delay differs from both neighbours is ignored, and so is the last point, which may be one.
    """
    steps = np.diff(np.array(points), axis=0)
    slope = float(np.median(steps[:, 1] / np.maximum(steps[:, 0], _SMALLEST)))
    odd_s = steps[:, 1] - slope * steps[:, 0]
    limit_s = _STEP_S + 3 * float(np.median(np.abs(odd_s)))
    stays = np.abs(odd_s[:-1] + odd_s[1:]) > limit_s
    stepped = np.flatnonzero((np.abs(odd_s[:-1]) > limit_s) & stays & np.append(True, stays[:-1]))
    return int(stepped[-1]) + 1 if len(stepped) else 0


def _fit(points: deque[tuple[float, float]]) -> _Line:
    # The first second has the bytes that had accumulated in the port before the first read.
    table = np.array(points)[1:]
    times, delays = table[:, 0], table[:, 1]
    slope, residuals, spread = _slope(times, delays)
    centre = float(np.median(residuals))
    typical = 3 * 1.4826 * float(np.median(np.abs(residuals - centre))) + 1e-6
    kept = np.abs(residuals - centre) <= typical
    if _FEWEST <= np.count_nonzero(kept) < len(times):
        times, delays = times[kept], delays[kept]
        slope, residuals, spread = _slope(times, delays)
    variance = float(residuals @ residuals) / max(1, len(residuals) - 2)
    error = 1.96 * math.sqrt(variance / max(float(spread @ spread), _SMALLEST))
    recent = np.sort(residuals[-_RECENT:])
    low = float(recent[int(_LOW_SHARE * len(recent))])
    middle_s, level_s = float(times.mean()), float(delays.mean())
    return _Line(middle_s, level_s, slope, low, float(recent[len(recent) // 2]) - low, error)


def _slope(
    times: NDArray[np.float64], delays: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """The slope of the least-squares line, the residuals, and the times minus their mean."""
    spread = times - times.mean()
    slope = float(spread @ delays / max(float(spread @ spread), _SMALLEST))
    return slope, delays - delays.mean() - slope * spread, spread
