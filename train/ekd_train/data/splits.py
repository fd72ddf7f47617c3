"""Splits of subjects into training, validation and test, without any subject on two sides.

`LeakyTrialSplit` is the only exception. `sides` gives the indices of the windows on each side.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import ConfigError, DataError
from ekd_train.data.windows import WindowSet
from ekd_train.settings.field import check_settings, setting

__all__ = [
    "LEAKY_WARNING",
    "LeakyTrialSplit",
    "Sides",
    "Split",
    "SplitConfig",
    "SplitKind",
    "SubjectSplit",
    "fold_count",
    "holdout_split",
    "k_fold_splits",
    "leave_one_subject_out",
    "make_split",
    "parse_split",
    "side_of_left_out",
    "side_of_windows",
    "sides",
    "split_from_json",
    "split_to_json",
]

SplitKind = Literal["holdout", "leave-one-out", "k-fold", "trial-leaky"]

LEAKY_WARNING = (
    "LEAKY SPLIT (trial-leaky): the same people are in training and test. This overstates accuracy and must not be "
    "compared with subject-wise results."
)
"""The first line of every report of a `LeakyTrialSplit`."""


@dataclass(frozen=True, slots=True)
class SplitConfig:
    """Settings of a split.

    kind: "holdout" is one random split; "leave-one-out" has one fold per subject; "k-fold" has `folds` groups of
        subjects; "trial-leaky" has `folds` groups of trials with the same people on all sides, to compare with the
        literature.
    fold: number of this fold, from 0.
    validation: share of the subjects (for folds: of those not in the test) that select the best epoch.
    test: share of the subjects that a holdout keeps for the test.
    rated: share of the training subjects whose ratings are used; the windows of the others are unrated.
    """

    kind: SplitKind = setting("holdout", "holdout, leave-one-out, k-fold or trial-leaky, which overstates accuracy")
    folds: int = setting(5, "groups of k-fold and trial-leaky", at_least=2)
    fold: int = setting(0, "which fold this is, from 0", at_least=0)
    validation: float = setting(0.2, "share of the other subjects that choose the best epoch", above=0, below=1)
    test: float = setting(0.25, "share of the subjects that a holdout keeps for the test", above=0, below=1)
    rated: float = setting(1.0, "share of the training subjects whose ratings are used", above=0, at_most=1)

    def __post_init__(self) -> None:
        check_settings(self, "split")


@dataclass(frozen=True, slots=True)
class SubjectSplit:
    """Subjects for training, for the selection of the best epoch, and for the test. `validation` may be empty.

    Raises DataError if a subject is named twice, or if `train` or `test` is empty.
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


@dataclass(frozen=True, slots=True)
class LeakyTrialSplit:
    """A split of trials instead of subjects, so that every subject is on all sides; see `LEAKY_WARNING`.

    The trials of a subject are shuffled with a seed of `seed` and the subject's number. Every `folds`-th trial from
    `fold` on is test, and the share `validation` of the others is validation.
    """

    subjects: tuple[str, ...]
    seed: int
    folds: int
    fold: int
    validation: float


Split = SubjectSplit | LeakyTrialSplit


class Sides(NamedTuple):
    """Indices of the windows on each side: int64, disjoint, ascending."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def sides(split: Split, windows: WindowSet) -> Sides:
    """Return the indices of the windows on each side.

    Raises DataError if a side is empty.
    """
    side = side_of_windows(split, windows)
    found = Sides(*(np.flatnonzero(side == number).astype(np.int64) for number in range(3)))
    for number, (name, indices) in enumerate(found._asdict().items()):
        if len(indices) == 0:
            names = f" ({', '.join(getattr(split, name))})" if isinstance(split, SubjectSplit) else ""
            if number in side_of_left_out(split, windows):
                raise DataError(
                    f"all windows on the {name} side of the split{names} were left out for their signal quality: add "
                    "subjects with a better signal, or keep the windows with --keep-bad-windows"
                )
            raise DataError(f"the {name} side of the split{names} has no windows: add subjects, trials or ratings")
    return found


def side_of_windows(split: Split, windows: WindowSet) -> NDArray[np.int64]:
    """Return the side of each window: 0 is train, 1 validation, 2 test, -1 none."""
    if not isinstance(split, SubjectSplit):
        return _leaky_sides(split, windows)[0]
    side = np.full(len(windows), -1, np.int64)
    for number, subjects in enumerate((split.train, split.validation, split.test)):
        side[np.isin(windows.subject, subjects)] = number
    return side


def side_of_left_out(split: Split, windows: WindowSet) -> tuple[int, ...]:
    """Return the side of each entry of `windows.left_out`: 0 is train, 1 validation, 2 test, -1 none."""
    if not isinstance(split, SubjectSplit):
        return tuple(_leaky_sides(split, windows)[1].tolist())
    side = {subject: k for k, of in enumerate((split.train, split.validation, split.test)) for subject in of}
    return tuple(side.get(trial.subject, -1) for trial in windows.left_out)


def _leaky_sides(split: LeakyTrialSplit, windows: WindowSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the side of each window and of each entry of left_out: 0 is train, 1 validation, 2 test, -1 none."""
    side = np.full(len(windows) + len(windows.left_out), -1)
    subjects = np.concatenate((windows.subject, [trial.subject for trial in windows.left_out]))
    everything = [f"{r}\0{t}" for r, t in zip(windows.recording, windows.trial, strict=True)]
    everything += [f"{trial.recording}\0{trial.trial}" for trial in windows.left_out]
    for number, subject in enumerate(split.subjects):
        mine = np.flatnonzero(subjects == subject)
        names = [everything[k] for k in mine.tolist()]
        trials, of = np.unique(names, return_inverse=True)
        rank = np.random.default_rng((split.seed, number)).permutation(len(trials))
        test = rank % split.folds == split.fold
        rest = np.argsort(rank)[~test[np.argsort(rank)]]
        trial_side = np.where(test, 2, 0)
        trial_side[rest[: max(1, round(split.validation * len(rest)))]] = 1
        side[mine] = trial_side[of]
    return side[: len(windows)], side[len(windows) :]


def parse_split(text: str) -> dict[str, Any]:
    """Parse "holdout", "leave-one-out", "k-fold:K" or "trial-leaky[:K]" to settings of `SplitConfig`.

    Raises ConfigError for another text.
    """
    kind, colon, count = text.partition(":")
    if kind not in get_args(SplitKind) or (
        colon and not (kind in ("k-fold", "trial-leaky") and re.fullmatch(r"\d+", count))
    ):
        raise ConfigError(f"--split {text}: write holdout, leave-one-out, k-fold:5 or trial-leaky:5")
    return {"kind": kind} | ({"folds": int(count)} if colon else {})


def fold_count(config: SplitConfig, subjects: Sequence[str]) -> int:
    """Return the number of folds of the split."""
    return {"holdout": 1, "leave-one-out": len(subjects)}.get(config.kind, config.folds)


def make_split(config: SplitConfig, seed: int, subjects: Sequence[str]) -> Split:
    """Return the split of the fold `config.fold`.

    In "leave-one-out" fold k tests the k-th of the sorted subjects, with every seed.

    Args:
        config: the settings.
        seed: seed of the shuffled order of subjects or trials.
        subjects: names of all subjects.

    Raises:
        ConfigError: if the fold does not exist.
        DataError: if there are too few subjects.
    """
    if config.fold >= fold_count(config, subjects):
        raise ConfigError(
            f"fold {config.fold} does not exist: the folds of {config.kind} are 0 to {fold_count(config, subjects) - 1}"
        )
    if config.kind == "trial-leaky":
        return LeakyTrialSplit(tuple(sorted(subjects)), seed, config.folds, config.fold, config.validation)
    if config.kind == "holdout":
        return holdout_split(subjects, seed, config.validation, config.test)
    if config.kind == "k-fold":
        return list(k_fold_splits(subjects, config.folds, seed, config.validation))[config.fold]
    one = sorted(subjects)[config.fold]
    return next(split for split in leave_one_subject_out(subjects, seed, config.validation) if one in split.test)


def split_to_json(split: Split) -> dict[str, Any]:
    """Return a JSON-ready dict; `split_from_json` is the inverse."""
    return {"kind": "subjects" if isinstance(split, SubjectSplit) else "trial-leaky", **asdict(split)}


def split_from_json(data: Mapping[str, Any]) -> Split:
    """Return the split of which `split_to_json` made `data`. Raises KeyError or TypeError for other data."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    kind = fields.pop("kind")
    kinds: dict[str, type[Split]] = {"subjects": SubjectSplit, "trial-leaky": LeakyTrialSplit}
    return kinds[kind](**fields)


def _shuffled(subjects: Sequence[str], seed: int, at_least: int, purpose: str) -> list[str]:
    names = sorted(set(subjects))
    if len(names) != len(subjects):
        raise DataError(f"a {purpose} got a subject twice: name every subject once")
    if len(names) < at_least:
        raise DataError(f"a {purpose} needs at least {at_least} subjects, but there are {len(names)}: add more")
    return [names[i] for i in np.random.default_rng(seed).permutation(len(names))]


def holdout_split(subjects: Sequence[str], seed: int, validation: float = 0.2, test: float = 0.25) -> SubjectSplit:
    """Split the subjects at random.

    The same subjects (in any order) and seed give the same split. A share above 0 gets at least one subject.

    Args:
        subjects: names of all subjects.
        seed: seed of the random order.
        validation: share of the subjects for validation.
        test: share of the subjects for the test; the rest is for training.

    Raises:
        DataError: for fewer subjects than sides, and for shares that leave no subject for training.
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
    """Return `folds` splits; every subject is in the test of exactly one of them.

    Args:
        subjects: names of all subjects.
        folds: number of splits.
        seed: seed of the random order of subjects.
        validation: share of the subjects for validation, of those that are not in the test.

    Raises:
        DataError: for fewer than 2 folds or too few subjects.
    """
    if folds < 2:
        raise DataError("cross-validation needs at least 2 folds")
    if not 0 <= validation < 1:
        raise DataError("the validation share must be between 0 and 1")
    names = _shuffled(subjects, seed, max(folds, 3 if validation else 2), f"{folds}-fold cross-validation")
    return (_fold(names, names[fold::folds], validation) for fold in range(folds))


def leave_one_subject_out(subjects: Sequence[str], seed: int = 0, validation: float = 0.2) -> Iterator[SubjectSplit]:
    """Return one split per subject, whose test is only that subject. Raises DataError for too few subjects."""
    return k_fold_splits(subjects, max(len(subjects), 2), seed, validation)


def _fold(names: Sequence[str], test: Sequence[str], validation: float) -> SubjectSplit:
    rest = [name for name in names if name not in set(test)]
    n_validation = min(max(1, round(validation * len(rest))), len(rest) - 1) if validation else 0
    return SubjectSplit(
        train=tuple(sorted(rest[n_validation:])),
        validation=tuple(sorted(rest[:n_validation])),
        test=tuple(sorted(test)),
    )
