"""The training device and the windows on it, so that batches need no work on the host."""

import dataclasses
import warnings
from typing import Literal

import torch
from torch import Tensor

from ekd_edge.errors import ConfigError
from ekd_train.data.windows import WindowSet

__all__ = ["Means", "Resident", "arithmetic", "batch_size", "pick_device"]


def pick_device(name: str, threads: int | None = None) -> torch.device:
    """Return the device with this name; "auto" is a GPU if there is one. threads: CPU threads, by default all cores."""
    if threads is not None:
        if threads < 1:
            raise ConfigError("--threads must be at least 1: use --threads 4")
        torch.set_num_threads(threads)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {name} cannot be used here: {str(error).splitlines()[0]}") from error
    return device


def arithmetic(device: torch.device, precision: Literal["float32", "bf16"]) -> torch.autocast:
    """Return the context of one training step in this precision; see `ComputeConfig`.

    Use a new context for each step: autocast caches converted weights until it exits.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


@dataclasses.dataclass(frozen=True, slots=True)
class Resident:
    """Windows on the device: gsr (n, window), eeg (n, rows, window) or None. `partitions.partition` divides them."""

    gsr: Tensor
    eeg: Tensor | None

    @classmethod
    def of(cls, windows: WindowSet, device: torch.device) -> "Resident":
        """Copy the windows to a GPU once. On the CPU the tensors share the windows' arrays, so never write to them."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
            gsr = torch.from_numpy(windows.gsr)
            eeg = None if windows.eeg is None else torch.from_numpy(windows.eeg)
        return cls(
            gsr=gsr.to(device),
            eeg=None if eeg is None else eeg.to(device),
        )


class Means:
    """Running means of named scalars, read from the device once per epoch; values are sums over `share` networks."""

    def __init__(self, share: int = 1) -> None:
        self._share = share
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, **values: Tensor) -> None:
        """Add one value for each name."""
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def values(self) -> dict[str, float]:
        """The means so far."""
        return {name: float(total) / self._counts[name] / self._share for name, total in self._sums.items()}


def batch_size(wanted: int, available: int) -> int:
    """Return the configured batch size, limited to the number of windows."""
    if available < 2:
        raise ConfigError("the training subjects have fewer than two windows: add recordings or shorten signal.hop_s")
    return min(wanted, available)
