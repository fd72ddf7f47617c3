"""Read the folder of a sweep, finished or not: the results, and the names of missing and damaged ones."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ekd_edge.errors import ConfigError, DataError
from ekd_edge.metrics import accuracy, macro_f1

__all__ = [
    "Cell",
    "Confusion",
    "Damage",
    "Epoch",
    "Plan",
    "StateScores",
    "SubjectResult",
    "Sweep",
    "read_sweep",
    "scores_of",
]

FORMAT = 1
LEAKY = "trial-leaky"
SUBJECT_WISE_FOLDS = ("leave-one-out", "k-fold")
ROUNDING = 1e-4

Confusion = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Plan:
    """The content of sweep.json: which results the sweep has when finished. `about` holds its other fields."""

    config: Mapping[str, Any]
    data: str
    dataset: str
    identity: str
    synthetic: bool
    targets: tuple[str, ...]
    seeds: tuple[int, ...]
    folds: int
    split: str
    methods: tuple[str, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def leaky(self) -> bool:
        """Whether the same people are in training and test."""
        return LEAKY in self.split

    def results(self) -> list[tuple[str, int, int, str]]:
        """(target, seed, fold, method) of every result of the finished sweep."""
        return [
            (target, seed, fold, method)
            for target in self.targets
            for seed in self.seeds
            for fold in range(self.folds)
            for method in self.methods
        ]


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of training: mean losses by name, and loss, accuracy and macro_f1 on the validation subjects."""

    epoch: int
    losses: Mapping[str, float]
    validation: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SubjectResult:
    """A test subject's windows by class: confusion[true][predicted]."""

    subject: str
    confusion: Confusion


@dataclass(frozen=True, slots=True)
class StateScores:
    """Means over a cell's test subjects in one state of the normalization."""

    accuracy: float
    macro_f1: float
    subjects: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One method trained and tested once.

    loss: on the test windows; it may be infinite or NaN. states: mean scores by state of the normalization.
    left_out: by side, numbers of windows and of those left out for signal quality, None where all were kept. Cells of
    earlier versions have neither.
    """

    target: str
    seed: int
    fold: int
    method: str
    best_epoch: int
    seconds: float
    loss: float
    history: tuple[Epoch, ...]
    subjects: tuple[SubjectResult, ...]
    states: Mapping[str, StateScores] = field(default_factory=dict)
    left_out: Mapping[str, Mapping[str, int]] | None = None


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that cannot be used, and the reason."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep's plan, its results, and the files that are missing, damaged or not in the plan."""

    plan: Plan
    cells: tuple[Cell, ...]
    missing: tuple[str, ...]
    damaged: tuple[Damage, ...]
    foreign: tuple[str, ...]


@lru_cache(maxsize=1 << 16)
def scores_of(confusion: Confusion) -> tuple[float, float]:
    """Accuracy and macro-F1 of a confusion matrix with at least one window."""
    counts = np.array(confusion).ravel()
    labels, predicted = np.repeat([0, 0, 1, 1], counts), np.repeat([0, 1, 0, 1], counts)
    return accuracy(labels, predicted), macro_f1(labels, predicted)


def read_sweep(folder: Path) -> Sweep:
    """The current content of a sweep's folder.

    Raises ConfigError if there is no sweep or sweep.json cannot be read, and DataError if results contradict each
    other, so that a comparison would be invalid.
    """
    plan = _read_plan(folder / "sweep.json")
    cells, missing, damaged = [], [], []
    expected = set()
    for target, seed, fold, method in plan.results():
        name = f"cells/{target}-seed{seed}-fold{fold:02d}/{method}.json"
        expected.add(name)
        try:
            cells.append(_read_cell(folder / name, target, seed, fold, method, plan.leaky))
        except FileNotFoundError:
            missing.append(name)
        except ValueError as error:
            damaged.append(Damage(name, str(error)))
    found = {file.relative_to(folder).as_posix() for file in folder.glob("cells/*/*.json")}
    _check_consistency(plan, cells)
    return Sweep(plan, tuple(cells), tuple(missing), tuple(damaged), tuple(sorted(found - expected)))


def _read_plan(path: Path) -> Plan:
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except FileNotFoundError:
        raise ConfigError(f"{path.parent} is not a sweep (no sweep.json): make one with ekd-train sweep") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ConfigError(f"{path} was written by another version of ekd: report it with that one")
    try:
        known = {
            "config": _value(data, "config", dict),
            "data": _value(data, "data", str),
            "dataset": _value(data, "dataset", str),
            "identity": _value(data, "identity", str),
            "synthetic": _value(data, "synthetic", bool),
            "targets": _names(data, "targets"),
            "seeds": tuple(_whole(seed, "a seed") for seed in _value(data, "seeds", list)),
            "folds": _whole(data["folds"], "folds"),
            "split": _value(data, "split", str),
            "methods": _names(data, "methods"),
        }
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{path} is damaged: {_reason(error)}") from error
    return Plan(**known, about={name: data[name] for name in data if name not in known and name != "format"})


def _read_cell(path: Path, target: str, seed: int, fold: int, method: str, leaky: bool) -> Cell:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error}") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot be read: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError("was written by another version of ekd")
    try:
        for name, due in (("target", target), ("seed", seed), ("fold", fold), ("method", method)):
            if data[name] != due:
                raise ValueError(f"says {name} {data[name]!r}")
        if data.get("leaky", leaky) != leaky:
            raise ValueError("was trained with another split: " + ("subject-wise" if leaky else "trial-leaky"))
        test = _value(data, "test", dict)
        subjects = tuple(_subject(entry) for entry in _value(test, "subjects", list))
        names = [subject.subject for subject in subjects]
        if not names or len(set(names)) != len(names):
            raise ValueError("needs every test subject once, and at least one")
        return Cell(
            target=target,
            seed=seed,
            fold=fold,
            method=method,
            best_epoch=_whole(data["best_epoch"], "best_epoch"),
            seconds=_seconds(data["seconds"]),
            loss=_number(test["loss"], "the test loss"),
            history=tuple(_epoch(entry) for entry in _value(data, "history", list)),
            subjects=subjects,
            states={name: _state(entry) for name, entry in test.get("states", {}).items()},
            left_out=_left_out(data.get("signal_quality")),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(_reason(error)) from error


def _epoch(entry: Mapping[str, Any]) -> Epoch:
    validation = _value(entry, "validation", dict)
    return Epoch(
        epoch=_whole(entry["epoch"], "epoch"),
        losses={name: _number(value, name) for name, value in _value(entry, "losses", dict).items()},
        validation={name: _number(validation[name], name) for name in ("loss", "accuracy", "macro_f1")},
    )


def _state(entry: Mapping[str, Any]) -> StateScores:
    accuracy_mean, f1_mean = (_number(entry[name], name) for name in ("accuracy", "macro_f1"))
    return StateScores(accuracy_mean, f1_mean, _whole(entry["subjects"], "subjects"))


def _left_out(entry: Mapping[str, Any] | None) -> Mapping[str, Mapping[str, int]] | None:
    if entry is None or _value(entry, "keep_bad_windows", bool):
        return None
    sides = _value(entry, "sides", dict)
    return {side: {key: _whole(count[key], key) for key in ("left_out", "windows")} for side, count in sides.items()}


def _subject(entry: Mapping[str, Any]) -> SubjectResult:
    subject = _value(entry, "subject", str)
    (tn, fp), (fn, tp) = ([_whole(count, "a count") for count in row] for row in _value(entry, "confusion", list))
    confusion = ((tn, fp), (fn, tp))
    if min(tn, fp, fn, tp) < 0 or not tn + fp + fn + tp or tn + fp + fn + tp != entry["windows"]:
        raise ValueError(f"the confusion matrix of subject {subject} does not add up to its windows")
    stated = (_number(entry["accuracy"], "accuracy"), _number(entry["macro_f1"], "macro_f1"))
    if not np.allclose(stated, scores_of(confusion), rtol=0, atol=ROUNDING):
        raise ValueError(f"the scores of subject {subject} are not those of its confusion matrix")
    return SubjectResult(subject, confusion)


def _check_consistency(plan: Plan, cells: Sequence[Cell]) -> None:
    windows: dict[tuple[str, int, int, str], tuple[int, int]] = {}
    folds: dict[tuple[str, int, str], int] = {}
    for cell in cells:
        for result in cell.subjects:
            classes = (sum(result.confusion[0]), sum(result.confusion[1]))
            if windows.setdefault((cell.target, cell.seed, cell.fold, result.subject), classes) != classes:
                raise DataError(
                    f"the methods of {cell.target}, seed {cell.seed}, fold {cell.fold} were tested on different "
                    f"windows of subject {result.subject}: the folder mixes two sweeps: start a new one"
                )
            fold = folds.setdefault((cell.target, cell.seed, result.subject), cell.fold)
            if fold != cell.fold and plan.split.startswith(SUBJECT_WISE_FOLDS):
                raise DataError(
                    f"subject {result.subject} is tested in folds {fold} and {cell.fold} of {cell.target}, seed "
                    f"{cell.seed}: the folder mixes two sweeps: start a new one"
                )


def _value(data: Mapping[str, Any], name: str, kind: type) -> Any:
    if not isinstance(data[name], kind):
        raise ValueError(f"{name} is not a {kind.__name__}")
    return data[name]


def _names(data: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = _value(data, name, list)
    if not values or not all(isinstance(value, str) for value in values) or len(set(values)) != len(values):
        raise ValueError(f"{name} must name at least one, each once")
    return tuple(values)


def _whole(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} is not a whole number")
    return value


def _number(value: Any, name: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{name} is not a number")
    return float(value)


def _seconds(value: Any) -> float:
    seconds = _number(value, "seconds")
    if not math.isfinite(seconds):
        raise ValueError("seconds is not finite")
    return seconds


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number")


def _reason(error: Exception) -> str:
    return f"has no {error}" if isinstance(error, KeyError) else str(error)
