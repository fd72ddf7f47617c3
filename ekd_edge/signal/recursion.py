"""Recursive filters in float64 with the same bits on every processor, for any division of a signal into calls.

Each sample is computed by the operations of scipy.signal.lfilter, in its order (transposed direct form II), each
rounded once as IEEE 754 defines it. Three implementations give these bits; the shape of the samples decides which one
takes the least time:

  few rows      plain Python floats, one loop over the samples of a row
  many rows     numpy operations over all rows, one sample after the other
  long arrays   scipy.signal.lfilter, where scipy is installed and gives these bits: compilers for some processors
                fuse its multiplications and additions, which rounds differently

The device needs no scipy. The state of a row is a list of floats, which each call replaces.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Coefficients", "filter_rows", "sum_rows"]

Coefficients = tuple[float, float, float, float, float]
"""One second-order section: b0 b1 b2 a1 a2, with a0 = 1."""

_MANY_ROWS: Final = 20
"""From this number of rows on, numpy operations over the rows take less time than a Python loop for each row."""

_LONG: Final = 2**12
"""Samples of a row from which scipy may serve: a live sensor, or many of them together, must not import it."""

_SAMPLES_BEFORE_IMPORT: Final = 2**20
"""Samples in long calls, counted by each recursion, after which scipy is imported: they take 0.1 s, the import 0.6 s.
A recording that is longer is likely to be much longer."""

_long_samples = 0


def filter_rows(
    sections: Sequence[Coefficients], states: list[list[float]], rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Filter each row by a cascade of second-order sections.

    Args:
        sections: the cascade, at least one.
        states: the state of each row, two floats for each section; replaced by the state after the last sample.
        rows: shape (k, n), n at least 1.

    Returns:
        The filtered rows, shape (k, n).
    """
    lfilter = _lfilter_for(rows)
    if lfilter is not None:
        return _filter_by_scipy(lfilter, sections, states, rows)
    if len(rows) >= _MANY_ROWS:
        return _filter_by_steps(sections, states, rows)
    filtered = []
    for i, row in enumerate(rows.tolist()):
        row, states[i] = _filter_by_loop(sections, states[i], row)
        filtered.append(row)
    return np.array(filtered)


def sum_rows(decay: float, states: list[float], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The exponential sums s_n = z_n + (1 - decay) x_n, z_(n+1) = decay s_n, of each row.

    Args:
        decay: between 0 and 1.
        states: z of each row; replaced by z after the last sample.
        rows: shape (k, n), n at least 1.

    Returns:
        The sums, shape (k, n).
    """
    lfilter = _lfilter_for(rows)
    if lfilter is not None:
        sums, after = lfilter([1.0 - decay], [1.0, -decay], rows, axis=-1, zi=np.array(states)[:, None])
        states[:] = after[:, 0].tolist()
        found: NDArray[np.float64] = sums
        return found
    if len(rows) >= _MANY_ROWS:
        return _sum_by_steps(decay, states, rows)
    summed = []
    for i, row in enumerate(rows.tolist()):
        row, states[i] = _sum_by_loop(decay, states[i], row)
        summed.append(row)
    return np.array(summed)


def _filter_by_loop(
    sections: Sequence[Coefficients], state: Sequence[float], samples: list[float]
) -> tuple[list[float], list[float]]:
    """One row, two sections at once: a pass over the samples costs about as much as one section's arithmetic."""
    after: list[float] = []
    for i in range(0, len(sections) - 1, 2):
        samples, z = _two_sections(sections[i], sections[i + 1], state[2 * i : 2 * i + 4], samples)
        after += z
    if len(sections) % 2:
        samples, z = _one_section(sections[-1], state[-2:], samples)
        after += z
    return samples, after


def _two_sections(
    first: Coefficients, second: Coefficients, state: Sequence[float], samples: Iterable[float]
) -> tuple[list[float], list[float]]:
    b0, b1, b2, a1, a2 = first
    d0, d1, d2, c1, c2 = second
    z0, z1, w0, w1 = state
    filtered: list[float] = []
    append = filtered.append
    for x in samples:
        y = z0 + b0 * x
        z0 = z1 + x * b1 - y * a1
        z1 = x * b2 - y * a2
        v = w0 + d0 * y
        w0 = w1 + y * d1 - v * c1
        w1 = y * d2 - v * c2
        append(v)
    return filtered, [z0, z1, w0, w1]


def _one_section(
    section: Coefficients, state: Sequence[float], samples: Iterable[float]
) -> tuple[list[float], list[float]]:
    b0, b1, b2, a1, a2 = section
    z0, z1 = state
    filtered: list[float] = []
    append = filtered.append
    for x in samples:
        y = z0 + b0 * x
        z0 = z1 + x * b1 - y * a1
        z1 = x * b2 - y * a2
        append(y)
    return filtered, [z0, z1]


def _sum_by_loop(decay: float, z: float, samples: Iterable[float]) -> tuple[list[float], float]:
    gain = 1.0 - decay
    sums: list[float] = []
    append = sums.append
    for x in samples:
        s = z + gain * x
        z = s * decay
        append(s)
    return sums, z


def _filter_by_steps(
    sections: Sequence[Coefficients], states: list[list[float]], rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    """All rows at once, one sample after the other; arrays are (n, k)."""
    z_all = np.array(states).T.reshape(len(sections), 2, len(rows)).copy()
    product = np.empty((2, len(rows)))
    x = np.ascontiguousarray(rows.T)
    for (b0, b1, b2, a1, a2), z in zip(sections, z_all, strict=True):
        feedback = np.array([[a1], [a2]])
        ahead = np.empty((len(x), 2, len(rows)))
        np.multiply(x, b1, out=ahead[:, 0])
        np.multiply(x, b2, out=ahead[:, 1])
        y = x * b0
        z0, z1 = z
        for y_now, ahead_now, ahead_first in zip(y, ahead, ahead[:, 0], strict=True):
            np.add(z0, y_now, out=y_now)
            np.add(z1, ahead_first, out=ahead_first)
            np.multiply(feedback, y_now, out=product)
            np.subtract(ahead_now, product, out=z)
        x = y
    states[:] = z_all.reshape(-1, len(rows)).T.tolist()
    return np.ascontiguousarray(x.T)


def _sum_by_steps(decay: float, states: list[float], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """All rows at once, one sample after the other."""
    sums = np.ascontiguousarray(rows.T) * (1.0 - decay)
    z = np.array(states)
    for now in sums:
        np.add(z, now, out=now)
        np.multiply(now, decay, out=z)
    states[:] = z.tolist()
    return np.ascontiguousarray(sums.T)


def _filter_by_scipy(
    lfilter: Callable[..., Any],
    sections: Sequence[Coefficients],
    states: list[list[float]],
    rows: NDArray[np.float64],
) -> NDArray[np.float64]:
    before = np.array(states)
    after = np.empty_like(before)
    for i, (b0, b1, b2, a1, a2) in enumerate(sections):
        zi = before[:, 2 * i : 2 * i + 2]
        rows, after[:, 2 * i : 2 * i + 2] = lfilter([b0, b1, b2], [1.0, a1, a2], rows, axis=-1, zi=zi)
    states[:] = after.tolist()
    return rows


def _lfilter_for(rows: NDArray[np.float64]) -> Callable[..., Any] | None:
    """scipy.signal.lfilter where it gives the bits of this module and saves time, else None."""
    global _long_samples
    if rows.shape[-1] < _LONG:
        return None
    if "scipy.signal" not in sys.modules:
        _long_samples += rows.size
        if _long_samples < _SAMPLES_BEFORE_IMPORT:
            return None
    return _exact_lfilter()


@lru_cache(maxsize=1)
def _exact_lfilter() -> Callable[..., Any] | None:
    """scipy.signal.lfilter, or None where it is not installed or was compiled to fused operations."""
    try:
        from scipy.signal import lfilter
    except ImportError:
        return None
    sections = [(0.1, 0.2, 0.3, -1.7, 0.8), (1.0, 2.0, 1.0, -1.8, 0.9)]
    samples = np.sin(np.arange(1.0, 1001.0) ** 2)
    ours, _ = _filter_by_loop(sections, [0.0] * 4, samples.tolist())
    theirs = _filter_by_scipy(lfilter, sections, [[0.0] * 4], samples[None])
    return lfilter if np.array_equal(theirs[0], ours) else None
