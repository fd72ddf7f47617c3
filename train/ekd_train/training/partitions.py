"""What a stage of training may see, and what it may not.

`divide` is the one place where windows are dealt out. Training is handed a `TrainingData`, which holds training and
validation windows; the test windows are in an `TestData`, which only `ekd_train.training.evaluation.examine` takes, at
the very end. A `Part` gives out its own windows and no others; one of test windows is no `TrainingSubset`, so a type
checker lets none into a `TrainingData`. `StackedTrainingData` is the same for several folds trained side by side.

A choice is an opaque selection of a part's windows: made by `rated`, `everything` or `quiz_choice`, drawn from by
`batches`, which yields positions for `take`.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ekd_edge.errors import ConfigError, DataError
from ekd_train.data.splits import Split, SubjectSplit, sides
from ekd_train.data.windows import WindowSet
from ekd_train.training.device import Resident
from ekd_train.training.distillation import UNRATED
from ekd_train.training.feedback import Batch
from ekd_train.training.loop import seed_of

__all__ = [
    "Part",
    "StackedSubset",
    "StackedTrainingData",
    "TestData",
    "TrainingData",
    "TrainingSubset",
    "divide",
    "endless",
]

P = TypeVar("P", bound="Part")


@dataclass(frozen=True, slots=True)
class Part:
    """Some windows of a pool on the device; positions count from 0 within the part.

    labels: int64 (n, targets), `UNRATED` where ratings are not to be used. subject: str (n,).
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
        """Changes with which windows of the pool these are, whose, and how labeled."""
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
        """The part that is left without these subjects."""
        kept = np.flatnonzero(~np.isin(self.subject, list(subjects)))
        positions = torch.from_numpy(kept).to(self.device)
        return type(self)(self._pool, self._index[positions], self.labels[positions], self.subject[kept])

    def quiz_choice(self, choice: Tensor, epoch: int, fraction: float) -> tuple[Tensor, Tensor]:
        """Part a choice into windows to learn from and rated windows for quizzes, by subject.

        About `fraction` of the rated subjects set the quiz; they rotate with the epoch.
        Raises ConfigError where fewer than two subjects are rated.
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
        """How many windows a choice has."""
        return len(choice)

    @staticmethod
    def batches(choice: Tensor, size: int) -> Iterator[Tensor]:
        """A choice in a fresh random order, cut into full batches of positions (the rest is left to the next time)."""
        order = choice[torch.randperm(len(choice), device=choice.device)]
        yield from (order[start : start + size] for start in range(0, len(order) - size + 1, size))


@dataclass(frozen=True, slots=True)
class TrainingSubset(Part):
    """A part that training may see."""


class StackedSubset:
    """Parts of one pool, a fold each, as one: positions, windows and labels have a leading axis of folds.

    A choice is a mask (folds, longest part); every fold gives as many windows as the one with the fewest.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = tuple(parts)
        self._pool = parts[0]._pool
        longest = max(map(len, parts))
        self._index = torch.stack([F.pad(part._index, (0, longest - len(part))) for part in parts])
        self.labels = torch.stack([F.pad(part.labels, (0, 0, 0, longest - len(part)), value=UNRATED) for part in parts])
        self._folds = torch.arange(len(parts), device=self.device).unsqueeze(1)

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
        return self._mask([part.everything() for part in self._parts])

    def rated(self) -> Tensor:
        """The choice of the windows with labels."""
        return self._mask([part.rated() for part in self._parts])

    def quiz_choice(self, choice: Tensor, epoch: int, fraction: float) -> tuple[Tensor, Tensor]:
        """As `Part.quiz_choice`, fold by fold."""
        chosen = [torch.nonzero(row).squeeze(1) for row in choice]
        pairs = [part.quiz_choice(mine, epoch, fraction) for part, mine in zip(self._parts, chosen, strict=True)]
        return self._mask([pair[0] for pair in pairs]), self._mask([pair[1] for pair in pairs])

    @staticmethod
    def count(choice: Tensor) -> int:
        """How many windows of each fold a choice gives."""
        return int(choice.sum(1).min())

    @classmethod
    def batches(cls, choice: Tensor, size: int) -> Iterator[Tensor]:
        """As `Part.batches`: positions (folds, size)."""
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
    """All that training may see. leaky: see `LeakyTrialSplit`."""

    train: TrainingSubset
    validation: TrainingSubset
    leaky: bool

    @property
    def folds(self) -> "tuple[TrainingData, ...]":
        """This one."""
        return (self,)


class StackedTrainingData:
    """All that the training of several folds side by side may see. Raises ConfigError where it cannot be stacked."""

    def __init__(self, folds: Sequence[TrainingData]) -> None:
        if any((fold.train.labels == UNRATED).any() for fold in folds):
            raise ConfigError("folds with unrated subjects cannot be trained side by side: leave --stack out")
        self.folds = tuple(folds)
        self.train = StackedSubset([fold.train for fold in folds])


@dataclass(frozen=True, slots=True)
class TestData:
    """The test windows."""

    part: Part
    leaky: bool


def divide(
    windows: WindowSet, pool: Resident, split: Split, rated: float = 1.0, seed: int = 0
) -> tuple[TrainingData, TestData]:
    """Deal out windows; pool: the same windows on the device.

    rated: share of the training subjects whose labels are used; the others' windows are in the training part without.
    Raises DataError where a side has no window or training would see one class alone, ConfigError where no subject
    would be rated.
    """
    found = sides(split, windows)
    labels = windows.labels
    if rated < 1:
        labels = _without_ratings(windows, found.train, rated, seed)
    _check_classes(windows.targets, labels[found.train])
    leaky = not isinstance(split, SubjectSplit)
    train, validation = (_part(TrainingSubset, windows, labels, pool, side) for side in (found.train, found.validation))
    return TrainingData(train, validation, leaky), TestData(_part(Part, windows, labels, pool, found.test), leaky)


def endless(part: Part | StackedSubset, choice: Tensor, size: int) -> Iterator[Batch]:
    """Batches of a choice, reshuffled whenever they are used up."""
    while True:
        for positions in part.batches(choice, min(size, part.count(choice))):
            yield part.take(positions)


def _part(kind: type[P], windows: WindowSet, labels: NDArray[np.int64], pool: Resident, indices: NDArray[Any]) -> P:
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
                "nothing to learn: choose another threshold or split, or add recordings"
            )


def _without_ratings(windows: WindowSet, train: NDArray[Any], rated: float, seed: int) -> NDArray[np.int64]:
    subjects = np.unique(windows.subject[train])
    count = round(rated * len(subjects))
    if count < 1:
        raise ConfigError(f"split.rated = {rated:g} leaves none of {len(subjects)} training subjects rated: raise it")
    order = np.random.default_rng(seed_of(seed, "rated")).permutation(len(subjects))
    labels = windows.labels.copy()
    inside = np.zeros(len(windows), dtype=bool)
    inside[train] = True
    labels[inside & np.isin(windows.subject, subjects[order[count:]])] = UNRATED
    return labels
