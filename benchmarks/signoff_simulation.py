"""Rate of a false PASSED: simulated sign-offs of populations whose mean loss exceeds the allowance.

    python -m benchmarks.signoff_simulation [DRAWS]

A draw is one study: test subjects, and three times as many other subjects, from a population whose mean loss is 1.2
points; the allowance is one point. The class of a window changes only where it becomes wrong or right, which is the
smallest disagreement that such losses can have.
"""

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ekd_export.evaluation.criteria import decide
from ekd_export.evaluation.target_figures import target_figures

__all__ = ["DRAWS", "SCENARIOS", "SUBJECTS", "Scenario", "false_pass_rate", "main", "pass_rate"]

ALLOWANCE = 0.01
DRAWS = 10_000
SUBJECTS = (4, 8, 16, 30)
OTHERS = 3
"""Subjects of training and validation for each test subject: a holdout's default."""

_WINDOWS = 200
_ACCURACY = 0.75


@dataclass(frozen=True, slots=True)
class Scenario:
    """A population: a share of its people loses `loss` of their windows, the others nothing; or normal losses.

    normal_sd: standard deviation of normal losses with mean `loss`; None for the first kind.
    """

    loss: float
    share: float = 1.0
    normal_sd: float | None = None

    def draw(self, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """The number of windows, of 200, that each of `count` people loses."""
        if self.normal_sd is None:
            losses = np.where(generator.random(count) < self.share, self.loss, 0.0)
        else:
            losses = generator.normal(self.loss, self.normal_sd, count)
        return np.rint(np.clip(losses, -0.2, 0.7) * _WINDOWS).astype(np.int64)


SCENARIOS = {
    "1 in 5 loses 6 points": Scenario(0.06, 0.2),
    "1 in 10 loses 12 points": Scenario(0.12, 0.1),
    "normal, sd 0.5 points": Scenario(0.012, normal_sd=0.005),
    "normal, sd 2 points": Scenario(0.012, normal_sd=0.02),
}
"""The mean loss of each is 1.2 points."""


def pass_rate(scenario: Scenario, subjects: int, draws: int, seed: int = 0, others: int = OTHERS) -> float:
    """The share of draws whose sign-off is PASSED.

    Args:
        scenario: the population.
        subjects: test subjects of a draw.
        draws: number of draws.
        seed: seed of the draws.
        others: further subjects for each test subject.

    Returns:
        A share from 0 to 1.
    """
    generator = np.random.default_rng(seed)
    names = np.repeat([f"s{number:03d}" for number in range(subjects)], _WINDOWS)
    labels = np.tile(np.arange(_WINDOWS) % 2, subjects)[:, None]
    right = np.tile(np.arange(_WINDOWS) < _ACCURACY * _WINDOWS, subjects)[:, None]
    before = _logits(np.where(right, labels, 1 - labels))
    passed = 0
    for _ in range(draws):
        lost = scenario.draw(subjects, generator)
        unseen = np.abs(scenario.draw(subjects * others, generator)) / _WINDOWS
        after = _logits(np.where(right ^ _changed(lost), labels, 1 - labels))
        shares = {f"o{number:03d}": float(share) for number, share in enumerate(unseen)}
        figures = target_figures("target", labels, names, before, after, shares)
        passed += decide((figures,), ALLOWANCE)[0] == "passed"
    return passed / draws


def false_pass_rate(scenario: str, subjects: int, draws: int = DRAWS, seed: int = 0) -> float:
    """`pass_rate` of one of `SCENARIOS`, all of which have a mean loss above the allowance."""
    return pass_rate(SCENARIOS[scenario], subjects, draws, seed)


def main() -> None:
    """Print the rate of each scenario and number of test subjects, then the worst."""
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else DRAWS
    rates = {}
    for name in SCENARIOS:
        for subjects in SUBJECTS:
            rates[name, subjects] = false_pass_rate(name, subjects, draws)
            print(f"{name:<24} {subjects:>3} test subjects: {rates[name, subjects]:.2%} PASSED", flush=True)
    print(f"worst of {draws} draws each: {max(rates.values()):.2%}; the limit is 2.5 %")


def _logits(classes: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.stack([1.0 - classes, classes], axis=-1).astype(np.float32)


def _changed(lost: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(subjects * windows, 1): windows that change; the first of a subject's are right before, the last are wrong."""
    place = np.arange(_WINDOWS)
    broken, repaired = place < lost[:, None], place >= _WINDOWS + lost[:, None]
    return (broken | repaired).reshape(-1, 1)


if __name__ == "__main__":
    main()
