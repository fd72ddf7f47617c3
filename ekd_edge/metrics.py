"""Metrics on held-out subjects: accuracy and macro F1 by subject, and paired differences between two models."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd_edge.model.subject_hash import hash_subject

__all__ = [
    "Comparison",
    "Difference",
    "Scores",
    "SubjectScores",
    "TargetScores",
    "accuracy",
    "compare",
    "evaluate",
    "macro_f1",
    "paired_difference",
    "students_t_limit",
]

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class SubjectScores:
    """Scores over one subject's windows."""

    subject: str
    windows: int
    accuracy: float
    macro_f1: float


@dataclass(frozen=True, slots=True)
class TargetScores:
    """Scores of one target: of each subject, their means over subjects, and how often each class is predicted."""

    target: str
    accuracy: float
    macro_f1: float
    predicted: tuple[int, ...]
    subjects: tuple[SubjectScores, ...]


@dataclass(frozen=True, slots=True)
class Scores:
    """One model's scores, a `TargetScores` for each target in the model's order."""

    targets: tuple[TargetScores, ...]

    def to_json(self) -> dict[str, Any]:
        """{target: its scores}, JSON-ready."""
        return {scores.target: asdict(scores) for scores in self.targets}

    def hashed(self, dataset: str) -> "Scores":
        """The same scores with hashed subjects, in the order of the hashes. dataset: its identity."""
        return Scores(tuple(_hashed(scores, dataset) for scores in self.targets))


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean over subjects of (second - first), with a 95 % interval.

    Student's t over the paired differences of n subjects: it treats the subjects as a random sample
    of a population and accounts for a small number of them. low and high are None for a single subject.
    """

    mean: float
    low: float | None
    high: float | None
    subjects: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second model against the first for one target: agreement of predicted classes, differences of both scores."""

    target: str
    agreement: float
    accuracy: Difference
    macro_f1: Difference


def accuracy(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Share of equal entries; labels and predicted are (n,), n at least 1."""
    return float(np.mean(labels == predicted))


def macro_f1(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Unweighted mean of F1 over the classes that occur in labels or predicted, both (n,), n at least 1."""
    scores = []
    for label in np.union1d(labels, predicted):
        hits = np.count_nonzero((labels == label) & (predicted == label))
        scores.append(2 * hits / (np.count_nonzero(labels == label) + np.count_nonzero(predicted == label)))
    return float(np.mean(scores))


def evaluate(
    targets: Sequence[str],
    labels: NDArray[np.int64],
    subjects: NDArray[np.str_],
    logits: NDArray[np.float32],
) -> Scores:
    """Scores of a model's logits.

    Args:
        targets: names of the targets.
        labels: true classes, shape (n, targets).
        subjects: name of each window's subject, shape (n,).
        logits: of the model, shape (n, targets, classes).

    Returns:
        Scores by target and subject.
    """
    predicted = logits.argmax(axis=2)
    classes = logits.shape[2]
    return Scores(
        tuple(
            _target_scores(target, labels[:, column], predicted[:, column], subjects, classes)
            for column, target in enumerate(targets)
        )
    )


def compare(
    first: Scores, second: Scores, first_logits: NDArray[np.float32], second_logits: NDArray[np.float32]
) -> tuple[Comparison, ...]:
    """The second model against the first, on the same windows.

    Args:
        first, second: scores of the two models.
        first_logits, second_logits: shape (n, targets, classes).

    Returns:
        One comparison for each target.
    """
    same = first_logits.argmax(axis=2) == second_logits.argmax(axis=2)
    return tuple(
        Comparison(
            target=one.target,
            agreement=float(same[:, column].mean()),
            accuracy=paired_difference(_by_subject(one, "accuracy"), _by_subject(two, "accuracy")),
            macro_f1=paired_difference(_by_subject(one, "macro_f1"), _by_subject(two, "macro_f1")),
        )
        for column, (one, two) in enumerate(zip(first.targets, second.targets, strict=True))
    )


def paired_difference(first: Mapping[str, float], second: Mapping[str, float]) -> Difference:
    """Second minus first over the same subjects, at least one; see `Difference`."""
    differences = np.array([second[subject] - first[subject] for subject in first])
    n, mean = len(differences), float(differences.mean())
    if n < 2:
        return Difference(mean, None, None, n)
    half = float(students_t_limit(n - 1, CONFIDENCE) * differences.std(ddof=1) / np.sqrt(n))
    return Difference(mean, mean - half, mean + half, n)


@lru_cache
def students_t_limit(degrees: int, confidence: float) -> float:
    """The t for which |T| < t has the given probability, for Student's T of a whole number of degrees of freedom.

    The relative error is below 1e-12 up to 10,000 degrees and a confidence of 0.99. Newton's method begins at the
    normal distribution's limit, which is smaller; the probability is concave in t, so no step goes beyond the solution.
    """
    log_factor = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - math.log(degrees * math.pi) / 2
    t = NormalDist().inv_cdf((1 + confidence) / 2)
    for _ in range(100):
        density = math.exp(log_factor - (degrees + 1) / 2 * math.log1p(t * t / degrees))
        step = (confidence - _students_t_probability(degrees, t)) / (2 * density)
        t += step
        if abs(step) <= 1e-13 * t:
            break
    return t


def _students_t_probability(degrees: int, t: float) -> float:
    """P(|T| < t), as a finite sum of positive terms (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine, odd = math.cos(angle), degrees % 2
    term, terms = cosine if odd else 1.0, []
    for i in range(1 + odd, degrees, 2):
        terms.append(term)
        term *= cosine * cosine * i / (i + 1)
    total = math.sin(angle) * math.fsum(terms)
    return 2 / math.pi * (angle + total) if odd else total


def _target_scores(
    target: str,
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    subjects: NDArray[np.str_],
    classes: int,
) -> TargetScores:
    scores = []
    for subject in np.unique(subjects):
        mine = subjects == subject
        scores.append(
            SubjectScores(
                subject=str(subject),
                windows=int(mine.sum()),
                accuracy=accuracy(labels[mine], predicted[mine]),
                macro_f1=macro_f1(labels[mine], predicted[mine]),
            )
        )
    return TargetScores(
        target=target,
        accuracy=float(np.mean([score.accuracy for score in scores])),
        macro_f1=float(np.mean([score.macro_f1 for score in scores])),
        predicted=tuple(int(count) for count in np.bincount(predicted, minlength=classes)),
        subjects=tuple(scores),
    )


def _hashed(scores: TargetScores, dataset: str) -> TargetScores:
    subjects = [replace(each, subject=hash_subject(dataset, each.subject)) for each in scores.subjects]
    return replace(scores, subjects=tuple(sorted(subjects, key=lambda each: each.subject)))


def _by_subject(scores: TargetScores, name: str) -> dict[str, float]:
    return {subject.subject: float(getattr(subject, name)) for subject in scores.subjects}
