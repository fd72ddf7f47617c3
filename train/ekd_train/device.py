"""Windows resident on the training device, and what reads them there: no per-batch work on the host."""

import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ekd_edge.errors import ConfigError
from ekd_train.data.windows import WindowSet
from ekd_train.feedback import Batch
from ekd_train.loop import batches

__all__ = ["Means", "Resident", "batch_size", "endless_batches", "pick_device"]


def pick_device(name: str, threads: int | None = None) -> torch.device:
    """The device of that name, "auto" for a GPU where there is one; threads: of the CPU, default all cores."""
    if threads is not None:
        if threads < 1:
            raise ConfigError("--threads must be at least 1")
        torch.set_num_threads(threads)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {name} cannot be used here: {str(error).splitlines()[0]}") from error
    return device


@dataclasses.dataclass(frozen=True, slots=True)
class Resident:
    """The windows of one side of the split.

    gsr (n, window), eeg (n, rows, window) or None, labels (n, targets): tensors on the device. subject (n,).
    """

    gsr: Tensor
    eeg: Tensor | None
    labels: Tensor
    subject: np.ndarray[Any, np.dtype[np.str_]]

    @classmethod
    def of(cls, windows: WindowSet, device: torch.device) -> "Resident":
        """These windows, copied once to a GPU; on the CPU the tensors are the windows' own arrays: only read them."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
            gsr, labels = torch.from_numpy(windows.gsr), torch.from_numpy(windows.labels)
            eeg = None if windows.eeg is None else torch.from_numpy(windows.eeg)
        return cls(
            gsr=gsr.to(device),
            eeg=None if eeg is None else eeg.to(device),
            labels=labels.to(device),
            subject=windows.subject,
        )

    def indices(self, subjects: Sequence[str]) -> Tensor:
        """Indices of these subjects' windows, int64 on the device."""
        return torch.from_numpy(np.flatnonzero(np.isin(self.subject, list(subjects)))).to(self.gsr.device)


class Means:
    """Running means of named scalars, read from the device once an epoch."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, **values: Tensor) -> None:
        """Take one value of each name."""
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def values(self) -> dict[str, float]:
        """The means so far."""
        return {name: float(total) / self._counts[name] for name, total in self._sums.items()}


def batch_size(wanted: int, available: int) -> int:
    """The batch size wanted, or all windows where there are fewer."""
    if available < 2:
        raise ConfigError("the training subjects give fewer than two windows: add recordings or shorten the hop")
    return min(wanted, available)


def endless_batches(part: Resident, indices: Tensor, size: int) -> Iterator[Batch]:
    """Batches of the windows at `indices`, reshuffled whenever they are used up."""
    assert part.eeg is not None
    while True:
        for picked in batches(indices, min(size, len(indices))):
            yield Batch(part.eeg[picked], part.gsr[picked], part.labels[picked])
