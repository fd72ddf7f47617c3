"""What a stage of training may see, and what it may not.

`divide` is the one place where windows are dealt out. Training is handed a `Learning`, which holds training and
validation windows; the test windows are in an `Exam`, which only `ekd_train.exam.examine` takes, at the very end. A
`Part` gives out its own windows and no others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ekd_edge.errors import ConfigError
from ekd_train.data.splits import Split, SubjectSplit, sides
from ekd_train.data.windows import WindowSet
from ekd_train.device import Resident
from ekd_train.distill import UNRATED
from ekd_train.feedback import Batch
from ekd_train.loop import batches, seed_of

__all__ = ["Exam", "Learning", "Part", "divide", "endless"]


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
        """All positions."""
        return torch.arange(len(self), device=self.device)

    def of(self, subjects: Sequence[str]) -> Tensor:
        """Positions of these subjects' windows."""
        return torch.from_numpy(np.flatnonzero(np.isin(self.subject, list(subjects)))).to(self.device)

    def rated(self) -> Tensor:
        """Positions of the windows with labels."""
        return torch.nonzero((self.labels != UNRATED).all(1)).squeeze(1)


@dataclass(frozen=True, slots=True)
class Learning:
    """All that training may see. leaky: see `LeakyTrialSplit`."""

    train: Part
    validation: Part
    leaky: bool


@dataclass(frozen=True, slots=True)
class Exam:
    """The test windows."""

    part: Part
    leaky: bool


def divide(
    windows: WindowSet, pool: Resident, split: Split, rated: float = 1.0, seed: int = 0
) -> tuple[Learning, Exam]:
    """Deal out windows; pool: the same windows on the device.

    rated: share of the training subjects whose labels are used; the others' windows are in the training part without.
    Raises DataError where a side has no window, ConfigError where no subject would be rated.
    """
    found = sides(split, windows)
    labels = windows.labels
    if rated < 1:
        labels = _without_ratings(windows, found.train, rated, seed)
    parts = [_part(windows, labels, pool, indices) for indices in found]
    leaky = not isinstance(split, SubjectSplit)
    return Learning(parts[0], parts[1], leaky), Exam(parts[2], leaky)


def endless(part: Part, positions: Tensor, size: int) -> Iterator[Batch]:
    """Batches of the windows at `positions`, reshuffled whenever they are used up."""
    while True:
        for picked in batches(positions, min(size, len(positions))):
            yield part.take(picked)


def _part(windows: WindowSet, labels: NDArray[np.int64], pool: Resident, indices: NDArray[Any]) -> Part:
    device = pool.gsr.device
    return Part(
        _pool=pool,
        _index=torch.from_numpy(indices).to(device),
        labels=torch.from_numpy(labels[indices]).to(device),
        subject=windows.subject[indices],
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
