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
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ekd_edge.signal.blocks import Baseline
from ekd_edge.signal.recursion import sum_rows
from ekd_edge.signal.spec import Normalization

__all__ = ["LOG_FLOOR", "VARIANCE_FLOOR", "Normalizer", "compressed", "normalize_together"]

LOG_FLOOR: Final = 0.01
"""Lower limit of the conductance, in microsiemens, before the logarithm."""

VARIANCE_FLOOR: Final = 1e-6
"""Added to the running variance, in squared input units."""

_WINDOWS_AT_ONCE: Final = 1024

_MeanOf = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class Normalizer:
    """One `Normalization` along the last axis, block by block.

    In mode "window", `push` returns the samples unchanged and `finish` centers and bounds each window.
    """

    def __init__(self, normalization: Normalization, rate_hz: Fraction) -> None:
        self._design = normalization, rate_hz
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
        return self._normalized(x, self._mean.push, self._variance.push)

    def _normalized(self, x: NDArray[np.float64], mean: _MeanOf, variance: _MeanOf) -> NDArray[np.float64]:
        """The normalized samples; mean and variance push samples into the running means of x's rows."""
        if self._mode == "window":
            return x
        if self._mode == "none" or x.shape[-1] == 0:
            return self._bounded(self._gain * x)
        y = compressed(x) if self._mode == "log-ema" else x
        deviation = y - mean(y)
        if self._mode == "ema-zscore":
            deviation /= np.sqrt(variance(deviation * deviation) + VARIANCE_FLOOR)
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


def normalize_together(normalizers: Sequence[Normalizer], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Push one row into each normalizer; the same bits and states as one `push` for each, in less time for many.

    Args:
        normalizers: k different normalizers of the same normalization and rate, each of one channel, in any state.
        rows: shape (k, n).

    Returns:
        The normalized rows, shape (k, n).

    Raises:
        ValueError: the normalizers have different normalizations or rates, or their number is not k.
    """
    if len(normalizers) != len(rows):
        raise ValueError(f"{len(normalizers)} normalizers for {len(rows)} rows")
    if not normalizers:
        return rows
    first = normalizers[0]
    if any(each._design != first._design for each in normalizers):
        raise ValueError("the normalizers have different normalizations or rates")
    means, variances = [each._mean for each in normalizers], [each._variance for each in normalizers]
    return first._normalized(
        rows, lambda y: _means_together(means, y), lambda squares: _means_together(variances, squares)
    )


def compressed(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(max(x, 0.01)), the l of the module's docstring; x in microsiemens."""
    logarithms: NDArray[np.float64] = np.log(np.maximum(x, LOG_FLOOR))
    return logarithms


class _RunningMean:
    """The bias-corrected exponential mean M of the module's docstring."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.reset()

    def reset(self) -> None:
        """Discard the state, as before the first sample."""
        self.sums: list[float] = []  # a s of each channel
        self.weight_sum = 0.0  # a w
        self.weight: float | None = None  # w, as soon as it no longer changes

    def begin(self, mean: float, weight: float) -> None:
        """Set the state of one channel: M is `mean`, and the sum of the weights w is `weight`."""
        self.sums = [self.decay * (mean * weight)]
        self.weight_sum = self.decay * weight
        self.weight = None

    def push(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """M(y), shape (..., n), of y, shape (..., n) with n > 0."""
        rows = y.reshape(-1, y.shape[-1])
        if not self.sums:
            self.sums = [0.0] * len(rows)
        sums = sum_rows(self.decay, self.sums, rows)
        mean: NDArray[np.float64] = sums / (self.weights(rows.shape[-1]) if self.weight is None else self.weight)
        return mean.reshape(y.shape)

    def weights(self, n: int) -> NDArray[np.float64]:
        """w of the next n samples, shape (n,), as the sums of ones."""
        state = [self.weight_sum]
        weights: NDArray[np.float64] = sum_rows(self.decay, state, np.ones((1, n)))[0]
        self.take_weight(state[0], float(weights[-1]))
        return weights

    def take_weight(self, weight_sum: float, last: float) -> None:
        """Set the state of the weights after a block whose last weight is given."""
        self.weight_sum = weight_sum
        if weight_sum + (1.0 - self.decay) == last:  # the next weight, and so all that follow
            self.weight = last


def _means_together(means: Sequence[_RunningMean], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """M of each row, shape (k, n), by k running means of one decay and of one channel each."""
    k, n = rows.shape
    decay = means[0].decay
    changing = [i for i, mean in enumerate(means) if mean.weight is None]
    states = [mean.sums[0] if mean.sums else 0.0 for mean in means] + [means[i].weight_sum for i in changing]
    sums = sum_rows(decay, states, np.concatenate((rows, np.ones((len(changing), n)))) if changing else rows)
    weights = np.empty((k, n))
    weights[:] = [[1.0 if mean.weight is None else mean.weight] for mean in means]
    weights[changing] = sums[k:]
    for mean, state in zip(means, states[:k], strict=True):
        mean.sums = [state]
    for i, state in zip(changing, states[k:], strict=True):
        means[i].take_weight(state, float(weights[i, -1]))
    found: NDArray[np.float64] = sums[:k] / weights
    return found
