"""Interrupted training resumes from its own checkpoint to the same weights."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import ekd_train.sweeps.train_cell
from ekd_edge.atomic_files import write_json
from ekd_train.config import TrainConfig
from ekd_train.sweeps.train_cell import Cell, run_cell, run_stack

METHODS = ("teacher", "student", "self-distillation", "kd", "kd-unrated", "kd-joint", "kd-feedback")
CONFIG = TrainConfig.from_json(
    {
        "data": "synthetic?subjects=6&trials=4&trial_s=16&eeg_channels=2",
        "signal": {"rate_hz": "16", "window_s": 4.0, "hop_s": 4.0, "eeg_features": "bandpower"},
        "network": {"filters": 8, "kernel": 16, "depth": 2, "heads": 2, "key_size": 4, "ffn": 8},
        "teacher": {"epochs": 3, "batch_size": 16, "learning_rate": 1e-3},
        "student": {"epochs": 3, "batch_size": 16, "learning_rate": 1e-3, "patience": 1},
        "split": {"kind": "k-fold", "folds": 3},
        "distill": {"projection": "linear"},
        "feedback": {"every": 2},
    }
)
POOLED = replace(CONFIG, distill=replace(CONFIG.distill, projection="pool"))
SHORT = ("student", "kd-feedback")
FOLDS = [Cell("arousal", 0, fold) for fold in range(3)]


class CutShortError(Exception):
    """Simulates a power cut; no code catches it."""


def cut_at(line: str) -> Callable[[str], None]:
    def tell(text: str) -> None:
        if text.startswith(line):
            raise CutShortError

    return tell


def alone(config: TrainConfig, folder: Path, methods: Sequence[str] = SHORT, cell: Cell = FOLDS[0]) -> dict[str, bytes]:
    run_cell(config, cell, methods, folder, "cpu", 1)
    return made(folder)


def together(cells: Sequence[Cell], root: Path, tell: Callable[[str], None] = lambda text: None) -> list[Path]:
    folders = [root / cell.name for cell in cells]
    run_stack(POOLED, cells, SHORT, folders, "cpu", 1, tell)
    return folders


def made(folder: Path) -> dict[str, bytes]:
    """Return all weights, and all results without their times."""
    assert not list(folder.glob("checkpoint-*"))
    found = {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}
    for path in folder.glob("*.json"):
        found[path.name] = json.dumps(json.loads(path.read_text()) | {"seconds": None}).encode()
    return found


def test_resumed_methods_give_the_same_weights(tmp_path: Path) -> None:
    config = CONFIG.override(["split.rated=0.7"])
    whole = alone(config, tmp_path / "whole", METHODS)
    assert len(whole) == 2 * len(METHODS)
    for name in METHODS:
        with pytest.raises(CutShortError):
            run_cell(config, FOLDS[0], METHODS, tmp_path / "cut", "cpu", 1, cut_at(f"{name} epoch 2"))
        assert (tmp_path / f"cut/checkpoint-{name}.safetensors").is_file()
    assert alone(config, tmp_path / "cut", METHODS) == whole
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "cut")]
    assert lines[0] == lines[1], "every epoch has its line, once"


def test_training_time_includes_epochs_of_an_earlier_process(tmp_path: Path) -> None:
    def slow(text: str) -> None:
        time.sleep(0.5)
        cut_at("student epoch 2")(text)

    with pytest.raises(CutShortError):
        run_cell(CONFIG, FOLDS[0], ["student"], tmp_path, "cpu", 1, slow)
    run_cell(CONFIG, FOLDS[0], ["student"], tmp_path, "cpu", 1)
    assert json.loads((tmp_path / "student.json").read_text())["seconds"] > 1


def test_weights_without_their_result_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(path: Path, data: object) -> None:
        raise CutShortError

    with monkeypatch.context() as patch:
        patch.setattr(ekd_train.sweeps.train_cell, "write_json", cut)
        with pytest.raises(CutShortError):
            alone(CONFIG, tmp_path / "cut", ["student"])
    assert (tmp_path / "cut/student.safetensors").is_file()
    progress_lines: list[str] = []
    run_cell(CONFIG, FOLDS[0], ["student"], tmp_path / "cut", "cpu", 1, progress_lines.append)
    assert len(progress_lines) == 1, "no epoch is computed again"
    assert made(tmp_path / "cut") == alone(CONFIG, tmp_path / "whole", ["student"])


def test_resumed_stack_gives_the_same_weights(tmp_path: Path) -> None:
    whole = together(FOLDS, tmp_path / "whole")
    for name in ("student", "teacher", "kd-feedback"):
        with pytest.raises(CutShortError):
            together(FOLDS, tmp_path / "cut", cut_at(f"{name} epoch 2"))
    for one, other in zip(together(FOLDS, tmp_path / "cut"), whole, strict=True):
        assert made(one) == made(other)


def test_stack_interrupted_between_results_completes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_once(path: Path, data: object) -> None:
        if list(tmp_path.glob("cut/*/student.json")):
            raise CutShortError
        write_json(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(ekd_train.sweeps.train_cell, "write_json", write_once)
        with pytest.raises(CutShortError):
            together(FOLDS[:2], tmp_path / "cut")
    (first,) = tmp_path.glob("cut/*/student.json")
    before = first.read_bytes()
    for one, other in zip(together(FOLDS[:2], tmp_path / "cut"), together(FOLDS[:2], tmp_path / "whole"), strict=True):
        assert made(one) == made(other)
    assert first.read_bytes() == before


@pytest.mark.parametrize("begun_with", [[0, 1], [0, 1, 2]])
def test_cell_ignores_checkpoints_of_a_stack(begun_with: list[int], tmp_path: Path) -> None:
    with pytest.raises(CutShortError):
        together([FOLDS[fold] for fold in begun_with], tmp_path, cut_at("kd-feedback epoch 2"))
    for name in ("student", "teacher"):
        (tmp_path / FOLDS[0].name / f"{name}.json").unlink()
    assert alone(POOLED, tmp_path / FOLDS[0].name) == alone(POOLED, tmp_path / "clean")


def test_stack_ignores_checkpoints_of_other_folds(tmp_path: Path) -> None:
    """With that checkpoint the second fold would be trained on its own test subjects."""
    with pytest.raises(CutShortError):
        together(FOLDS[:2], tmp_path / "cut", cut_at("student epoch 2"))
    cells = [FOLDS[0], FOLDS[2]]
    for one, other in zip(together(cells, tmp_path / "cut"), together(cells, tmp_path / "clean"), strict=True):
        assert made(one) == made(other)


@pytest.mark.parametrize("change", ["student.learning_rate=1e-2", "feedback.every=1", "seed=1", "split.fold=1"])
def test_checkpoint_of_other_settings_is_ignored(change: str, tmp_path: Path) -> None:
    config = CONFIG.override(["split.kind=trial-leaky"] if "fold" in change else [])
    other = config.override([change])
    cell, its = (Cell("arousal", each.seed, each.split.fold) for each in (config, other))
    with pytest.raises(CutShortError):
        run_cell(config, cell, ["kd-feedback"], tmp_path / "cut", "cpu", 1, cut_at("kd-feedback epoch 2"))
    checkpoint = tmp_path / "cut/checkpoint-kd-feedback.safetensors"
    clean = alone(other, tmp_path / "clean", ["teacher"], its)
    (tmp_path / "taken").mkdir()
    for name in clean:
        (tmp_path / "taken" / name).write_bytes((tmp_path / "clean" / name).read_bytes())
    checkpoint.replace(tmp_path / "taken" / checkpoint.name)
    assert alone(other, tmp_path / "taken", ["kd-feedback"], its) == alone(
        other, tmp_path / "clean", ["kd-feedback"], its
    )


def test_checkpoint_of_another_teacher_is_ignored(tmp_path: Path) -> None:
    for seed in (0, 1):
        cell = Cell("arousal", seed, 0)
        alone(CONFIG, tmp_path / f"seed{seed}", ["teacher"], cell)
    with pytest.raises(CutShortError):
        run_cell(CONFIG, FOLDS[0], ["kd"], tmp_path / "seed0", "cpu", 1, cut_at("kd epoch 2"))
    (tmp_path / "seed1/teacher.safetensors").replace(tmp_path / "seed0/teacher.safetensors")
    progress_lines: list[str] = []
    run_cell(CONFIG, FOLDS[0], ["kd"], tmp_path / "seed0", "cpu", 1, progress_lines.append)
    assert progress_lines[0] == "kd epoch 0/3"


def test_stacked_cell_keeps_its_existing_result(tmp_path: Path) -> None:
    before = alone(POOLED, tmp_path / FOLDS[0].name)
    folders = together(FOLDS[:2], tmp_path)
    assert made(folders[0]) == before
    assert made(folders[1]).keys() == before.keys()


def test_saved_teacher_is_the_one_before_feedback(tmp_path: Path) -> None:
    before = alone(CONFIG, tmp_path / "cell", ["teacher"])
    after = alone(CONFIG, tmp_path / "cell", ["kd-feedback", "kd-joint", "kd"])
    assert {name: after[name] for name in before} == before
    # a method's result does not depend on which others came before it
    assert after["kd.safetensors"] == alone(CONFIG, tmp_path / "kd", ["kd"])["kd.safetensors"]
