"""Equivalence test of a mean change over subjects, for few subjects and losses of any shape.

A large loss that few people have may not occur among few test subjects, and a t interval does not include it then. Two
facts limit such a loss. First, the accuracy of a subject cannot change by more than the share of its windows whose
class changed (disagreement). Second, disagreement needs no labels, so it is measured on all N subjects and not only on
the n test subjects.

H0: the mean loss is max_drop or more. The test rejects it where none of the N subjects has a disagreement above
`Limits.disagreement`, and the e-value, the product over the test subjects of 1 + stake * (max_drop - loss), is at least
1 / ERROR = 40, with

    stake = N / (n * (largest - max_drop)),    limit of disagreement = max_drop + 1 / stake.

Proof that it rejects a true H0 with probability ERROR at most. Let q be the share of the population above the limit of
disagreement; no person loses more than `largest`. The mean loss of the others, times their share, is at least
max_drop - q * largest. So a test subject's factor, zero above the limit, has a mean of at most
1 + q * (stake * (largest - max_drop) - 1) = 1 + q * (N / n - 1) <= (1 - q)^-(N / n - 1), and each of the N - n other
subjects is below the limit with probability 1 - q. All subjects being independent, the mean of the product of all
factors is at most (1 - q)^(N - n) * (1 - q)^-(N - n) = 1. By Markov's inequality it reaches 40 in at most 1 of 40
cases. (E-values and bets on a bounded mean: Waudby-Smith and Ramdas, J. R. Stat. Soc. B 86, 2024.)

Applied to the negative losses, the same test limits a gain.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ERROR", "LARGEST_LOSS", "Limits", "e_value", "limits", "subjects_for_e_value", "subjects_for_t"]

ERROR = 0.025
"""Largest probability of a false PASSED, and the probability beyond either end of a 95 % interval."""

LARGEST_LOSS = 0.12
"""The largest loss of a person, as a share of windows: an assumption of the proof."""

_MOST_SUBJECTS = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of the test for one allowance.

    max_drop: the allowance. largest: of a person's loss, by assumption: 0.12, or 3 * max_drop (1 at most) where that is
    more. disagreement: the largest share of any subject's windows whose class may change. stake: see the module.
    """

    max_drop: float
    largest: float
    disagreement: float
    stake: float


def limits(max_drop: float, test_subjects: int, subjects: int) -> Limits:
    """The limits for n test subjects of N subjects in all, with 1 <= n <= N and 0 < max_drop <= 0.5."""
    largest = min(1.0, max(LARGEST_LOSS, 3 * max_drop))
    stake = subjects / (test_subjects * (largest - max_drop))
    return Limits(max_drop, largest, max_drop + 1 / stake, stake)


def e_value(losses: NDArray[np.float64], bounds: Limits) -> float:
    """The evidence that the mean loss is below the allowance; losses (n,), each up to `bounds.disagreement`."""
    return math.exp(min(_log_factors(losses, bounds).sum(), 700.0))


def subjects_for_e_value(losses: NDArray[np.float64], bounds: Limits) -> int | None:
    """How many test subjects like these give an e-value of 1 / ERROR, with as many others in proportion.

    None where no number of them does, because these subjects lose too much.
    """
    growth = float(_log_factors(losses, bounds).mean())
    return math.ceil(-math.log(ERROR) / growth - 1e-9) if growth > 0 else None


def subjects_for_t(changes: Sequence[float], max_drop: float) -> int | None:
    """How many subjects with this mean and standard deviation have a 95 % t interval within +-max_drop.

    None where no number does, because the mean is at the allowance or beyond, and for a single subject.
    """
    from scipy.special import stdtrit

    if len(changes) < 2:
        return None
    remaining, deviation = max_drop - abs(float(np.mean(changes))), float(np.std(changes, ddof=1))
    if remaining <= 0:
        return None
    counts = np.arange(2, _MOST_SUBJECTS)
    halves = stdtrit(counts - 1, 1 - ERROR) * deviation / np.sqrt(counts)
    enough = counts[halves <= remaining]
    return int(enough[0]) if len(enough) else None


def _log_factors(losses: NDArray[np.float64], bounds: Limits) -> NDArray[np.float64]:
    factors = 1 + bounds.stake * (bounds.max_drop - losses)
    with np.errstate(divide="ignore"):
        logs: NDArray[np.float64] = np.log(np.maximum(factors, 0.0))
    return logs
