"""The unit of a sweep: all methods that share one target, seed and fold, hence one teacher and one set of windows.

A cell's folder holds, for every finished method, METHOD.json (how it went, and its scores on the test subjects) and
METHOD.safetensors (its weights). A cell that was cut short goes on from its methods and epochs. Cells that differ in
nothing but the fold can be trained side by side, as one `Stack`.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ekd_edge.atomic_files import write_json
from ekd_edge.errors import ConfigError
from ekd_train.checkpoint import checkpoint_path, load_weights, save_weights
from ekd_train.config import TrainConfig
from ekd_train.data.source import open_dataset
from ekd_train.data.splits import make_split
from ekd_train.data.windows import WindowSet
from ekd_train.methods import METHODS, choose_methods, settings_of
from ekd_train.models.config import NetworkConfig
from ekd_train.models.stacked import Stack
from ekd_train.models.student import Student
from ekd_train.models.teacher import Teacher
from ekd_train.sweeps.cell import Cell
from ekd_train.training.crossfit import cross_fit
from ekd_train.training.device import Resident, pick_device
from ekd_train.training.evaluation import Taught, examine
from ekd_train.training.loop import EpochRecord, Fitted
from ekd_train.training.partitions import StackedTrainingData, TestData, TrainingData, divide
from ekd_train.training.stages import distil, teach
from ekd_train.training.trainer import network_of, training_windows

__all__ = ["FORMAT", "Cell", "run_cell", "run_stack"]

FORMAT = 1

Tell = Callable[[str], None]


def run_cell(
    config: TrainConfig,
    cell: Cell,
    methods: Sequence[str],
    folder: Path,
    device: str = "auto",
    threads: int | None = None,
    tell: Tell = lambda text: None,
    note: Tell = lambda text: None,
) -> None:
    """Train and test what is missing in `folder` of these methods.

    tell: gets a line such as "kd epoch 3/30" after every epoch. note: gets what is to be known of the data, when they
    are read, which is once for all cells of a process that share them. Raises EkdError for foreseeable faults.
    """
    run_stack(config, [cell], methods, [folder], device, threads, tell, note)


def run_stack(
    config: TrainConfig,
    cells: Sequence[Cell],
    methods: Sequence[str],
    folders: Sequence[Path],
    device: str = "auto",
    threads: int | None = None,
    tell: Tell = lambda text: None,
    note: Tell = lambda text: None,
) -> None:
    """As `run_cell`, for cells that differ in nothing but the fold, trained side by side.

    Several draw other random numbers than each alone. Where one lacks a method, all are trained, but who had a result
    keeps it. What is unfinished is kept in the first cell's folder, and only the same cells together go on from it.
    """
    missing = [name for name in methods if not all((folder / f"{name}.json").is_file() for folder in folders)]
    if not missing:
        return
    if len({(cell.target, cell.seed) for cell in cells}) > 1:
        raise ConfigError("only cells of one target and one seed can be trained side by side")
    where = pick_device(device, threads)
    settled = cells[0].settle(config)
    prepared = [_prepare(cell.settle(config), where, tell, note) for cell in cells]
    learnings = [learning for learning, _, _ in prepared]
    network = prepared[0][2]
    chosen = choose_methods(missing, settled, learnings[0].train.has_eeg)
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    room = _Room(
        config=settled,
        cells=tuple(cells),
        folders=tuple(folders),
        learning=learnings[0] if len(cells) == 1 else StackedTrainingData(learnings),
        exams=tuple(exam for _, exam, _ in prepared),
        network=network,
        reporter=_Teller(tell),
    )
    for name in chosen:
        if not room.has(name):
            room.run(name)


@dataclass(frozen=True, slots=True)
class _Room:
    """Where cells are trained: one, or several side by side."""

    config: TrainConfig
    cells: tuple[Cell, ...]
    folders: tuple[Path, ...]
    learning: TrainingData | StackedTrainingData
    exams: tuple[TestData, ...]
    network: NetworkConfig
    reporter: "_Teller"

    def has(self, name: str) -> bool:
        """Whether a method is finished."""
        return all((folder / f"{name}.json").is_file() for folder in self.folders)

    def run(self, name: str) -> None:
        """Train a method, and test it."""
        here = self.folders[0]
        config, taught_by = settings_of(name, self.config), METHODS[name].taught_by
        network = dataclasses.replace(self.network, **dataclasses.asdict(config.network))
        teachers: Sequence[Taught] = []
        if taught_by == "crossfit":
            teachers = cross_fit(self.learning, self.network, config, here, self.folders, self.reporter)
        elif taught_by != "nobody":
            teachers = self._trained(taught_by)
        started = time.monotonic()
        if name == "teacher":
            trained, fits = teach(self.learning, network, config, here, self.reporter)
        else:
            trained, fits = distil(self.learning, network, config, teachers, here, self.reporter, name)
        members = list(trained.members()) if isinstance(trained, Stack) else [trained]
        seconds = (time.monotonic() - started + fits[0].earlier_s) / len(members)
        trained_each = list(zip(self.cells, self.folders, members, fits, self.exams, strict=True))
        for cell, folder, member, fitted, exam in reversed(trained_each):  # the checkpoint's cell is finished last
            if (folder / f"{name}.json").is_file():
                continue
            save_weights(folder / f"{name}.safetensors", member)
            write_json(folder / f"{name}.json", _result(name, cell, fitted, examine(member, exam), exam, seconds))
        checkpoint_path(here, name).unlink(missing_ok=True)

    def _trained(self, name: str) -> list[Teacher | Student]:
        """The networks that another method left, trained first where one is missing."""
        if not self.has(name):
            self.run(name)
        networks: list[Teacher | Student] = []
        for folder in self.folders:
            network = Teacher(self.network) if name == "teacher" else Student(self.network)
            load_weights(folder / f"{name}.safetensors", network)
            networks.append(network.to(self.learning.train.device))
        return networks


def _result(
    name: str, cell: Cell, fitted: Fitted, test: dict[str, Any], exam: TestData, seconds: float
) -> dict[str, Any]:
    (target,) = test.pop("targets").values()
    return {
        "format": FORMAT,
        "method": name,
        **dataclasses.asdict(cell),
        "leaky": exam.leaky,
        "best_epoch": fitted.best.epoch,
        "epochs": len(fitted.history),
        "history": [
            {"epoch": r.epoch, "losses": dict(r.losses), "validation": dict(r.validation)} for r in fitted.history
        ],
        "test": {**test, "subjects": target["subjects"]},
        "seconds": round(seconds, 3),
    }


_Data = tuple[tuple[str, ...], WindowSet, Resident]
"""Subjects, windows, and windows on the device."""

_kept: dict[tuple[TrainConfig, torch.device], _Data] = {}


def _windows(config: TrainConfig, device: torch.device, tell: Tell, note: Tell) -> _Data:
    """The data of a configuration without seed and fold, kept from cell to cell until other data are asked for."""
    if (config, device) not in _kept:
        _kept.clear()
        source = open_dataset(config.data)
        windows = training_windows(source, config, lambda done, total: tell(f"reading subjects {done}/{total}"))
        for text in source.notes:
            note(text)
        _kept[config, device] = source.subjects, windows, Resident.of(windows, device)
    return _kept[config, device]


def _prepare(
    config: TrainConfig, device: torch.device, tell: Tell, note: Tell
) -> tuple[TrainingData, TestData, NetworkConfig]:
    base = TrainConfig(
        data=config.data, targets=config.targets, threshold=config.threshold, high=config.high, signal=config.signal
    )
    subjects, windows, pool = _windows(base, device, tell, note)
    split = make_split(config.split, config.seed, subjects)
    learning, exam = divide(windows, pool, split, config.split.rated, config.seed)
    return learning, exam, network_of(windows, config)


@dataclass(frozen=True, slots=True)
class _Teller:
    """Implements `loop.Reporter` as lines of text."""

    tell: Tell

    def start(self, stage: str, epochs: int, done: int, batches_per_epoch: int) -> None:
        """A stage begins."""
        self.tell(f"{stage} epoch {done}/{epochs}")

    def batch(self) -> None:
        """One batch is done."""

    def epoch(self, record: EpochRecord) -> None:
        """One epoch is done."""
        self.tell(f"{record.stage} epoch {record.epoch + 1}, validation accuracy {record.validation['accuracy']:.1%}")
