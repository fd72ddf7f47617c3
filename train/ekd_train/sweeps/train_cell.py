"""Training of a cell: all methods for one target, seed and fold, with one teacher and one set of windows.

For every finished method, a cell's folder holds METHOD.json (training history and scores on the test subjects) and
METHOD.safetensors (weights). An interrupted cell resumes from its finished methods and epochs. Cells that differ only
in the fold can be trained together as one `Stack`.
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
from ekd_train.data.left_out import count_left_out
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
from ekd_train.training.evaluation import TeacherNetwork, evaluate_on_test
from ekd_train.training.loop import EpochRecord, Fitted
from ekd_train.training.partitions import StackedTrainingData, TestData, TrainingData, partition, with_states
from ekd_train.training.stages import train_student, train_teacher
from ekd_train.training.trainer import network_of, other_state_windows, training_windows

__all__ = ["FORMAT", "Cell", "run_cell", "run_stack"]

FORMAT = 1

Notify = Callable[[str], None]


def run_cell(
    config: TrainConfig,
    cell: Cell,
    methods: Sequence[str],
    folder: Path,
    device: str = "auto",
    threads: int | None = None,
    on_progress: Notify = lambda text: None,
    notify: Notify = lambda text: None,
) -> None:
    """Train and evaluate the methods whose results are missing in `folder`.

    Args:
        config: of the sweep.
        cell: target, seed and fold.
        methods: names of `ekd_train.methods.METHODS`.
        folder: of the cell's results, weights and checkpoints.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads; None for all cores.
        on_progress: takes a line such as "kd epoch 3/30" after every epoch.
        notify: takes notes about the data when it is read: once for all cells of a process that share it.

    Raises:
        EkdError: the data or a setting cannot be used.
    """
    run_stack(config, [cell], methods, [folder], device, threads, on_progress, notify)


def run_stack(
    config: TrainConfig,
    cells: Sequence[Cell],
    methods: Sequence[str],
    folders: Sequence[Path],
    device: str = "auto",
    threads: int | None = None,
    on_progress: Notify = lambda text: None,
    notify: Notify = lambda text: None,
) -> None:
    """Train and evaluate cells that differ only in the fold as one stack; see `run_cell`.

    Stacked cells use other random numbers than a single cell. If one cell lacks a method, all are trained, and a cell
    that has a result keeps it. Checkpoints are in the first cell's folder; only the same cells together resume from
    them.
    """
    missing = [name for name in methods if not all((folder / f"{name}.json").is_file() for folder in folders)]
    if not missing:
        return
    if len({(cell.target, cell.seed) for cell in cells}) > 1:
        raise ConfigError("only cells of one target and one seed can be stacked: leave --stack out")
    where = pick_device(device, threads)
    configured = cells[0].configure(config)
    prepared = [_prepare(cell.configure(config), where, on_progress, notify) for cell in cells]
    training_data = [each.training_data for each in prepared]
    network = prepared[0].network
    chosen = choose_methods(missing, configured, training_data[0].train.has_eeg)
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    trainer = _CellTrainer(
        config=configured,
        cells=tuple(cells),
        folders=tuple(folders),
        training_data=training_data[0] if len(cells) == 1 else StackedTrainingData(training_data),
        test_data=tuple(each.test_data for each in prepared),
        signal_quality=tuple(each.signal_quality for each in prepared),
        network=network,
        reporter=_ProgressLines(on_progress),
    )
    for name in chosen:
        if not trainer.has(name):
            trainer.run(name)


@dataclass(frozen=True, slots=True)
class _CellTrainer:
    """Trains the methods of one cell or of several stacked cells."""

    config: TrainConfig
    cells: tuple[Cell, ...]
    folders: tuple[Path, ...]
    training_data: TrainingData | StackedTrainingData
    test_data: tuple[TestData, ...]
    signal_quality: tuple[dict[str, Any], ...]
    network: NetworkConfig
    reporter: "_ProgressLines"

    def has(self, name: str) -> bool:
        """Whether every cell has the result of a method."""
        return all((folder / f"{name}.json").is_file() for folder in self.folders)

    def run(self, name: str) -> None:
        """Train a method and evaluate it on the test windows."""
        here = self.folders[0]
        config, taught_by = settings_of(name, self.config), METHODS[name].taught_by
        network = dataclasses.replace(self.network, **dataclasses.asdict(config.network))
        teachers: Sequence[TeacherNetwork] = []
        if taught_by == "crossfit":
            teachers = cross_fit(self.training_data, self.network, config, here, self.folders, self.reporter)
        elif taught_by != "none":
            teachers = self._trained(taught_by)
        started = time.monotonic()
        if name == "teacher":
            trained, fits = train_teacher(self.training_data, network, config, here, self.reporter)
        else:
            trained, fits = train_student(self.training_data, network, config, teachers, here, self.reporter, name)
        members = list(trained.members()) if isinstance(trained, Stack) else [trained]
        seconds = (time.monotonic() - started + fits[0].earlier_s) / len(members)
        data = zip(self.test_data, self.signal_quality, strict=True)
        trained_each = list(zip(self.cells, self.folders, members, fits, data, strict=True))
        # the checkpoint's cell is finished last
        for cell, folder, member, fitted, (test_data, quality) in reversed(trained_each):
            if (folder / f"{name}.json").is_file():
                continue
            save_weights(folder / f"{name}.safetensors", member)
            result = _result(name, cell, fitted, evaluate_on_test(member, test_data), test_data, seconds)
            write_json(folder / f"{name}.json", result | {"signal_quality": quality})
        checkpoint_path(here, name).unlink(missing_ok=True)

    def _trained(self, name: str) -> list[Teacher | Student]:
        """The trained networks of another method; it is trained first if its result is missing."""
        if not self.has(name):
            self.run(name)
        networks: list[Teacher | Student] = []
        for folder in self.folders:
            network = Teacher(self.network) if name == "teacher" else Student(self.network)
            load_weights(folder / f"{name}.safetensors", network)
            networks.append(network.to(self.training_data.train.device))
        return networks


def _result(
    name: str, cell: Cell, fitted: Fitted, test: dict[str, Any], test_data: TestData, seconds: float
) -> dict[str, Any]:
    (target,) = test.pop("targets").values()
    return {
        "format": FORMAT,
        "method": name,
        **dataclasses.asdict(cell),
        "leaky": test_data.leaky,
        "best_epoch": fitted.best.epoch,
        "epochs": len(fitted.history),
        "history": [
            {"epoch": r.epoch, "losses": dict(r.losses), "validation": dict(r.validation)} for r in fitted.history
        ],
        "test": {**test, "subjects": target["subjects"]},
        "seconds": round(seconds, 3),
    }


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A cell's data, and the shape of its networks. signal_quality: see `describe_quality`."""

    training_data: TrainingData
    test_data: TestData
    network: NetworkConfig
    signal_quality: dict[str, Any]


_Data = tuple[tuple[str, ...], WindowSet, Resident, WindowSet | None]
"""Subjects, windows, windows on the device, and windows in the other state of the normalization."""

_cached: dict[tuple[TrainConfig, torch.device, bool], _Data] = {}


def _windows(
    config: TrainConfig, device: torch.device, both_states: bool, on_progress: Notify, notify: Notify
) -> _Data:
    """The windows of a configuration without seed and fold, cached for the next cells with the same data."""
    key = config, device, both_states
    if key not in _cached:
        _cached.clear()
        source = open_dataset(config.data)
        windows = training_windows(source, config, lambda done, total: on_progress(f"reading subjects {done}/{total}"))
        for text in source.notes:
            notify(text)
        other = other_state_windows(source, config, notify) if both_states else None
        _cached[key] = source.subjects, windows, Resident.of(windows, device), other
    return _cached[key]


def _prepare(config: TrainConfig, device: torch.device, on_progress: Notify, notify: Notify) -> "_Prepared":
    base = TrainConfig(
        data=config.data, targets=config.targets, threshold=config.threshold, high=config.high, signal=config.signal
    )
    subjects, windows, pool, other = _windows(base, device, config.split.kind != "trial-leaky", on_progress, notify)
    split = make_split(config.split, config.seed, subjects)
    training_data, test_data = partition(windows, pool, split, config.split.rated, config.seed)
    test_data = with_states(test_data, split, config.signal.normalization_state, other)
    quality = {"keep_bad_windows": config.signal.keep_bad_windows, "sides": count_left_out(split, windows)}
    return _Prepared(training_data, test_data, network_of(windows, config), quality)


@dataclass(frozen=True, slots=True)
class _ProgressLines:
    """Implements `loop.Reporter` as lines of text."""

    on_progress: Notify

    def start(self, stage: str, epochs: int, done: int, batches_per_epoch: int) -> None:
        """A stage begins."""
        self.on_progress(f"{stage} epoch {done}/{epochs}")

    def batch(self) -> None:
        """One batch is done."""

    def epoch(self, record: EpochRecord) -> None:
        """One epoch is done."""
        self.on_progress(
            f"{record.stage} epoch {record.epoch + 1}, validation accuracy {record.validation['accuracy']:.1%}"
        )
