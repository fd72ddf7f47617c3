"""Disagreement: the share of a subject's windows whose class changed. It needs no labels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ekd_export.evaluation.equivalence import ERROR

__all__ = ["Disagreement", "by_subject", "summarize"]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Disagreement of all subjects that were compared, for one target.

    subjects: their number; training and validation subjects are included. mean, worst: over subjects. low: the lower
    end of the 95 % t interval of the mean, None for a single subject. worst_subject: the subject whose share is worst.
    beyond_worst: with 97.5 % confidence, no larger share of people exceeds `worst` (1 - 0.025^(1 / subjects)).
    """

    subjects: int
    mean: float
    low: float | None
    worst: float
    worst_subject: str
    beyond_worst: float


def by_subject(
    subjects: NDArray[np.str_], before: NDArray[np.float32], after: NDArray[np.float32]
) -> tuple[dict[str, float], ...]:
    """The disagreement of each subject, one mapping for each target; subjects (n,), logits (n, targets, classes)."""
    changed = before.argmax(axis=2) != after.argmax(axis=2)
    names = np.unique(subjects)
    return tuple({str(name): float(column[subjects == name].mean()) for name in names} for column in changed.T)


def summarize(shares: Mapping[str, float]) -> Disagreement:
    """Mean, worst and limits over the disagreement of each subject; shares has at least one subject."""
    values = np.array(list(shares.values()))
    n, mean = len(values), float(values.mean())
    worst = max(sorted(shares), key=shares.__getitem__)
    low = None
    if n > 1:
        from scipy.special import stdtrit

        low = mean - float(stdtrit(n - 1, 1 - ERROR) * values.std(ddof=1) / np.sqrt(n))
    return Disagreement(n, mean, low, shares[worst], worst, 1 - ERROR ** (1 / n))
