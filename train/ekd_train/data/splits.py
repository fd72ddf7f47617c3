"""Splits by subject: no person is ever on both sides."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ekd_edge.errors import DataError

__all__ = ["SubjectSplit", "holdout_split", "k_fold_splits", "leave_one_subject_out"]


@dataclass(frozen=True, slots=True)
class SubjectSplit:
    """Subjects for training, for choosing between epochs, and for the final figure; validation may be empty.

    Raises DataError where a subject is on two sides or twice on one, or where train or test is empty.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        everyone = self.train + self.validation + self.test
        if len(set(everyone)) != len(everyone):
            twice = sorted(name for name in set(everyone) if everyone.count(name) > 1)
            raise DataError(f"subject {twice[0]!r} is on two sides of the split: name every subject once")
        if not self.train or not self.test:
            raise DataError("a split needs at least one subject for training and one for the test")


def _shuffled(subjects: Sequence[str], seed: int, at_least: int, purpose: str) -> list[str]:
    names = sorted(set(subjects))
    if len(names) != len(subjects):
        raise DataError(f"a {purpose} needs every subject named once")
    if len(names) < at_least:
        raise DataError(f"a {purpose} needs at least {at_least} subjects, there are {len(names)}: add more")
    return [names[i] for i in np.random.default_rng(seed).permutation(len(names))]


def holdout_split(subjects: Sequence[str], seed: int, validation: float = 0.2, test: float = 0.25) -> SubjectSplit:
    """One split at random: shares of all subjects for validation and test, the rest trains.

    The same subjects (in any order) and seed give the same split. A share above 0 gets at least one subject.
    Raises DataError for fewer subjects than sides, and for shares that leave none to train on.
    """
    if not (0 <= validation < 1 and 0 < test < 1 and validation + test < 1):
        raise DataError("the validation and test shares must be below 1 together, and the test share above 0")
    names = _shuffled(subjects, seed, 3 if validation else 2, "split into training, validation and test")
    n_test = max(1, round(test * len(names)))
    n_validation = max(1, round(validation * len(names))) if validation else 0
    while n_test + n_validation >= len(names):
        n_test, n_validation = (n_test - 1, n_validation) if n_test > 1 else (n_test, n_validation - 1)
    held = n_test + n_validation
    return SubjectSplit(
        train=tuple(sorted(names[held:])),
        validation=tuple(sorted(names[n_test:held])),
        test=tuple(sorted(names[:n_test])),
    )


def k_fold_splits(subjects: Sequence[str], folds: int, seed: int, validation: float = 0.2) -> Iterator[SubjectSplit]:
    """`folds` splits whose test sides are disjoint and together hold every subject once.

    validation: share of each fold's remaining subjects.
    Raises DataError for fewer than 2 folds or too few subjects.
    """
    if folds < 2:
        raise DataError("cross-validation needs at least 2 folds")
    if not 0 <= validation < 1:
        raise DataError("the validation share must lie between 0 and 1")
    names = _shuffled(subjects, seed, max(folds, 3 if validation else 2), f"{folds}-fold cross-validation")
    return (_fold(names, names[fold::folds], validation) for fold in range(folds))


def leave_one_subject_out(subjects: Sequence[str], seed: int = 0, validation: float = 0.2) -> Iterator[SubjectSplit]:
    """One split a subject, which alone is its test side. Raises DataError for too few subjects."""
    return k_fold_splits(subjects, max(len(subjects), 2), seed, validation)


def _fold(names: Sequence[str], test: Sequence[str], validation: float) -> SubjectSplit:
    rest = [name for name in names if name not in set(test)]
    n_validation = min(max(1, round(validation * len(rest))), len(rest) - 1) if validation else 0
    return SubjectSplit(
        train=tuple(sorted(rest[n_validation:])),
        validation=tuple(sorted(rest[:n_validation])),
        test=tuple(sorted(test)),
    )
