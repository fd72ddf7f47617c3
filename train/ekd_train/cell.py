"""The unit of work of a sweep: everything that shares one teacher and one set of windows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ekd_edge.errors import ConfigError
from ekd_train.config import TrainConfig

__all__ = ["Cell", "run_cell"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One target, one seed, one fold."""

    target: str
    seed: int
    fold: int

    @property
    def name(self) -> str:
        """Its name in folders and messages, such as arousal-seed0-fold03."""
        return f"{self.target}-seed{self.seed}-fold{self.fold:02d}"


def run_cell(
    config: TrainConfig,
    cell: Cell,
    methods: Sequence[str],
    folder: Path,
    device: str,
    threads: int,
    tell: Callable[[str], None],
) -> None:
    """Train what is missing in `folder`; a finished method leaves METHOD.json there."""
    raise ConfigError("the training of a cell is not part of this version")
