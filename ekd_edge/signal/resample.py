"""Streaming resampling by windowed-sinc interpolation, bit-identical for any division of the stream into blocks.

Output k is exactly k / rate_out seconds after the first input sample. Its value is a dot product of the
input around that instant with a Kaiser-windowed sinc (about 80 dB) of `ZERO_CROSSINGS` zero crossings a side,
whose cutoff is half the lower of the two rates: anti-aliased downwards, interpolated upwards. Positions are
integers over an integer denominator, so nothing drifts over weeks. J. O. Smith, "Digital Audio Resampling",
describes the method; J. F. Kaiser 1974 the window.
"""

import math
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import SignalError

__all__ = ["ZERO_CROSSINGS", "Resampler"]

ZERO_CROSSINGS: Final = 8
"""Zero crossings of the sinc on each side of an output."""

_STOPBAND_DB: Final = 80.0
_KAISER_BETA: Final = 0.1102 * (_STOPBAND_DB - 8.7)
_LARGEST_RATIO: Final = 4096
_LARGEST_DENOMINATOR: Final = 2**24
_TABLE_ENTRIES: Final = 2**18
_SCRATCH_ENTRIES: Final = 2**15


class Resampler:
    """From rate_in to rate_out along the last axis, block by block.

    Every output is the same sum in the same order for any division into blocks, so the concatenated outputs are
    bit-identical. The signal before the first sample is assumed to equal that sample. An output appears once
    `ZERO_CROSSINGS` periods of the lower rate after it have arrived (`latency_s`). With equal rates the samples are
    returned unchanged.

    A rate ratio whose denominator exceeds 2**24 is approximated to better than 1e-10. A ratio of more phases
    than the tap table holds (16384 for upsampling) takes the nearest phase: the instants stay exact on
    average, with an error below -75 dB.

    Raises SignalError where a rate is not positive or the rates differ by more than a factor of 4096.
    """

    def __init__(self, rate_in: Fraction, rate_out: Fraction) -> None:
        if rate_in <= 0 or rate_out <= 0:
            raise SignalError(f"cannot resample from {rate_in} Hz to {rate_out} Hz: rates must be positive")
        ratio = Fraction(rate_in) / Fraction(rate_out)
        if not Fraction(1, _LARGEST_RATIO) <= ratio <= _LARGEST_RATIO:
            raise SignalError(
                f"cannot resample from {float(rate_in):g} Hz to {float(rate_out):g} Hz: "
                f"the rates differ by more than a factor of {_LARGEST_RATIO}"
            )
        ratio = ratio.limit_denominator(_LARGEST_DENOMINATOR)
        self._step, self._denominator = ratio.numerator, ratio.denominator
        self._identity = ratio == 1
        scale = min(1.0, float(1 / ratio))
        self._half = math.ceil(ZERO_CROSSINGS / scale)
        self._taps = np.empty((0, 0)) if self._identity else self._tap_table(scale)
        self._latency_s = 0.0 if self._identity else self._half / float(rate_in)
        self.reset()

    @property
    def latency_s(self) -> float:
        """Seconds of input needed after an output's instant before it appears."""
        return self._latency_s

    def needed(self, outputs: int) -> int:
        """Number of further input samples that the next `outputs` outputs need."""
        if self._identity or outputs == 0:
            return outputs
        last = (self._next_output + outputs - 1) * self._step // self._denominator
        arrived = 0 if self._history is None else self._history_start + self._history.shape[-1]
        return max(0, last + self._half + 1 - arrived)

    def reset(self) -> None:
        """Discard the state, as before the first sample."""
        self._history: NDArray[np.float64] | None = None
        self._history_start = 0
        self._next_output = 0

    def push(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The outputs, shape (..., m), that input x of shape (..., n) completes."""
        if self._identity or x.shape[-1] == 0:
            return x
        if self._history is None:
            padding = self._half - 1
            self._history = np.repeat(x[..., :1], padding, axis=-1)
            self._history_start = -padding
        data = np.concatenate((self._history, x), axis=-1)
        start = self._history_start
        end = start + data.shape[-1]
        first = self._next_output
        last = max(first, -(-(end - self._half) * self._denominator // self._step))
        base, remainder = divmod(first * self._step, self._denominator)
        y = self._outputs(data, base - self._half + 1 - start, remainder, last - first)
        self._next_output = last
        keep = last * self._step // self._denominator - self._half + 1
        self._history = data[..., keep - start :].copy()
        self._history_start = keep
        return y

    def _outputs(self, data: NDArray[np.float64], offset: int, remainder: int, count: int) -> NDArray[np.float64]:
        """`count` outputs; the first has its taps at data[..., offset] and phase remainder / denominator."""
        y = np.empty((*data.shape[:-1], count))
        channels = math.prod(data.shape[:-1])
        width = 2 * self._half
        rows = max(1, _SCRATCH_ENTRIES // (width * channels))
        if count >= 8 * self._denominator:
            for i in range(self._denominator):
                advance, phase = divmod(remainder + i * self._step, self._denominator)
                taps = self._taps[phase * len(self._taps) // self._denominator]
                n = len(range(i, count, self._denominator))
                begin = offset + advance
                for j in range(0, n, rows):
                    m = min(rows, n - j)
                    view = _strided_rows(data, begin + j * self._step, self._step, m, width)
                    k = i + j * self._denominator
                    y[..., k : k + m * self._denominator : self._denominator] = _row_sums(view, taps)
            return y
        for j in range(0, count, rows):
            m = min(rows, count - j)
            position = remainder + np.arange(j, j + m, dtype=np.int64) * self._step
            advance_of, phase_of = np.divmod(position, self._denominator)
            index = (offset + advance_of)[:, None] + np.arange(width)
            taps = self._taps[phase_of * len(self._taps) // self._denominator]
            y[..., j : j + m] = _row_sums(np.take(data, index, axis=-1), taps)
        return y

    def _tap_table(self, scale: float) -> NDArray[np.float64]:
        """Taps of each phase, shape (phases, 2 * half), every row of sum 1; scale = 2 * cutoff / rate_in."""
        width = 2 * self._half
        phases = min(self._denominator, max(1, _TABLE_ENTRIES // width))
        # Of several phases that share a row, the middle one is exact.
        middle = 0.0 if phases == self._denominator else 0.5
        fraction = (np.arange(phases) + middle)[:, None] / phases
        distance = np.arange(width) - (self._half - 1) - fraction
        inside = np.clip(1.0 - (distance * scale / ZERO_CROSSINGS) ** 2, 0.0, None)
        kaiser = np.where(inside > 0, np.i0(_KAISER_BETA * np.sqrt(inside)), 0.0)
        taps = np.sinc(distance * scale) * kaiser
        return np.ascontiguousarray(taps / taps.sum(axis=1, keepdims=True))


def _strided_rows(data: NDArray[np.float64], begin: int, step: int, rows: int, width: int) -> NDArray[np.float64]:
    """Rows data[..., begin + r * step :][..., :width] of contiguous data as a view, shape (..., rows, width).

    It takes an eighth of the time of `as_strided`, and numpy raises an error for a view beyond the buffer.
    """
    item = data.strides[-1]
    shape, strides = (*data.shape[:-1], rows, width), (*data.strides[:-1], step * item, item)
    return np.ndarray(shape, np.float64, data, begin * item, strides)


def _row_sums(x: NDArray[np.float64], taps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of x * taps over the last axis, contiguous, hence in an order that depends only on its length."""
    products = np.empty(x.shape)
    np.multiply(x, taps, out=products)
    sums: NDArray[np.float64] = np.add.reduce(products, axis=-1)
    return sums
