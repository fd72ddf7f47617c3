"""The unit of a sweep: all methods that share one target, seed and fold, hence one teacher and one set of windows.

A cell's folder holds, for every finished method, METHOD.json (how it went, and its scores on the test subjects) and
METHOD.safetensors (its weights). A cell that was cut short goes on from its methods and epochs.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ekd_train.checkpoint import load_weights, save_weights, write_json
from ekd_train.config import TrainConfig
from ekd_train.data.source import parse_source
from ekd_train.data.splits import make_split
from ekd_train.data.windows import WindowSet
from ekd_train.device import Resident, pick_device
from ekd_train.exam import examine
from ekd_train.loop import EpochRecord, Fitted, checkpoint_path
from ekd_train.methods import METHODS, choose_methods, settings_of
from ekd_train.network import NetworkConfig
from ekd_train.sides import Exam, Learning, divide
from ekd_train.stages import network_of, training_windows
from ekd_train.student import Student
from ekd_train.teacher import Teacher
from ekd_train.teaching import distil, teach

__all__ = ["FORMAT", "Cell", "run_cell"]

FORMAT = 1


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """Which target, seed and fold."""

    target: str
    seed: int
    fold: int

    @property
    def name(self) -> str:
        """Such as "arousal-seed0-fold03"."""
        return f"{self.target}-seed{self.seed}-fold{self.fold:02d}"

    def settle(self, config: TrainConfig) -> TrainConfig:
        """The configuration of this cell."""
        return replace(config, targets=(self.target,), seed=self.seed, split=replace(config.split, fold=self.fold))


def run_cell(
    config: TrainConfig,
    cell: Cell,
    methods: Sequence[str],
    folder: Path,
    device: str = "auto",
    threads: int | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> None:
    """Train and test what is missing in `folder` of these methods.

    tell: gets a line such as "kd epoch 3/30" after every epoch. Raises EkdError for foreseeable faults.
    """
    if all((folder / f"{name}.json").is_file() for name in methods):
        return
    where = pick_device(device, threads)
    config = cell.settle(config)
    learning, exam, network = _prepare(config, where)
    methods = choose_methods(methods, config, learning.train.has_eeg)
    folder.mkdir(parents=True, exist_ok=True)
    room = _Room(config, cell, folder, learning, exam, network, _Teller(tell))
    for name in methods:
        if not (folder / f"{name}.json").is_file():
            room.run(name)


@dataclass(frozen=True, slots=True)
class _Room:
    config: TrainConfig
    cell: Cell
    folder: Path
    learning: Learning
    exam: Exam
    network: NetworkConfig
    reporter: "_Teller"

    def run(self, name: str) -> None:
        started = time.monotonic()
        trained: Teacher | Student
        if name == "teacher":
            trained, fitted = teach(self.learning, self.network, self.config, self.folder, self.reporter)
        else:
            config, taught_by = settings_of(name, self.config), METHODS[name].taught_by
            teacher = None if taught_by == "nobody" else self._trained(taught_by)
            started = time.monotonic()
            trained, fitted = distil(self.learning, self.network, config, teacher, self.folder, self.reporter, name)
        save_weights(self.folder / f"{name}.safetensors", trained)
        write_json(self.folder / f"{name}.json", self._result(name, fitted, examine(trained, self.exam), started))
        checkpoint_path(self.folder, name).unlink(missing_ok=True)

    def _trained(self, name: str) -> Teacher | Student:
        """The network that another method left, trained first where it is missing."""
        path = self.folder / f"{name}.safetensors"
        if not path.is_file():
            self.run(name)
        network = Teacher(self.network) if name == "teacher" else Student(self.network)
        load_weights(path, network)
        return network.to(self.learning.train.device)

    def _result(self, name: str, fitted: Fitted, test: dict[str, Any], started: float) -> dict[str, Any]:
        (target,) = test.pop("targets").values()
        return {
            "format": FORMAT,
            "method": name,
            **dataclasses.asdict(self.cell),
            "leaky": self.exam.leaky,
            "best_epoch": fitted.best.epoch,
            "epochs": len(fitted.history),
            "history": [
                {"epoch": r.epoch, "losses": dict(r.losses), "validation": dict(r.validation)} for r in fitted.history
            ],
            "test": {**test, "subjects": target["subjects"]},
            "seconds": round(time.monotonic() - started, 3),
        }


@functools.lru_cache(maxsize=1)
def _windows(config: TrainConfig, device: torch.device) -> tuple[tuple[str, ...], WindowSet, Resident]:
    """Subjects and windows of a configuration without seed and fold, kept from cell to cell."""
    source = parse_source(config.data)
    windows = training_windows(source, config)
    return source.subjects, windows, Resident.of(windows, device)


def _prepare(config: TrainConfig, device: torch.device) -> tuple[Learning, Exam, NetworkConfig]:
    base = TrainConfig(data=config.data, targets=config.targets, threshold=config.threshold, signal=config.signal)
    subjects, windows, pool = _windows(base, device)
    split = make_split(config.split, config.seed, subjects)
    learning, exam = divide(windows, pool, split, config.split.rated, config.seed)
    return learning, exam, network_of(windows, config)


@dataclass(frozen=True, slots=True)
class _Teller:
    """Implements `loop.Reporter` as lines of text."""

    tell: Callable[[str], None]

    def start(self, stage: str, epochs: int, done: int, batches_per_epoch: int) -> None:
        self.tell(f"{stage} epoch {done}/{epochs}")

    def batch(self) -> None:
        pass

    def epoch(self, record: EpochRecord) -> None:
        self.tell(f"{record.stage} epoch {record.epoch + 1}, validation accuracy {record.validation['accuracy']:.1%}")
