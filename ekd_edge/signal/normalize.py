"""Causal normalizations, bit-identical for any division of the stream into blocks.

With x a filtered sample, g the gain and M the bias-corrected exponential mean of time constant T,
M(y)_n = s_n / w_n, s_n = a s_(n-1) + (1 - a) y_n, w_n = a w_(n-1) + 1 - a, a = exp(-1 / (T rate)):

  log-ema     g (l - M(l)),  l = log(max(x, 0.01))     skin conductance relative to its own recent past
  ema         g (x - M(x))
  ema-zscore  g d / sqrt(M(d d) + 1e-6),  d = x - M(x)
  window      g (x - mean of x over its window)
  none        g x

The bound "algebraic" with the limit L maps each result y to y / sqrt(1 + (y / L)^2), which is about y near 0 and never
exceeds L. Division and square root are rounded exactly by IEEE 754, so that every processor computes the same bits.
"""

import math
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ekd_edge.signal.blocks import Baseline
from ekd_edge.signal.spec import Normalization

__all__ = ["LOG_FLOOR", "VARIANCE_FLOOR", "Normalizer", "compressed"]

LOG_FLOOR: Final = 0.01
"""Lower limit of the conductance, in microsiemens, before the logarithm."""

VARIANCE_FLOOR: Final = 1e-6
"""Added to the running variance, in squared input units."""

_WINDOWS_AT_ONCE: Final = 1024


class Normalizer:
    """One `Normalization` along the last axis, block by block.

    In mode "window", `push` returns the samples unchanged and `finish` centers and bounds each window.
    """

    def __init__(self, normalization: Normalization, rate_hz: Fraction) -> None:
        self._mode = normalization.mode
        self._gain = normalization.gain
        self._time_constant_s = normalization.time_constant_s
        self._limit = normalization.limit if normalization.bound == "algebraic" else None
        decay = math.exp(-1.0 / (normalization.time_constant_s * float(rate_hz)))
        self._mean = _RunningMean(decay)
        self._variance = _RunningMean(decay)

    def reset(self, baseline: Baseline | None = None) -> None:
        """Discard the running mean and variance, or continue from a baseline (one channel only)."""
        self._mean.reset()
        self._variance.reset()
        if baseline is not None:
            weight = -math.expm1(-baseline.seconds / self._time_constant_s)
            self._mean.begin(baseline.mean, weight)
            self._variance.begin(baseline.variance, weight)

    def push(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The normalized samples, shape (..., n), of x, shape (..., n)."""
        if self._mode == "window":
            return x
        if self._mode == "none" or x.shape[-1] == 0:
            return self._bounded(self._gain * x)
        y = compressed(x) if self._mode == "log-ema" else x
        deviation = y - self._mean.push(y)
        if self._mode == "ema-zscore":
            deviation /= np.sqrt(self._variance.push(deviation * deviation) + VARIANCE_FLOOR)
        return self._bounded(self._gain * deviation)

    def finish(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The final windows, shape (k, ..., window): centered, scaled and bounded in mode "window", else unchanged."""
        if self._mode != "window":
            return windows
        centered = np.empty(windows.shape, np.float32)
        for i in range(0, len(windows), _WINDOWS_AT_ONCE):
            rows = np.ascontiguousarray(windows[i : i + _WINDOWS_AT_ONCE], dtype=np.float64)
            means = np.add.reduce(rows, axis=-1, keepdims=True) / rows.shape[-1]
            centered[i : i + _WINDOWS_AT_ONCE] = self._bounded(self._gain * (rows - means))
        return centered

    def _bounded(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._limit is None:
            return y
        relative = y / self._limit
        bounded: NDArray[np.float64] = y / np.sqrt(1.0 + relative * relative)
        return bounded


def compressed(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(max(x, 0.01)), the l of the module's docstring; x in microsiemens."""
    logarithms: NDArray[np.float64] = np.log(np.maximum(x, LOG_FLOOR))
    return logarithms


class _RunningMean:
    """The bias-corrected exponential mean M of the module's docstring."""

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._numerator, self._denominator = np.array([1.0 - decay]), np.array([1.0, -decay])
        self.reset()

    def reset(self) -> None:
        self._state: NDArray[np.float64] | None = None
        self._weight = 0.0
        self._weight_settled = False

    def begin(self, mean: float, weight: float) -> None:
        """Set the state of one channel: M is `mean`, and the sum of the weights w is `weight`."""
        self._state = self._decay * np.array([[mean * weight], [weight]])
        self._weight = weight

    def push(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """M(y), shape (..., n), of y, shape (..., n) with n > 0."""
        from scipy.signal import lfilter  # the import takes a second: only where a mean runs

        n = y.shape[-1]
        # w is filtered as an additional row of ones, until it is constant.
        rows = y.reshape(-1, n)
        if not self._weight_settled:
            rows = np.concatenate((rows, np.ones((1, n))))
        if self._state is None:
            self._state = np.zeros((len(rows), 1))
        sums: NDArray[np.float64]
        sums, self._state = lfilter(self._numerator, self._denominator, rows, axis=-1, zi=self._state)
        if self._weight_settled:
            mean: NDArray[np.float64] = sums / self._weight
            return mean.reshape(y.shape)
        weights = sums[-1]
        before_last = weights[-2] if n > 1 else self._weight
        self._weight = float(weights[-1])
        if before_last == self._weight:
            self._weight_settled = True
            self._state = self._state[:-1].copy()
        mean = sums[:-1] / weights
        return mean.reshape(y.shape)
