"""The epoch loop that every stage of training shares: seeded, checkpointed, resumable, best epoch kept."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from ekd_edge.atomic_files import append_line
from ekd_train.checkpoint import checkpoint_path, load_meta, load_state, save_state
from ekd_train.settings.sections import EpochScore

__all__ = ["EpochRecord", "Fitted", "Reporter", "RunReporter", "SilentReporter", "Stage", "fit", "seed_of"]

METRICS = "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One finished epoch: mean training losses and the scores on the validation subjects."""

    stage: str
    epoch: int
    losses: Mapping[str, float]
    validation: Mapping[str, float]
    best: bool


class Reporter(Protocol):
    """Shows the progress of one stage."""

    def start(self, stage: str, epochs: int, done: int, batches_per_epoch: int) -> None:
        """A stage begins, or resumes after `done` epochs."""

    def batch(self) -> None:
        """One batch is done."""

    def epoch(self, record: EpochRecord) -> None:
        """One epoch is done."""


class RunReporter(Reporter, Protocol):
    """Shows the progress of a whole run: reading, then each stage."""

    def notify(self, text: str) -> None:
        """Show a message that stays visible."""

    def reading(self, done: int, total: int) -> None:
        """`done` of `total` subjects have been read and converted."""


class SilentReporter:
    """A RunReporter that shows nothing."""

    def notify(self, text: str) -> None:
        """Drop the message."""

    def reading(self, done: int, total: int) -> None:
        """Show nothing."""

    def start(self, stage: str, epochs: int, done: int, batches_per_epoch: int) -> None:
        """Show nothing."""

    def batch(self) -> None:
        """Show nothing."""

    def epoch(self, record: EpochRecord) -> None:
        """Show nothing."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of training, as the epoch loop runs it.

    name: of the checkpoint and in reports. stream: name of the random stream; stages of the same stream draw the same
        batches and dropout masks as long as they make the same draws.
    identity: hash of everything that the weights depend on; a checkpoint with another identity is ignored.
    modules, optimizers: everything with state that a checkpoint must hold, by name.
    keep: the module whose best epoch, by `choose_by`, is the stage's result.
    run_epoch: (epoch, on_batch) -> mean losses; draws all randomness from torch's global generator.
    validate: () -> scores of each trained network, at least "macro_f1" and "loss".
    patience: epochs without a better score after which the stage ends early; 0 means never.
    choose_by: the validation score of the best epoch: the highest macro-F1 (then the lowest loss), or the lowest loss.
    """

    name: str
    stream: str
    identity: str
    epochs: int
    batches_per_epoch: int
    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    keep: nn.Module
    run_epoch: Callable[[int, Callable[[], None]], Mapping[str, float]]
    validate: Callable[[], Sequence[Mapping[str, float]]]
    patience: int = 0
    choose_by: EpochScore = "macro_f1"


def seed_of(*parts: object) -> int:
    """A 63-bit seed that depends on all parts and nothing else."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


@dataclass(frozen=True, slots=True)
class Fitted:
    """The result of a stage: its best epoch, with weights in `Stage.keep`, and all epochs.

    earlier_s: seconds spent on epochs that an earlier process finished.
    """

    best: EpochRecord
    history: tuple[EpochRecord, ...]
    earlier_s: float


def fit(stage: Stage, folder: Path, seed: int, reporter: Reporter) -> tuple[Fitted, ...]:
    """Run a stage to its end, from its checkpoint if there is one, and load the best epoch into `stage.keep`.

    A checkpoint with another identity is ignored and overwritten after the first epoch. Every epoch starts from its
    own seed, so a resumed run gives the same weights as an uninterrupted one.

    Args:
        stage: what to train.
        folder: of the checkpoint and of metrics.jsonl.
        seed: of the run.
        reporter: shows progress.

    Returns:
        The result of each trained network: one, or one for each member of a stack.
    """
    checkpoint = checkpoint_path(folder, stage.name)
    histories: list[list[EpochRecord]] = []
    best: dict[str, Tensor] = {}
    started, earlier_s = time.monotonic(), 0.0
    if checkpoint.is_file() and load_meta(checkpoint).get("identity") == stage.identity:
        best, meta = load_state(checkpoint, stage.modules, stage.optimizers)
        histories = [[EpochRecord(**record) for record in history] for history in meta["histories"]]
        earlier_s = meta.get("seconds", 0.0)
        _complete(folder / METRICS, histories)
    done = max(map(len, histories), default=0)
    reporter.start(stage.name, stage.epochs, done, stage.batches_per_epoch)
    for epoch in range(done, stage.epochs):
        if histories and all(_is_over(stage, history, epoch) for history in histories):
            break
        torch.manual_seed(seed_of(seed, stage.stream, epoch))
        losses = stage.run_epoch(epoch, reporter.batch)
        scores = stage.validate()
        histories = histories or [[] for _ in scores]
        new_records = []
        for number, (history, validation) in enumerate(zip(histories, scores, strict=True)):
            if _is_over(stage, history, epoch):
                continue
            rank = _rank(validation, stage.choose_by)
            better = not history or rank > _rank(_best(history).validation, stage.choose_by)
            history.append(EpochRecord(stage.name, epoch, dict(losses), dict(validation), better))
            new_records.append(history[-1])
            if better:
                _keep(best, stage.keep, number if len(histories) > 1 else None)
        meta = {
            "identity": stage.identity,
            "seconds": earlier_s + time.monotonic() - started,
            "histories": [[asdict(record) for record in history] for history in histories],
        }
        save_state(checkpoint, stage.modules, stage.optimizers, best, meta)
        for record in new_records:
            append_line(folder / METRICS, json.dumps(asdict(record)))
            reporter.epoch(record)
    stage.keep.load_state_dict(best)
    return tuple(Fitted(_best(history), tuple(history), earlier_s) for history in histories)


def _complete(metrics: Path, histories: Sequence[Sequence[EpochRecord]]) -> None:
    """Add missing lines of the last epoch, if the process ended between its checkpoint and these lines."""
    written = set(metrics.read_text(encoding="utf-8").splitlines()) if metrics.is_file() else set()
    for line in (json.dumps(asdict(history[-1])) for history in histories):
        if line not in written:
            append_line(metrics, line)


def _is_over(stage: Stage, history: Sequence[EpochRecord], epoch: int) -> bool:
    return bool(stage.patience and history and epoch - _best(history).epoch > stage.patience)


def _keep(best: dict[str, Tensor], network: nn.Module, member: int | None) -> None:
    """Copy the current weights of one member of a stack, or of the whole network, into `best`."""
    for name, tensor in network.state_dict().items():
        if member is None or name not in best:
            best[name] = tensor.detach().clone()
        else:
            best[name][member] = tensor[member].detach()


def _best(history: Sequence[EpochRecord]) -> EpochRecord:
    return next(record for record in reversed(history) if record.best)


def _rank(validation: Mapping[str, float], choose_by: EpochScore) -> tuple[float, float]:
    loss = -math.inf if math.isnan(validation["loss"]) else -validation["loss"]
    return (validation["macro_f1"], loss) if choose_by == "macro_f1" else (loss, 0.0)
