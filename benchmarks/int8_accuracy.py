"""Accuracy of every kind of student and recipe on people that no network was trained on, from sweeps of `ekd-train`.

A sweep trains what is missing. Then each cell's networks are converted by each recipe, calibrated on the cell's
training subjects, and evaluated on its test subjects in the TFLite runtime.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ekd_edge.metrics import Difference, evaluate, paired_difference
from ekd_edge.native_output import quiet
from ekd_export.convert.fold import fold
from ekd_export.convert.tflite import convert
from ekd_export.quantization.quantize import calibration_windows, quantize
from ekd_export.quantization.recipes import RECIPES
from ekd_train.checkpoint import load_weights
from ekd_train.cli.main import main as ekd_train
from ekd_train.config import TrainConfig
from ekd_train.data.source import open_dataset
from ekd_train.data.splits import make_split, sides
from ekd_train.data.windows import WindowSet
from ekd_train.methods import settings_of
from ekd_train.models.student import Student
from ekd_train.sweeps.cell import Cell
from ekd_train.sweeps.plan import SweepPlan
from ekd_train.training.trainer import network_of, training_windows

__all__ = ["STUDIES", "Scores", "Study", "change", "evaluate_study", "mean"]

FOLDER = Path("build/bench/int8")
EPOCHS = ("teacher.epochs=15", "teacher.patience=5", "student.epochs=40", "student.patience=8")
RATES = ("teacher.learning_rate=3e-4", "student.learning_rate=3e-4")
ALL_RECIPES = ("float32", "static", "dynamic", "float16", "static-per-tensor", "static-percentile")
Key = tuple[str, str]
"""(method, recipe)"""
Scores = Mapping[Key, Mapping[str, Mapping[tuple[str, int], float]]]
"""(method, recipe) -> "accuracy" or "macro_f1" -> (subject, seed) -> score."""


@dataclass(frozen=True, slots=True)
class Study:
    """A sweep, and the method of each student. recipes: those that are evaluated for each student."""

    data: str
    target: str
    split: str
    settings: tuple[str, ...]
    methods: tuple[str, ...]
    students: Mapping[str, str]
    recipes: Mapping[str, tuple[str, ...]]


_RECIPES = {"paper": ("float32", "static"), "edge": ALL_RECIPES}
STUDIES = {
    "synthetic": Study(
        data="synthetic?subjects=60&eeg_channels=4",
        target="arousal",
        split="holdout",
        settings=("split.test=0.6", "split.validation=0.15"),
        methods=("teacher", "kd", "kd-edge"),
        students={"paper": "kd", "edge": "kd-edge"},
        recipes=_RECIPES,
    ),
    "stress_predict": Study(
        data="recordings:{stress}",
        target="stress",
        split="k-fold:5",
        settings=("split.validation=0.2", "signal.training_hop_s=16"),
        methods=("student", "student-edge"),
        students={"paper": "student", "edge": "student-edge"},
        recipes={kind: recipes[:2] for kind, recipes in _RECIPES.items()},
    ),
}


def evaluate_study(name: str, stress: str, seeds: int, workers: int) -> Scores:
    """Train the missing parts of a study, and evaluate every student of every cell by every recipe."""
    study, folder = STUDIES[name], FOLDER / name
    chosen = (*EPOCHS, *RATES, *study.settings)
    settings = [part for setting in chosen for part in ("--set", setting)]
    arguments = [
        "sweep", "--preset", "paper-16hz", "--data", study.data.format(stress=stress), "--target", study.target,
        "--split", study.split, "--seeds", str(seeds), "--methods", ",".join(study.methods), "--device", "cpu",
        "--workers", str(workers), "--threads", "1", *settings, "--out", str(folder),
    ]  # fmt: skip
    if ekd_train(arguments):
        raise SystemExit(f"the sweep {name} failed")
    plan = SweepPlan.load(folder)
    source = open_dataset(plan.config.data)
    windows = training_windows(source, plan.cells()[0].configure(plan.config))
    scores: dict[Key, dict[str, dict[tuple[str, int], float]]] = {}
    for cell in plan.cells():
        for key, found in _evaluate_cell(study, cell, folder / "cells" / cell.name, plan.config, windows).items():
            for score, by_subject in found.items():
                kept = scores.setdefault(key, {}).setdefault(score, {})
                kept.update({(subject, cell.seed): value for subject, value in by_subject.items()})
    return scores


def mean(scores: Mapping[tuple[str, int], float]) -> float:
    """Return the mean over subjects. The scores of a subject are averaged over seeds first."""
    return float(np.mean(list(_by_subject(scores).values())))


def change(first: Mapping[tuple[str, int], float], second: Mapping[tuple[str, int], float]) -> Difference:
    """Return second minus first, paired over subjects. The scores of a subject are averaged over seeds first."""
    return paired_difference(_by_subject(first), _by_subject(second))


def _by_subject(scores: Mapping[tuple[str, int], float]) -> dict[str, float]:
    subjects = sorted({subject for subject, _ in scores})
    return {name: float(np.mean([v for (subject, _), v in scores.items() if subject == name])) for name in subjects}


def _evaluate_cell(
    study: Study, cell: Cell, folder: Path, config: TrainConfig, windows: WindowSet
) -> dict[Key, dict[str, dict[str, float]]]:
    configured = cell.configure(config)
    found = sides(make_split(configured.split, configured.seed, windows.subjects), windows)
    train, test = windows.select(found.train), windows.select(found.test)
    calibration = calibration_windows(train, configured.seed)
    results = {}
    for kind, method in study.students.items():
        own = settings_of(method, configured)
        student = Student(network_of(windows, own))
        load_weights(folder / f"{method}.safetensors", student)
        student.eval()
        for recipe in study.recipes[kind]:
            logits = _logits(student, recipe, calibration, test.gsr)
            (scores,) = evaluate(windows.targets, test.labels, test.subject, logits).targets
            results[kind, recipe] = {
                "accuracy": {each.subject: each.accuracy for each in scores.subjects},
                "macro_f1": {each.subject: each.macro_f1 for each in scores.subjects},
            }
    return results


def _logits(
    student: Student, name: str, calibration: NDArray[np.float32], windows: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the logits (n, targets, classes) of the recipe's flatbuffer in LiteRT."""
    recipe = RECIPES[name]
    converted = convert(fold(student, integer=recipe.kind == "int8"), windows.shape[1])
    with quiet():
        from ai_edge_litert.interpreter import Interpreter

        model = Interpreter(model_content=quantize(converted, recipe, calibration), num_threads=1)
        model.allocate_tensors()
    (source,), (result,) = model.get_input_details(), model.get_output_details()
    rows = []
    for window in windows:
        model.set_tensor(source["index"], _stored(window[None], source))
        model.invoke()
        rows.append(_real(model.get_tensor(result["index"]), result))
    config = student.config
    logits: NDArray[np.float32] = np.concatenate(rows).reshape(len(windows), len(config.targets), config.classes)
    return logits


def _stored(values: NDArray[np.float32], about: Mapping[str, object]) -> NDArray[np.generic]:
    if about["dtype"] is not np.int8:
        return values
    scale, zero_point = about["quantization"]  # type: ignore[misc]
    return np.clip(np.rint(values / scale) + zero_point, -128, 127).astype(np.int8)


def _real(values: NDArray[np.generic], about: Mapping[str, object]) -> NDArray[np.float32]:
    if about["dtype"] is not np.int8:
        return values.astype(np.float32)
    scale, zero_point = about["quantization"]  # type: ignore[misc]
    return (values.astype(np.float32) - zero_point) * np.float32(scale)


def noninferior(difference: Difference, margin: float) -> bool:
    """Return whether the whole 95 % interval is above -margin."""
    return difference.low is not None and difference.low > -margin


def in_points(difference: Difference) -> Sequence[str]:
    """Return mean and interval in points as text."""
    low, high = difference.low, difference.high
    interval = "" if low is None or high is None else f"{100 * low:+.2f} to {100 * high:+.2f}"
    return f"{100 * difference.mean:+.2f}", interval
