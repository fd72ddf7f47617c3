"""Clipped network input of an int8 model: its share over the last hour and since the start, and the range of the input.

An int8 input represents the values from scale * (-128 - zero_point) to scale * (127 - zero_point), the range of the
windows that the model was calibrated on. A value that rounds to a step outside of it is clipped.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ekd_edge.formatting import percent
from ekd_edge.model.manifest import TensorQuantization
from ekd_edge.signal.preprocessor import WindowBatch
from ekd_edge.signal.spec import SignalSpec

__all__ = ["InputRangeCounter", "InputStatistics"]

_MINUTES: Final = 60
"""The last hour: bounds the memory to one entry a minute."""

_PROBLEM_SHARE, _END_SHARE = 0.05, 0.025
"""Share of clipped samples above which the input has a problem, and below which the next problem is notified."""

_LEAST_MINUTES: Final = 10
"""Shortest signal, in minutes, whose share is compared with `_PROBLEM_SHARE`."""


@dataclass(frozen=True, slots=True)
class InputStatistics:
    """Network input of one sensor against the range of the int8 input.

    calibrated: lowest and highest value of the int8 input. samples, clipped: counts since the start.
    hour_samples, hour_clipped: counts of the last hour of signal. hour_seen: its lowest and highest value; None before
    the first window. problem: a sentence where too many of the hour's samples are clipped, else None.
    """

    calibrated: tuple[float, float]
    samples: int
    clipped: int
    hour_samples: int
    hour_clipped: int
    hour_seen: tuple[float, float] | None
    problem: str | None

    def to_json(self) -> dict[str, Any]:
        """The fields, JSON-ready, with ranges rounded to four decimals."""
        return {
            "calibrated": _rounded(self.calibrated),
            "samples": self.samples,
            "clipped": self.clipped,
            "hour_samples": self.hour_samples,
            "hour_clipped": self.hour_clipped,
            "hour_seen": None if self.hour_seen is None else _rounded(self.hour_seen),
            "problem": self.problem,
        }


class InputRangeCounter:
    """Counts the clipped samples of one sensor's windows; a sample of several windows is counted once.

    The hour is an hour of signal, without gaps and pauses of the sensor. `count` is called by one thread;
    `statistics` by any.

    Args:
        quantization: of the model's input; its scale is positive in float32, as that of every model that runs.
        spec: specification of the windows.
        notify: called with one sentence when the share of clipped samples exceeds 5 %, and again only after it was
            below 2.5 %; None for no messages.
    """

    def __init__(
        self, quantization: TensorQuantization, spec: SignalSpec, notify: Callable[[str], None] | None = None
    ) -> None:
        scale, zero = quantization.scale, quantization.zero_point
        self._calibrated = scale * (-128 - zero), scale * (127 - zero)
        self._lowest, self._highest = _unclipped(quantization)
        self._window, self._rate_hz = spec.window_samples, float(spec.rate_hz)
        self._hop = min(spec.hop_samples, spec.window_samples)
        # A minute has 60 * rate samples, a fraction: sample n is in minute n * per_sample // per_minute.
        self._per_minute, self._per_sample = (spec.rate_hz * 60).as_integer_ratio()
        self._notify = notify
        self._notified = False
        self._lock = Lock()
        self._minutes: deque[_Minute] = deque()
        self._samples = self._clipped = self._hour_samples = self._hour_clipped = 0
        self._segment, self._end_s = -1, 0.0

    def count(self, batch: WindowBatch) -> None:
        """Count the samples of consecutive windows, without those of earlier windows.

        batch: windows of one channel that follow the batch before, or start after a gap or in a new segment.
        """
        if len(batch) == 0:
            return
        new = self._new_samples(batch)
        with self._lock:
            self._count(batch.values[:1, -new:])
            if len(batch) > 1:
                self._count(batch.values[1:, -self._hop :])
            problem = self._problem()
            share = self._share()
        if problem is not None and not self._notified and self._notify is not None:
            self._notify(problem)
        self._notified = problem is not None or (self._notified and share >= _END_SHARE)

    def statistics(self) -> InputStatistics:
        """The counts so far."""
        with self._lock:
            seen = None
            if self._minutes:
                seen = min(each.lowest for each in self._minutes), max(each.highest for each in self._minutes)
            return InputStatistics(
                self._calibrated,
                self._samples,
                self._clipped,
                self._hour_samples,
                self._hour_clipped,
                seen,
                self._problem(),
            )

    def _new_samples(self, batch: WindowBatch) -> int:
        """Number of the first window's samples that come after the last window that was counted."""
        new = self._window
        if batch.segment == self._segment:
            passed = round((float(batch.end_s[0]) - self._end_s) * self._rate_hz)
            new = passed if 0 < passed < self._window else self._window
        self._segment, self._end_s = batch.segment, float(batch.end_s[-1])
        return new

    def _count(self, rows: NDArray[np.float32]) -> None:
        lows, highs = np.minimum.reduce(rows, axis=1).tolist(), np.maximum.reduce(rows, axis=1).tolist()
        for row, low, high in zip(rows, lows, highs, strict=True):
            clipped = 0
            if low < self._lowest or high > self._highest:
                clipped = int(np.count_nonzero(row < self._lowest) + np.count_nonzero(row > self._highest))
            self._add(len(row), clipped, low, high)

    def _add(self, samples: int, clipped: int, low: float, high: float) -> None:
        number = self._samples * self._per_sample // self._per_minute
        if not self._minutes or self._minutes[-1].number != number:
            self._minutes.append(_Minute(number))
            while self._minutes[0].number <= number - _MINUTES:
                old = self._minutes.popleft()
                self._hour_samples -= old.samples
                self._hour_clipped -= old.clipped
        minute = self._minutes[-1]
        minute.samples += samples
        minute.clipped += clipped
        minute.lowest, minute.highest = min(minute.lowest, low), max(minute.highest, high)
        self._samples += samples
        self._clipped += clipped
        self._hour_samples += samples
        self._hour_clipped += clipped

    def _share(self) -> float:
        return self._hour_clipped / self._hour_samples if self._hour_samples else 0.0

    def _problem(self) -> str | None:
        share = self._share()
        if share <= _PROBLEM_SHARE or self._hour_samples * self._per_sample < _LEAST_MINUTES * self._per_minute:
            return None
        return (
            f"{percent(share)} of the last hour's input is outside the range that the model was calibrated on: check "
            "the electrodes and the unit, or train and calibrate on more people"
        )


@dataclass(slots=True)
class _Minute:
    """Counts and range of the windows that began in one minute of signal."""

    number: int
    samples: int = 0
    clipped: int = 0
    lowest: float = inf
    highest: float = -inf


def _unclipped(quantization: TensorQuantization) -> tuple[float, float]:
    """The lowest and the highest float32 that `ekd_edge.model.interpreter` does not clip.

    The search starts at the midpoint between two int8 steps; float32 rounding puts the exact limit a few units in the
    last place from it.
    """
    scale, zero = np.float32(quantization.scale), quantization.zero_point

    def inside(value: np.float32) -> bool:
        with np.errstate(over="ignore"):
            return bool(-128 - zero <= np.rint(value / scale) <= 127 - zero)

    ends = []
    for steps, outward in ((-128.5 - zero, np.float32(-inf)), (127.5 - zero, np.float32(inf))):
        with np.errstate(over="ignore"):
            value = np.float32(steps * float(scale))
        while not inside(value):
            value = np.nextafter(value, -outward)
        while inside(further := np.nextafter(value, outward)):
            value = further
        ends.append(float(value))
    return ends[0], ends[1]


def _rounded(ends: tuple[float, float]) -> list[float]:
    return [round(end, 4) for end in ends]
