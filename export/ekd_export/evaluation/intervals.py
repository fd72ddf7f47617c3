"""Confidence intervals of a mean change over subjects: Student's t and bootstrap, 95 %, of paired differences."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ekd_edge.metrics import CONFIDENCE, paired_difference

__all__ = ["METHODS", "Change", "Interval", "change_over_subjects"]

RESAMPLES = 10_000
SEED = 0

METHODS = {
    "student_t": "paired Student t over subjects",
    "bootstrap": f"paired percentile bootstrap over subjects, {RESAMPLES} resamples, seed {SEED}",
}


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Change:
    """Mean over subjects of (after - before). A single subject has no intervals: both are None.

    student_t: `ekd_edge.metrics.Difference`. bootstrap: the percentile bootstrap (Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 13) that draws whole subjects with replacement. It assumes no shape
    but is too narrow where subjects are few (Hesterberg, The American Statistician 69, 2015); the t interval allows
    for that. A claim should hold in both.
    """

    mean: float
    subjects: int
    student_t: Interval | None
    bootstrap: Interval | None

    @property
    def intervals(self) -> dict[str, Interval]:
        """The intervals by the name of their method; empty for a single subject."""
        named = {"Student t": self.student_t, "bootstrap": self.bootstrap}
        return {name: interval for name, interval in named.items() if interval is not None}


def change_over_subjects(before: Mapping[str, float], after: Mapping[str, float]) -> Change:
    """The mean change of one score, by subject, before and after; at least one subject. Their order does not matter."""
    difference = paired_difference(before, after)
    if difference.low is None or difference.high is None:
        return Change(difference.mean, difference.subjects, None, None)
    differences = np.sort([after[subject] - before[subject] for subject in before])
    return Change(
        mean=difference.mean,
        subjects=difference.subjects,
        student_t=Interval(difference.low, difference.high),
        bootstrap=_bootstrap(differences),
    )


def _bootstrap(differences: NDArray[np.float64]) -> Interval:
    n = len(differences)
    drawn = np.random.default_rng(SEED).integers(n, size=(RESAMPLES, n))
    means = differences[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high))
