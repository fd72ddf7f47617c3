"""Cross-fitted teachers predict only subjects that they were not trained on."""

import json
from pathlib import Path

import pytest
import torch

from ekd_edge.errors import ConfigError
from ekd_train.config import TrainConfig
from ekd_train.sweeps.train_cell import Cell, _prepare, run_cell, run_stack
from ekd_train.training.crossfit import cross_fit
from ekd_train.training.evaluation import predictions
from ekd_train.training.loop import EpochRecord

TINY = {
    "data": "synthetic?subjects=8&trials=6&trial_s=20&eeg_channels=2",
    "signal": {"rate_hz": "16", "window_s": 4.0, "hop_s": 2.0, "eeg_features": "bandpower"},
    "network": {"filters": 8, "kernel": 16, "depth": 2, "heads": 2, "key_size": 4, "ffn": 8},
    "teacher": {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3},
    "student": {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3},
    "split": {"kind": "k-fold", "folds": 4},
}


class Silent:
    def start(self, stage: str, epochs: int, done: int, batches_per_epoch: int) -> None: ...

    def batch(self) -> None: ...

    def epoch(self, record: EpochRecord) -> None: ...


def quiet(text: str) -> None: ...


def test_predictions_come_from_a_teacher_that_was_not_trained_on_the_subject(tmp_path: Path) -> None:
    config = Cell("arousal", 0, 1).configure(TrainConfig.from_json(TINY))
    prepared = _prepare(config, torch.device("cpu"), quiet, quiet)
    training_data, network = prepared.training_data, prepared.network
    train = training_data.train
    (cross_fitted,) = cross_fit(training_data, network, config, tmp_path, [tmp_path], Silent())
    assert sorted(name for names in cross_fitted.held_out_subjects for name in names) == list(train.subjects)
    predicted = predictions(cross_fitted, train)
    for teacher, mine in zip(cross_fitted.teachers, cross_fitted.held_out_subjects, strict=True):
        rest = train.without(mine)
        assert not set(rest.subjects) & set(mine)
        assert len(rest) + len(train.of(mine)) == len(train)
        choice = train.of(mine)
        own = predictions(teacher, train)
        for ours, theirs in zip(predicted, own, strict=True):
            torch.testing.assert_close(ours[choice], theirs[choice], rtol=0, atol=1e-5)
    other = [predictions(teacher, train).logits for teacher in cross_fitted.teachers]
    assert not torch.allclose(other[0], other[1], atol=1e-2)


def test_crossfit_method_trains_its_teachers_once(tmp_path: Path) -> None:
    config, cell = TrainConfig.from_json(TINY), Cell("arousal", 0, 0)
    run_cell(config, cell, ["kd-crossfit"], tmp_path, "cpu", 1)
    result = json.loads((tmp_path / "kd-crossfit.json").read_text())
    assert set(result["history"][0]["losses"]) == {"hard", "soft", "feature"}
    assert not (tmp_path / "teacher.json").exists()
    stamps = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("crossfit-*.safetensors")}
    assert sorted(stamps) == [f"crossfit-{number}.safetensors" for number in range(3)]
    (tmp_path / "kd-crossfit.json").unlink()
    run_cell(config, cell, ["kd-crossfit"], tmp_path, "cpu", 1)
    assert stamps == {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("crossfit-*.safetensors")}
    assert json.loads((tmp_path / "kd-crossfit.json").read_text())["test"] == result["test"]


def test_stacked_folds_have_separate_cross_fitted_teachers(tmp_path: Path) -> None:
    cells = [Cell("arousal", 0, fold) for fold in range(2)]
    folders = [tmp_path / cell.name for cell in cells]
    run_stack(TrainConfig.from_json(TINY), cells, ["kd-crossfit"], folders, "cpu", 1)
    for folder in folders:
        assert (folder / "kd-crossfit.json").is_file()
        assert len(list(folder.glob("crossfit-*.safetensors"))) == 3


def test_more_teachers_than_subjects_are_refused(tmp_path: Path) -> None:
    config = TrainConfig.from_json(TINY).override(["distill.crossfit=9"])
    with pytest.raises(ConfigError, match=r"9 cross-fitted teachers need as many training subjects, but there are \d"):
        run_cell(config, Cell("arousal", 0, 0), ["kd-crossfit"], tmp_path, "cpu", 1)
    with pytest.raises(ConfigError, match="at least 2"):
        config.override(["distill.crossfit=1"])
