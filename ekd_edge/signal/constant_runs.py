"""Runs of constant readings in several rows at once, with the length from which each run counts as stuck."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ConstantRuns", "constant_runs"]


@dataclass(frozen=True, slots=True)
class ConstantRuns:
    """The constant runs of k rows of n readings.

    so_far: length of each reading's run up to it, int64, shape (k, n). limit: length from which the run counts as
    stuck, same shape. reached: so_far >= limit, same shape. length, longest: of each row after its last reading, the
    length of the unfinished run and of the longest finished one, shape (k,).
    """

    so_far: NDArray[np.int64]
    limit: NDArray[np.int64]
    reached: NDArray[np.bool_]
    length: NDArray[np.int64]
    longest: NDArray[np.int64]

    def stuck(self, row: int) -> list[tuple[int, int, int]]:
        """Start, end and limit of each run of a row that counts as stuck; a start before the row is negative."""
        so_far, limit = self.so_far[row], self.limit[row]
        lasts = np.flatnonzero(np.append(so_far[1:] == 1, True))
        lasts = lasts[so_far[lasts] >= limit[lasts]]
        starts = lasts + 1 - so_far[lasts]
        return list(zip(starts.tolist(), (lasts + 1).tolist(), limit[lasts].tolist(), strict=True))


def constant_runs(
    rows: NDArray[np.float64],
    last: Sequence[float],
    length: Sequence[int],
    longest: Sequence[int],
    least: Sequence[int],
    factor: int,
) -> ConstantRuns:
    """Find the constant runs of k rows, each of which continues an earlier one.

    A run's limit is `factor` times the longest run that has finished before it, and at least `least`.

    Args:
        rows: readings, shape (k, n), n at least 1.
        last: the reading before each row; NaN for none.
        length: length of the run that this reading ends, for each row.
        longest: length of the longest run that had finished before that, for each row.
        least: the lowest limit, for each row.
        factor: see above.

    Returns:
        The runs, shape (k, n).
    """
    k, n = rows.shape
    before = np.array(length, np.int64)
    changes = np.empty((k, n), np.bool_)
    np.not_equal(rows[:, 0], last, out=changes[:, 0])
    np.not_equal(rows[:, 1:], rows[:, :-1], out=changes[:, 1:])
    position = np.arange(n)
    starts = np.where(changes, position, -1)
    starts[:, 0] = np.where(changes[:, 0], 0, -before)
    # A start before the row is below -1 wherever it matters: the marker -1 must not hide it.
    if not changes[:, 0].all():
        starts[:, 1:][~changes[:, 1:]] = -n - before.max(initial=0)
    so_far = position + 1 - np.maximum.accumulate(starts, axis=1)
    finished = np.zeros((k, n), np.int64)
    np.multiply(so_far[:, :-1], changes[:, 1:], out=finished[:, 1:])
    finished[:, 0] = np.maximum(longest, before * changes[:, 0])
    most = np.maximum.accumulate(finished, axis=1)
    limit = np.maximum(np.array(least, np.int64)[:, np.newaxis], factor * most)
    return ConstantRuns(so_far, limit, so_far >= limit, so_far[:, -1], most[:, -1])
