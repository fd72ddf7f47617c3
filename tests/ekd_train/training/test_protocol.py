"""A canary for leakage: information only in the test subjects' data must not help in the evaluation."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ekd_edge.errors import ConfigError
from ekd_train.config import TrainConfig
from ekd_train.data.splits import SplitConfig, SubjectSplit, make_split
from ekd_train.data.windows import WindowSet
from ekd_train.sweeps.train_cell import Cell, run_cell
from ekd_train.training.device import Resident
from ekd_train.training.distillation import UNRATED
from ekd_train.training.partitions import partition

SUBJECTS, PATTERNS, TRIALS, RATE_HZ, WINDOW_S = 8, 2, 16, 16, 4

CONFIG = {
    "signal": {
        "rate_hz": "16", "window_s": 4.0, "hop_s": 4.0, "settle_s": 0.0, "normalization": "window", "gain": 1.0,
    },
    "network": {
        "filters": 16, "kernel": 16, "stride": 8, "depth": 2, "heads": 2, "key_size": 8, "ffn": 16,
        "head_dropout": 0.0, "block_dropout": 0.0, "classifier_dropout": 0.0,
    },
    "student": {"epochs": 20, "batch_size": 16, "learning_rate": 5e-3},
}  # fmt: skip


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings in which each class of each person has unique waveforms, without information about other persons."""
    folder = tmp_path_factory.mktemp("canary")
    rng = np.random.default_rng(7)
    rows = ["recording,subject,trial,start_s,end_s,arousal"]
    length = RATE_HZ * WINDOW_S
    for person in range(SUBJECTS):
        steps = np.cumsum(rng.normal(0, 0.3, (2, PATTERNS, length)), axis=2)
        waves = steps - steps.mean(axis=2, keepdims=True)
        labels = rng.permutation(np.repeat([0, 1], TRIALS // 2))
        values = []
        for trial, label in enumerate(labels):
            for period in range(4):
                wave = waves[label, (trial + period) % PATTERNS]
                values.append(10 + wave + rng.normal(0, 0.02, length))
            start = trial * 4 * WINDOW_S
            rows.append(f"p{person},p{person},t{trial:02d},{start},{start + 4 * WINDOW_S},{8 if label else 2}")
        text = "\n".join(f"{value:.5f}" for value in np.concatenate(values))
        (folder / f"p{person}.csv").write_text(f"# rate_hz: {RATE_HZ}\ngsr_us\n{text}\n")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def accuracy(canary: Path, out: Path, split: dict[str, object]) -> tuple[float, list[dict[str, object]]]:
    """Mean accuracy over all folds, and all results."""
    config = TrainConfig.from_json({**CONFIG, "data": f"recordings:{canary}", "split": split})
    results = []
    for fold in range(4):
        cell = Cell("arousal", 0, fold)
        run_cell(config, cell, ["student"], out / cell.name, device="cpu", threads=1)
        results.append(json.loads((out / cell.name / "student.json").read_text()))
    return float(np.mean([result["test"]["accuracy"] for result in results])), results


def test_subject_specific_waveforms_do_not_raise_accuracy(canary: Path, tmp_path: Path) -> None:
    honest, results = accuracy(canary, tmp_path / "honest", {"kind": "k-fold", "folds": 4})
    leaky, leaky_results = accuracy(canary, tmp_path / "leaky", {"kind": "trial-leaky", "folds": 4})
    assert leaky > 0.9, "the canary must sing where there is a leak"
    assert abs(honest - 0.5) < 0.15
    assert not any(result["leaky"] for result in results)
    assert all(result["leaky"] for result in leaky_results)
    tested = [subject["subject"] for result in results for subject in result["test"]["subjects"]]  # type: ignore[index]
    assert sorted(tested) == [f"p{k}" for k in range(SUBJECTS)]


def windows(subjects: int = 6) -> tuple[WindowSet, Resident]:
    n = subjects * 4
    names = np.repeat([f"s{k}" for k in range(subjects)], 4)
    made = WindowSet(
        gsr=np.arange(n, dtype=np.float32)[:, None].repeat(3, axis=1),
        eeg=None,
        ratings=np.ones((n, 1), np.float32),
        labels=(np.arange(n) % 2)[:, None],
        targets=("arousal",),
        subject=names,
        trial=np.tile(["a", "a", "b", "b"], subjects),
        recording=names,
        end_s=np.arange(n, dtype=np.float64),
    )
    return made, Resident.of(made, torch.device("cpu"))


def test_training_data_contains_no_test_window() -> None:
    made, pool = windows()
    split = make_split(SplitConfig(kind="leave-one-out", fold=2), 0, made.subjects)
    assert isinstance(split, SubjectSplit)
    training_data, test_data = partition(made, pool, split)
    assert test_data.subset.subjects == ("s2",)
    for subset in (training_data.train, training_data.validation):
        gsr, labels = subset.take_gsr(subset.everything())
        own = np.flatnonzero(np.isin(made.subject, subset.subjects))
        assert gsr[:, 0].tolist() == own.tolist()
        np.testing.assert_array_equal(labels.numpy(), made.labels[own])
        assert "s2" not in subset.subjects
        with pytest.raises(IndexError):
            subset.take_gsr(torch.tensor([len(subset)]))
    assert not {field.name for field in dataclasses.fields(training_data)} & {"test", "test_data"}


def test_unrated_subjects_keep_their_windows_and_lose_their_labels() -> None:
    made, pool = windows(10)
    split = SubjectSplit(tuple(f"s{k}" for k in range(8)), ("s8",), ("s9",))
    training_data, test_data = partition(made, pool, split, rated=0.5, seed=1)
    train = training_data.train
    unrated = (train.labels == UNRATED).all(1)
    assert int(unrated.sum()) == 16
    assert len({train.subject[k] for k in torch.nonzero(~unrated).flatten()}) == 4
    assert torch.equal(train.rated(), torch.nonzero(~unrated).flatten())
    for subset in (training_data.validation, test_data.subset):
        assert not (subset.labels == UNRATED).any()
    assert partition(made, pool, split, rated=0.5, seed=1)[0].train.rated().equal(train.rated())
    with pytest.raises(ConfigError, match="leaves none of 8 training subjects rated"):
        partition(made, pool, split, rated=0.01)
