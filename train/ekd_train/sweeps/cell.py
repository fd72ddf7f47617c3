"""The unit of work of a sweep: target, seed and fold. Importable without torch."""

from dataclasses import dataclass, replace

from ekd_train.config import TrainConfig

__all__ = ["Cell"]


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """A target, a seed and a fold."""

    target: str
    seed: int
    fold: int

    @property
    def name(self) -> str:
        """The cell's name, such as "arousal-seed0-fold03"."""
        return f"{self.target}-seed{self.seed}-fold{self.fold:02d}"

    def configure(self, config: TrainConfig) -> TrainConfig:
        """Return the configuration of this cell."""
        return replace(config, targets=(self.target,), seed=self.seed, split=replace(config.split, fold=self.fold))
