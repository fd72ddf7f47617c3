"""Synthetic sweep folders with subjects, effects of methods, and training noise."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ekd_train.config import load_preset
from ekd_train.report.collect import Confusion, scores_of

GAINS = {
    "teacher": 0.10,
    "student": 0.0,
    "label-smoothing": 0.001,
    "self-distillation": 0.002,
    "kd": 0.02,
    "kd-joint": 0.02,
    "kd-feedback": 0.022,
}


def subject_entry(subject: str, confusion: Confusion) -> dict[str, Any]:
    accuracy, macro_f1 = scores_of(confusion)
    windows = sum(map(sum, confusion))
    return {
        "subject": subject,
        "windows": windows,
        "accuracy": accuracy,
        "macro_f1": macro_f1,
        "confusion": [list(row) for row in confusion],
    }


def cell_entry(
    method: str, target: str, seed: int, fold: int, subjects: list[dict[str, Any]], epochs: int = 3
) -> dict[str, Any]:
    chance = np.random.default_rng([len(method), seed, fold])
    accuracy = float(np.mean([subject["accuracy"] for subject in subjects]))
    history = []
    for epoch in range(epochs):
        learned = 1 - np.exp(-(epoch + 1) / (epochs / 4))
        score = float(0.5 + (accuracy - 0.5) * learned + chance.normal(0, 0.012))
        loss = float(0.7 - 0.25 * learned + 0.1 * (epoch / epochs) ** 2 + chance.normal(0, 0.01))
        losses = {"hard": float(0.7 - 0.35 * learned + chance.normal(0, 0.004))}
        if method.startswith("kd"):
            losses |= {"soft": 0.1 * float(1 - learned), "feature": 0.4 * float(1 - learned / 2)}
        history.append(
            {
                "epoch": epoch,
                "losses": losses,
                "validation": {"loss": loss, "accuracy": score, "macro_f1": score - 0.01},
            }
        )
    best = max(range(epochs), key=lambda epoch: history[epoch]["validation"]["macro_f1"])
    return {
        "format": 1,
        "method": method,
        "target": target,
        "seed": seed,
        "fold": fold,
        "best_epoch": best,
        "epochs": epochs,
        "history": history,
        "test": {
            "loss": 0.6,
            "accuracy": accuracy,
            "macro_f1": float(np.mean([subject["macro_f1"] for subject in subjects])),
            "subjects": subjects,
        },
        "seconds": 10.0 + len(method) + fold / 8,
    }


def plan_entry(**changes: Any) -> dict[str, Any]:
    return {
        "format": 1,
        "config": load_preset("paper").to_json(),
        "data": "deap:/data/DEAP",
        "dataset": "deap",
        "synthetic": False,
        "identity": "deap-3f2a",
        "targets": ["arousal"],
        "seeds": [0, 1],
        "folds": 4,
        "split": "k-fold:4",
        "methods": ["teacher", "student", "kd", "kd-feedback"],
    } | changes


def cell_path(folder: Path, target: str, seed: int, fold: int, method: str) -> Path:
    return folder / "cells" / f"{target}-seed{seed}-fold{fold:02d}" / f"{method}.json"


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")


def make_sweep(
    folder: Path,
    people: int = 8,
    epochs: int = 3,
    windows: int = 60,
    gains: Mapping[str, float] = GAINS,
    **changes: Any,
) -> Path:
    """Write a finished sweep of `people` subjects, divided among the folds; a leaky split tests all in every fold."""
    plan = plan_entry(**changes)
    write_json(folder / "sweep.json", plan)
    subjects = [f"s{number:02d}" for number in range(1, people + 1)]
    for number, target in enumerate(plan["targets"]):
        chance = np.random.default_rng(number)
        ability = chance.normal(0.64, 0.06, people)
        high = chance.uniform(0.4, 0.7, people)
        counts = chance.integers(windows * 3 // 4, windows * 5 // 4, people)
        for seed in plan["seeds"]:
            for fold in range(plan["folds"]):
                tested = range(people) if plan["split"] == "trial-leaky" else range(fold, people, plan["folds"])
                for method in plan["methods"]:
                    entries = []
                    for person in tested:
                        highs = round(float(high[person] * counts[person]))
                        right = float(
                            np.clip(ability[person] + gains.get(method, 0.0) + chance.normal(0, 0.012), 0.05, 0.95)
                        )
                        tp, tn = chance.binomial(highs, right), chance.binomial(counts[person] - highs, right)
                        confusion = ((int(tn), int(counts[person] - highs - tn)), (int(highs - tp), int(tp)))
                        entries.append(subject_entry(subjects[person], confusion))
                    cell = cell_entry(method, target, seed, fold, entries, epochs)
                    write_json(cell_path(folder, target, seed, fold, method), cell)
    return folder


@pytest.fixture(scope="session")
def make() -> Callable[..., Path]:
    """`make_sweep` itself, for folders that several tests share."""
    return make_sweep


@pytest.fixture
def sweep(tmp_path: Path) -> Callable[..., Path]:
    """Make a finished sweep below the test's folder; see `make_sweep`."""
    return lambda name="sweep", **changes: make_sweep(tmp_path / name, **changes)


@pytest.fixture
def cell() -> Callable[..., Path]:
    """Return the file of a result: (folder, target, seed, fold, method)."""
    return cell_path


@pytest.fixture
def edit() -> Callable[[Path, Callable[[Any], Any]], None]:
    """Change a JSON file in place."""

    def apply(path: Path, change: Callable[[Any], Any]) -> None:
        data = json.loads(path.read_text(encoding="utf-8"))
        change(data)
        write_json(path, data)

    return apply


@pytest.fixture
def entry() -> Callable[[str, Confusion], dict[str, Any]]:
    """Return a test subject's entry from its confusion matrix."""
    return subject_entry
