"""Sorted intervals of samples, and the number of their samples in windows."""

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

__all__ = ["Intervals", "true_intervals"]


class Intervals:
    """Disjoint intervals of sample indices in rising order. An interval counts in a window only where at least `limit`
    of its samples lie before the window's end."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._limits: list[int] = []

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, start: int, end: int, limit: int = 0) -> None:
        """Append an interval, up to but without `end`; one with the last one's start replaces it."""
        if self._starts and self._starts[-1] == start:
            self._ends[-1] = end
            return
        self._starts.append(start)
        self._ends.append(end)
        self._limits.append(limit)

    def count(self, start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of samples of the intervals in windows from start up to end, shapes (..., k) and (k,)."""
        if not self._starts:
            return np.zeros(start.shape, np.int64)
        starts, ends, limits = np.array(self._starts), np.array(self._ends), np.array(self._limits)
        before = np.concatenate(([0], np.cumsum(ends - starts)))

        def up_to(index: NDArray[np.int64]) -> NDArray[np.int64]:
            k = np.searchsorted(starts, index, side="left")
            latest = np.maximum(k - 1, 0)
            beyond = np.where(k > 0, np.maximum(ends[latest] - index, 0), 0)
            counted: NDArray[np.int64] = before[k] - beyond
            return counted

        found = up_to(np.broadcast_to(end, start.shape)) - up_to(start)
        latest = np.maximum(np.searchsorted(starts, end, side="left") - 1, 0)
        short = (starts[latest] < end) & (np.minimum(ends[latest], end) - starts[latest] < limits[latest])
        cut = np.minimum(ends[latest], end) - np.maximum(starts[latest], start)
        counted: NDArray[np.int64] = found - np.where(short, np.maximum(cut, 0), 0)
        return counted

    def forget(self, index: int) -> None:
        """Remove the intervals that end at or before a sample."""
        gone = bisect_right(self._ends, index)
        del self._starts[:gone], self._ends[:gone], self._limits[:gone]


def true_intervals(flags: NDArray[np.bool_], first_index: int) -> list[tuple[int, int]]:
    """Start and end of each run of true flags, shape (n,), whose first one is that of sample `first_index`."""
    edges = (np.flatnonzero(np.diff(flags, prepend=False, append=False)) + first_index).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))
