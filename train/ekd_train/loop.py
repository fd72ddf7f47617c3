"""The epoch loop that every stage of training shares: seeded, checkpointed, resumable, best epoch kept."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from ekd_train.checkpoint import load_state, save_state
from ekd_train.files import append_line

__all__ = ["EpochRecord", "Reporter", "Stage", "batches", "fit", "seed_of"]

EVALUATION_BATCH = 512


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One finished epoch: mean training losses and the scores on the validation subjects."""

    stage: str
    epoch: int
    losses: Mapping[str, float]
    validation: Mapping[str, float]
    best: bool


class Reporter(Protocol):
    """Whoever shows progress to people."""

    def start(self, stage: str, epochs: int, done: int, batches_per_epoch: int) -> None:
        """A stage begins, or goes on after `done` epochs."""

    def batch(self) -> None:
        """One batch is done."""

    def epoch(self, record: EpochRecord) -> None:
        """One epoch is done."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What the loop needs to know of a stage.

    modules, optimizers: everything whose state a checkpoint must hold, by name.
    keep: the module whose best epoch, by validation macro-F1 then loss, is the stage's result.
    run_epoch: (epoch, on_batch) -> mean losses; draws all randomness from torch's global generator.
    validate: () -> scores, at least "macro_f1" and "loss".
    """

    name: str
    epochs: int
    batches_per_epoch: int
    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    keep: nn.Module
    run_epoch: Callable[[int, Callable[[], None]], Mapping[str, float]]
    validate: Callable[[], Mapping[str, float]]


def seed_of(*parts: object) -> int:
    """A 63-bit seed that depends on every part and on nothing else."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def batches(indices: Tensor, size: int) -> Iterator[Tensor]:
    """The indices in a fresh random order, cut into full batches (the rest is left to the next epoch)."""
    order = indices[torch.randperm(len(indices), device=indices.device)]
    yield from (order[start : start + size] for start in range(0, len(order) - size + 1, size))


def fit(stage: Stage, folder: Path, seed: int, reporter: Reporter) -> EpochRecord:
    """Run a stage to its end, or on from its checkpoint, and load the best epoch into `stage.keep`.

    Every epoch starts from its own seed, so a resumed run takes the same path as an uninterrupted one.
    Returns the record of the best epoch.
    """
    checkpoint = folder / f"checkpoint-{stage.name}.safetensors"
    history: list[EpochRecord] = []
    best: dict[str, Tensor] = {}
    if checkpoint.is_file():
        best, meta = load_state(checkpoint, stage.modules, stage.optimizers)
        history = [EpochRecord(**record) for record in meta["history"]]
    reporter.start(stage.name, stage.epochs, len(history), stage.batches_per_epoch)
    for epoch in range(len(history), stage.epochs):
        torch.manual_seed(seed_of(seed, stage.name, epoch))
        losses = stage.run_epoch(epoch, reporter.batch)
        validation = stage.validate()
        better = not history or _rank(validation) > max(_rank(record.validation) for record in history)
        record = EpochRecord(stage.name, epoch, dict(losses), dict(validation), better)
        history.append(record)
        if better:
            best = {name: tensor.detach().clone() for name, tensor in stage.keep.state_dict().items()}
        save_state(checkpoint, stage.modules, stage.optimizers, best, {"history": [asdict(item) for item in history]})
        append_line(folder / "metrics.jsonl", json.dumps(asdict(record)))
        reporter.epoch(record)
    stage.keep.load_state_dict(best)
    return max(history, key=lambda record: _rank(record.validation))


def _rank(validation: Mapping[str, float]) -> tuple[float, float]:
    return validation["macro_f1"], -validation["loss"]
