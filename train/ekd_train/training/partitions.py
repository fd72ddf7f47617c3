"""Partition of windows into training, validation and test data.

`partition` is the only function that divides windows. Training receives a `TrainingData`, which holds training and
validation windows. Test windows are in a `TestData`, which only `ekd_train.training.evaluation.evaluate_on_test`
takes, at the very end. A `WindowSubset` gives access to its own windows only. A subset of test windows is not a
`TrainingSubset`, so a type checker refuses it in a `TrainingData`. `StackedTrainingData` holds several folds that are
stacked and trained together.

A choice is an opaque selection of a subset's windows. `rated`, `everything` and `quiz_choice` make choices, and
`batches` draws from one: it yields positions for `take`.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ekd_edge.errors import ConfigError, DataError
from ekd_edge.model.manifest import NormalizationState
from ekd_train.data.splits import Split, SubjectSplit, sides
from ekd_train.data.windows import WindowSet
from ekd_train.training.device import Resident
from ekd_train.training.distillation import UNRATED
from ekd_train.training.feedback import Batch
from ekd_train.training.loop import seed_of

__all__ = [
    "StackedSubset",
    "StackedTrainingData",
    "TestData",
    "TrainingData",
    "TrainingSubset",
    "WindowSubset",
    "endless",
    "partition",
    "with_states",
]

SubsetT = TypeVar("SubsetT", bound="WindowSubset")


@dataclass(frozen=True, slots=True)
class WindowSubset:
    """Some windows of a pool on the device; positions count from 0 within the subset.

    labels: int64 (n, targets), `UNRATED` where ratings must not be used. subject: str (n,).
    """

    _pool: Resident
    _index: Tensor
    labels: Tensor
    subject: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.subject)

    @property
    def device(self) -> torch.device:
        """Where the windows are."""
        return self._index.device

    @property
    def subjects(self) -> tuple[str, ...]:
        """The subjects present, sorted."""
        return tuple(str(name) for name in np.unique(self.subject))

    @property
    def identity(self) -> str:
        """A hash of the windows' positions in the pool, their subjects and their labels."""
        digest = hashlib.sha256(repr(self.subject.tolist()).encode())
        for tensor in (self._index, self.labels):
            digest.update(tensor.cpu().numpy().tobytes())
        return digest.hexdigest()

    @property
    def has_eeg(self) -> bool:
        """Whether `take` can be used."""
        return self._pool.eeg is not None

    def take(self, positions: Tensor) -> Batch:
        """EEG, GSR and labels of the windows at these positions."""
        index = self._index[positions]
        assert self._pool.eeg is not None
        return Batch(self._pool.eeg[index], self._pool.gsr[index], self.labels[positions])

    def take_gsr(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """GSR and labels of the windows at these positions."""
        return self._pool.gsr[self._index[positions]], self.labels[positions]

    def everything(self) -> Tensor:
        """The choice of all windows."""
        return torch.arange(len(self), device=self.device)

    def rated(self) -> Tensor:
        """The choice of the windows with labels."""
        return torch.nonzero((self.labels != UNRATED).all(1)).squeeze(1)

    def of(self, subjects: Sequence[str]) -> Tensor:
        """The choice of these subjects' windows."""
        return torch.from_numpy(np.flatnonzero(np.isin(self.subject, list(subjects)))).to(self.device)

    def without(self, subjects: Sequence[str]) -> Self:
        """This subset without the windows of these subjects."""
        kept = np.flatnonzero(~np.isin(self.subject, list(subjects)))
        positions = torch.from_numpy(kept).to(self.device)
        return type(self)(self._pool, self._index[positions], self.labels[positions], self.subject[kept])

    def quiz_choice(self, choice: Tensor, epoch: int, fraction: float) -> tuple[Tensor, Tensor]:
        """Split a choice by subject into windows to learn from and rated windows for quizzes.

        About `fraction` of the rated subjects give the quiz windows; they rotate with the epoch.

        Args:
            choice: the windows to split.
            epoch: counts from 0.
            fraction: share of the rated subjects.

        Returns:
            The choice to learn from and the choice of quiz windows.

        Raises:
            ConfigError: fewer than two subjects are rated.
        """
        subjects = np.unique(self.subject[self.rated().cpu().numpy()])
        if len(subjects) < 2:
            raise ConfigError("adaptive feedback needs two rated training subjects: set feedback.every=0")
        groups = min(max(2, round(1 / fraction)), len(subjects))
        quizzing = np.isin(self.subject, subjects[epoch % groups :: groups])
        quiz = torch.from_numpy(np.flatnonzero(quizzing)).to(self.device)
        return choice[~torch.isin(choice, quiz)], quiz

    @staticmethod
    def count(choice: Tensor) -> int:
        """The number of windows in a choice."""
        return len(choice)

    @staticmethod
    def batches(choice: Tensor, size: int) -> Iterator[Tensor]:
        """Full batches of positions of a choice in a new random order; an incomplete last batch is dropped."""
        order = choice[torch.randperm(len(choice), device=choice.device)]
        yield from (order[start : start + size] for start in range(0, len(order) - size + 1, size))


@dataclass(frozen=True, slots=True)
class TrainingSubset(WindowSubset):
    """A subset of training or validation windows."""


class StackedSubset:
    """One subset of each fold as a single one: positions, windows and labels have a leading axis of folds.

    A choice is a mask (folds, longest subset). Every fold gives as many windows as the fold with the fewest.
    """

    def __init__(self, subsets: Sequence[WindowSubset]) -> None:
        self._subsets = tuple(subsets)
        self._pool = subsets[0]._pool
        longest = max(map(len, subsets))
        self._index = torch.stack([F.pad(subset._index, (0, longest - len(subset))) for subset in subsets])
        self.labels = torch.stack(
            [F.pad(subset.labels, (0, 0, 0, longest - len(subset)), value=UNRATED) for subset in subsets]
        )
        self._folds = torch.arange(len(subsets), device=self.device).unsqueeze(1)

    @property
    def device(self) -> torch.device:
        """Where the windows are."""
        return self._index.device

    @property
    def has_eeg(self) -> bool:
        """Whether `take` can be used."""
        return self._pool.eeg is not None

    def take(self, positions: Tensor) -> Batch:
        """EEG, GSR and labels of the windows at positions (folds, B)."""
        index = self._index.gather(1, positions)
        assert self._pool.eeg is not None
        return Batch(self._pool.eeg[index], self._pool.gsr[index], self.labels[self._folds, positions])

    def take_gsr(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """GSR and labels of the windows at positions (folds, B)."""
        return self._pool.gsr[self._index.gather(1, positions)], self.labels[self._folds, positions]

    def everything(self) -> Tensor:
        """The choice of all windows."""
        return self._mask([subset.everything() for subset in self._subsets])

    def rated(self) -> Tensor:
        """The choice of the windows with labels."""
        return self._mask([subset.rated() for subset in self._subsets])

    def quiz_choice(self, choice: Tensor, epoch: int, fraction: float) -> tuple[Tensor, Tensor]:
        """As `WindowSubset.quiz_choice`, fold by fold."""
        chosen = [torch.nonzero(row).squeeze(1) for row in choice]
        pairs = [subset.quiz_choice(mine, epoch, fraction) for subset, mine in zip(self._subsets, chosen, strict=True)]
        return self._mask([pair[0] for pair in pairs]), self._mask([pair[1] for pair in pairs])

    @staticmethod
    def count(choice: Tensor) -> int:
        """The number of windows that a choice gives from each fold."""
        return int(choice.sum(1).min())

    @classmethod
    def batches(cls, choice: Tensor, size: int) -> Iterator[Tensor]:
        """As `WindowSubset.batches`: positions (folds, size)."""
        count = cls.count(choice)
        keys = torch.rand(choice.shape, device=choice.device).masked_fill_(~choice, 2.0)
        order = keys.argsort(1)[:, :count]
        yield from (order[:, start : start + size] for start in range(0, count - size + 1, size))

    def _mask(self, chosen: Sequence[Tensor]) -> Tensor:
        mask = torch.zeros(self._index.shape, dtype=torch.bool, device=self.device)
        for row, positions in zip(mask, chosen, strict=True):
            row[positions] = True
        return mask


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The windows that training may use. leaky: see `LeakyTrialSplit`."""

    train: TrainingSubset
    validation: TrainingSubset
    leaky: bool

    @property
    def folds(self) -> "tuple[TrainingData, ...]":
        """A tuple of this one fold."""
        return (self,)


class StackedTrainingData:
    """The windows that stacked training of several folds may use. Raises ConfigError if folds cannot be stacked."""

    def __init__(self, folds: Sequence[TrainingData]) -> None:
        if any((fold.train.labels == UNRATED).any() for fold in folds):
            raise ConfigError("folds with unrated subjects cannot be stacked: leave --stack out")
        self.folds = tuple(folds)
        self.train = StackedSubset([fold.train for fold in folds])


@dataclass(frozen=True, slots=True)
class TestData:
    """The test windows.

    leaky: see `LeakyTrialSplit`. states: a student is tested on these as well, by the state of the normalization.
    """

    __test__: ClassVar[bool] = False
    """pytest must not collect this class."""

    subset: WindowSubset
    leaky: bool
    states: Mapping[NormalizationState, WindowSubset] = field(default_factory=dict)


def partition(
    windows: WindowSet, pool: Resident, split: Split, rated: float = 1.0, seed: int = 0
) -> tuple[TrainingData, TestData]:
    """Divide windows into training and test data.

    Args:
        windows: all windows of the dataset.
        pool: the same windows on the device.
        split: the subjects or trials of each side.
        rated: share of the training subjects with labels. The windows of the others are unrated training windows.
        seed: chooses the rated subjects.

    Returns:
        Training data (with validation windows) and test data.

    Raises:
        DataError: a side has no window, or all rated training windows have the same class.
        ConfigError: no subject would be rated.
    """
    found = sides(split, windows)
    labels = windows.labels
    if rated < 1:
        labels = _without_ratings(windows, found.train, rated, seed)
    _check_classes(windows.targets, labels[found.train])
    leaky = not isinstance(split, SubjectSplit)
    train, validation = (
        _subset(TrainingSubset, windows, labels, pool, side) for side in (found.train, found.validation)
    )
    return TrainingData(train, validation, leaky), TestData(
        _subset(WindowSubset, windows, labels, pool, found.test), leaky
    )


def with_states(test_data: TestData, split: Split, own: NormalizationState, other: WindowSet | None) -> TestData:
    """Return the test data in both states: the run's own, and that of the dataset's windows `other`, if any."""
    if other is None or not isinstance(split, SubjectSplit):
        return test_data
    windows = other.select(np.isin(other.subject, split.test))
    if not len(windows):
        return test_data
    pool = Resident.of(windows, test_data.subset.device)
    subset = _subset(WindowSubset, windows, windows.labels, pool, np.arange(len(windows)))
    second: NormalizationState = "restarted" if own == "carried" else "carried"
    return replace(test_data, states={own: test_data.subset, second: subset})


def endless(subset: WindowSubset | StackedSubset, choice: Tensor, size: int) -> Iterator[Batch]:
    """Batches of a choice without end; the choice is reshuffled after each pass."""
    while True:
        for positions in subset.batches(choice, min(size, subset.count(choice))):
            yield subset.take(positions)


def _subset(
    kind: type[SubsetT], windows: WindowSet, labels: NDArray[np.int64], pool: Resident, indices: NDArray[Any]
) -> SubsetT:
    device = pool.gsr.device
    return kind(
        _pool=pool,
        _index=torch.from_numpy(indices).to(device),
        labels=torch.from_numpy(labels[indices]).to(device),
        subject=windows.subject[indices],
    )


def _check_classes(targets: Sequence[str], labels: NDArray[np.int64]) -> None:
    for column, target in enumerate(targets):
        classes = np.setdiff1d(labels[:, column], [UNRATED])
        if len(classes) == 1:
            raise DataError(
                f"all rated training windows of this fold are {('low', 'high')[classes[0]]} in {target}, so there is "
                "only one class: choose another threshold or split, or add recordings"
            )


def _without_ratings(windows: WindowSet, train: NDArray[Any], rated: float, seed: int) -> NDArray[np.int64]:
    subjects = np.unique(windows.subject[train])
    count = round(rated * len(subjects))
    if count < 1:
        raise ConfigError(
            f"split.rated = {rated:g} leaves none of {len(subjects)} training subjects rated: increase it"
        )
    order = np.random.default_rng(seed_of(seed, "rated")).permutation(len(subjects))
    labels = windows.labels.copy()
    inside = np.zeros(len(windows), dtype=bool)
    inside[train] = True
    labels[inside & np.isin(windows.subject, subjects[order[count:]])] = UNRATED
    return labels
