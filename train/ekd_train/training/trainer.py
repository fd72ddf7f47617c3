"""Training runs: start, train the teacher, train the student, evaluate each once on the test windows."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ekd_edge.atomic_files import lock_folder
from ekd_edge.errors import ConfigError, DataError
from ekd_edge.model.manifest import NormalizationState
from ekd_train.checkpoint import checkpoint_path, load_weights, save_weights
from ekd_train.config import TrainConfig
from ekd_train.data.left_out import count_left_out
from ekd_train.data.source import Source, open_dataset
from ekd_train.data.splits import LEAKY_WARNING, LeakyTrialSplit, Split, SubjectSplit, make_split, parse_split
from ekd_train.data.windows import WindowSet
from ekd_train.feasibility import check_split, check_targets
from ekd_train.models.config import NetworkConfig
from ekd_train.models.student import Student
from ekd_train.models.teacher import Teacher
from ekd_train.process_tuning import keep_freed_memory
from ekd_train.run import STUDENT_FILE, TEACHER_FILE, Run, create_run, default_run_path, refuse_existing
from ekd_train.training.device import Resident, pick_device
from ekd_train.training.evaluation import evaluate_on_test
from ekd_train.training.loop import Fitted, RunReporter, SilentReporter
from ekd_train.training.partitions import TestData, TrainingData, partition, with_states
from ekd_train.training.stages import train_student, train_teacher

__all__ = ["Training", "network_of", "other_state_windows", "resume", "train", "training_windows"]


def training_windows(
    source: Source, config: TrainConfig, progress: Callable[[int, int], None] | None = None, eeg: bool = True
) -> WindowSet:
    """All windows of a source, made by the configuration's signal settings for training.

    progress(done, total): see `Source.windows`. eeg: with EEG, if the source has any.
    """
    signal, device = config.signal, config.signal.gsr()
    return source.windows(
        signal.for_training(device),
        signal.for_training(signal.eeg()) if source.has_eeg and eeg else None,
        config.targets,
        config.threshold,
        signal.eeg_features,
        progress=progress,
        high=config.high,
        state=signal.normalization_state,
        keep_bad=signal.keep_bad_windows,
        device_hop_samples=device.hop_samples,
    )


def other_state_windows(source: Source, config: TrainConfig, notify: Callable[[str], None]) -> WindowSet | None:
    """Return all GSR windows in the other state of the normalization than the configuration's.

    None where the normalization has no running mean, and, with a sentence, where there are no such windows.
    """
    signal = config.signal
    if not signal.gsr().normalization.has_running_mean:
        return None
    state: NormalizationState = "restarted" if signal.normalization_state == "carried" else "carried"
    other = dataclasses.replace(config, signal=dataclasses.replace(signal, normalization_state=state))
    notes = list(source.notes)
    try:
        return training_windows(source, other, eeg=False)
    except DataError as error:
        notify(f"the student is not tested with the running mean {state}: {error}")
        return None
    finally:
        source.notes[:] = notes


def network_of(windows: WindowSet, config: TrainConfig) -> NetworkConfig:
    """The shape of the networks for these windows."""
    return NetworkConfig(
        window_samples=windows.gsr.shape[1],
        eeg_rows=1 if windows.eeg is None else windows.eeg.shape[1],
        targets=config.targets,
        **dataclasses.asdict(config.network),
    )


class Training:
    """A run in progress: its windows on the device, and a method for each stage."""

    def __init__(self, run: Run, device: torch.device, reporter: RunReporter, source: Source | None = None) -> None:
        self.run = run
        self.device = device
        self.reporter = reporter
        source = open_dataset(run.source) if source is None else source
        if source.identity != run.identity:
            raise ConfigError(f"{run.source} has changed since {run.path} was started: start a new run")
        self._source = source
        self._partitioned: tuple[TrainingData, TestData] | None = None

    @classmethod
    def begin(cls, config: TrainConfig, path: Path, device: torch.device, reporter: RunReporter) -> "Training":
        """Split the subjects and create the run folder."""
        refuse_existing(path)
        source = open_dataset(config.data)
        check_targets(config, source)
        split = make_split(config.split, config.seed, source.subjects)
        check_split(config, split, source.has_eeg)
        if isinstance(split, LeakyTrialSplit):
            reporter.notify(LEAKY_WARNING)
        windows = _read(source, config, reporter)
        gsr_signal = config.signal.gsr()
        run = create_run(
            path,
            config=config,
            signal=gsr_signal,
            eeg_signal=config.signal.eeg() if source.has_eeg else None,
            network=network_of(windows, config),
            source=config.data,
            identity=source.identity,
            synthetic=source.synthetic,
            split=split,
        )
        kind = "synthetic data" if source.synthetic else source.name
        shape = f"windows of {gsr_signal.window_s:g} s at {float(gsr_signal.rate_hz):g} Hz"
        reporter.notify(f"{kind}: {_sizes(split)}, {shape} -> {path}")
        training = cls(run, device, reporter, source)
        training._partition(windows)
        return training

    def train_teacher(self) -> None:
        """Train the teacher, unless the run already has one or the data has no EEG."""
        if not self.run.has_eeg:
            self.reporter.notify("the data has no EEG, so the student is trained from the labels without a teacher")
            return
        if self._has("teacher"):
            return
        training_data, test_data = self._data()
        teacher, (fitted,) = train_teacher(
            training_data, self.run.network, self.run.config, self.run.path, self.reporter
        )
        assert isinstance(teacher, Teacher)
        save_weights(self.run.path / TEACHER_FILE, teacher)
        self._finish("teacher", fitted, evaluate_on_test(teacher, test_data))

    def train_student(self) -> None:
        """Distill the student, with adaptive feedback if `feedback.every` is above 0."""
        if self._has("student"):
            raise ConfigError(f"{self.run.path} is finished, it has a student: start a new run in another folder")
        training_data, test_data = self._data()
        teachers = [self._teacher()] if self.run.has_eeg else []
        run = self.run
        student, (fitted,) = train_student(training_data, run.network, run.config, teachers, run.path, self.reporter)
        assert isinstance(student, Student)
        if isinstance(run.split, SubjectSplit):
            other = other_state_windows(self._source, run.config, self.reporter.notify)
            test_data = with_states(test_data, run.split, run.config.signal.normalization_state, other)
        save_weights(run.path / STUDENT_FILE, student)
        self._finish("student", fitted, evaluate_on_test(student, test_data))

    def _data(self) -> tuple[TrainingData, TestData]:
        if self._partitioned is None:
            if isinstance(self.run.split, LeakyTrialSplit):
                self.reporter.notify(LEAKY_WARNING)
            self._partition(_read(self._source, self.run.config, self.reporter))
        assert self._partitioned is not None
        return self._partitioned

    def _partition(self, windows: WindowSet) -> None:
        run, pool = self.run, Resident.of(windows, self.device)
        self._partitioned = partition(windows, pool, run.split, run.config.split.rated, run.config.seed)
        quality = {"keep_bad_windows": run.config.signal.keep_bad_windows, "sides": count_left_out(run.split, windows)}
        if run.results.get("signal_quality") != quality:
            self.run = run.with_results(signal_quality=quality)

    def _teacher(self) -> Teacher:
        path = self.run.path / TEACHER_FILE
        if not path.is_file():
            raise ConfigError(f"{self.run.path} has no teacher yet: ekd-train --resume {self.run.path} trains it")
        teacher = Teacher(self.run.network).to(self.device)
        load_weights(path, teacher)
        return teacher

    def _has(self, name: str) -> bool:
        """Whether a stage is finished: weights are written first, then the result; the checkpoint is deleted last."""
        finished = name in self.run.results
        if finished:
            checkpoint_path(self.run.path, name).unlink(missing_ok=True)
        return finished

    def _finish(self, name: str, fitted: Fitted, test: dict[str, Any]) -> None:
        result = {"best_epoch": fitted.best.epoch, "validation": dict(fitted.best.validation), "test": test}
        self.run = self.run.with_results(**{name: result})
        checkpoint_path(self.run.path, name).unlink(missing_ok=True)


def _read(source: Source, config: TrainConfig, reporter: RunReporter) -> WindowSet:
    """Read the windows with progress, then report the notes about them."""
    windows = training_windows(source, config, reporter.reading)
    for note in source.notes:
        reporter.notify(note)
    return windows


def _sizes(split: Split) -> str:
    if isinstance(split, SubjectSplit):
        return f"{len(split.train)} training, {len(split.validation)} validation and {len(split.test)} test subjects"
    return f"fold {split.fold + 1} of {split.folds} of the trials of {len(split.subjects)} subjects"


def train(
    config: TrainConfig,
    data: str | None = None,
    out: Path | str | None = None,
    *,
    targets: Sequence[str] | None = None,
    split: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    reporter: RunReporter | None = None,
    teacher: bool = True,
    student: bool = True,
) -> Run:
    """Train a teacher and distill its student in a new run folder.

    Args:
        config: the settings, such as of `load_preset("edge")`.
        data: the dataset, such as "recordings:mine"; None for the configuration's.
        out: the run folder; None for runs/TIME-run.
        targets: the ratings to predict; None for the configuration's.
        split: "holdout", "leave-one-out", "k-fold:K" or "trial-leaky"; None for the configuration's.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads; None for all cores.
        reporter: shows progress; None for silence.
        teacher, student: which stages to train.

    Returns:
        The run, with `results` and `path`.

    Raises:
        EkdError: the data cannot be used, a setting does not fit it, or the folder holds a run already.
    """
    keep_freed_memory()
    config = dataclasses.replace(
        config,
        data=config.data if data is None else data,
        targets=config.targets if targets is None else tuple(targets),
        split=config.split if split is None else dataclasses.replace(config.split, **parse_split(split)),
    )
    training = Training.begin(
        config,
        Path(out) if out is not None else default_run_path("run"),
        pick_device(device, threads),
        SilentReporter() if reporter is None else reporter,
    )
    return _finish(training, teacher, student)


def resume(
    path: Path | str,
    changes: Sequence[str] = (),
    *,
    device: str = "auto",
    threads: int | None = None,
    reporter: RunReporter | None = None,
    teacher: bool = True,
) -> Run:
    """Continue a run to its student, from the last finished epoch.

    Args:
        path: the run folder.
        changes: `key=value` changes of stages that have not begun.
        device, threads, reporter: as for `train`.
        teacher: train the teacher where it is missing; False requires it.

    Returns:
        The run, with `results` and `path`.

    Raises:
        EkdError: the folder holds no run, its data has changed, or a change concerns a finished stage.
    """
    keep_freed_memory()
    chosen = pick_device(device, threads)
    run = Run.load(Path(path))
    if changes:
        run = run.with_config(run.config.override(changes))
    training = Training(run, chosen, SilentReporter() if reporter is None else reporter)
    return _finish(training, teacher, student=True)


def _finish(training: Training, teacher: bool, student: bool) -> Run:
    with lock_folder(training.run.path, "ekd-train"):
        if teacher:
            training.train_teacher()
        if student:
            training.train_student()
    return training.run
