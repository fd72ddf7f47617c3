"""Small and unbalanced folds are trained correctly or refused in one sentence."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ekd_edge.errors import ConfigError, DataError
from ekd_train.config import TrainConfig
from ekd_train.data.splits import LeakyTrialSplit, Split, SubjectSplit
from ekd_train.data.windows import WindowSet
from ekd_train.models.config import NetworkConfig
from ekd_train.models.teacher import Teacher
from ekd_train.training.device import Resident
from ekd_train.training.evaluation import evaluate_on_test
from ekd_train.training.loop import EpochRecord, Fitted
from ekd_train.training.partitions import StackedTrainingData, TrainingData, partition
from ekd_train.training.stages import train_student, train_teacher

NETWORK = NetworkConfig(
    window_samples=32, filters=8, kernel=16, depth=2, heads=2, key_size=4, ffn=8, eeg_rows=2, targets=("arousal",)
)
CONFIG = TrainConfig.from_json(
    {
        "teacher": {"epochs": 1, "batch_size": 4, "learning_rate": 1e-3},
        "student": {"epochs": 2, "batch_size": 4, "learning_rate": 1e-3},
    }
)
SPLIT = SubjectSplit(("a", "b", "c"), ("v",), ("t",))


class Silent:
    """A reporter that shows nothing."""

    def start(self, stage: str, epochs: int, done: int, batches_per_epoch: int) -> None: ...
    def batch(self) -> None: ...
    def epoch(self, record: EpochRecord) -> None: ...


def people(counts: dict[str, int], one_class: Sequence[str] = ()) -> WindowSet:
    """The given number of windows for each subject, of alternating classes or of the high class only."""
    subject = np.repeat(list(counts), list(counts.values()))
    n, rng = len(subject), np.random.default_rng(0)
    place = np.concatenate([np.arange(count) for count in counts.values()])
    labels = np.where(np.isin(subject, list(one_class)), 1, place % 2)[:, None]
    return WindowSet(
        gsr=rng.normal(size=(n, 32)).astype(np.float32),
        eeg=rng.normal(size=(n, 2, 32)).astype(np.float32),
        ratings=(labels * 6 + 1).astype(np.float32),
        labels=labels,
        targets=("arousal",),
        subject=subject,
        trial=place.astype(str),
        recording=subject,
        end_s=np.arange(n, dtype=np.float64),
    )


def sides(windows: WindowSet, split: Split = SPLIT, rated: float = 1.0) -> TrainingData:
    return partition(windows, Resident.of(windows, torch.device("cpu")), split, rated)[0]


def distilled(training_data: TrainingData | StackedTrainingData, folder: Path, *changes: str) -> tuple[Fitted, ...]:
    teachers = [Teacher(NETWORK) for _ in training_data.folds]
    return train_student(training_data, NETWORK, CONFIG.override(changes), teachers, folder, Silent())[1]


@pytest.mark.parametrize("batch", [16, 18, 1000])
def test_training_uses_remaining_windows_that_fill_no_batch(batch: int, tmp_path: Path) -> None:
    windows = people({"a": 6, "b": 6, "c": 6, "v": 4, "t": 4})
    (fitted,) = distilled(sides(windows), tmp_path, f"student.batch_size={batch}")
    assert [record.losses.keys() for record in fitted.history] == [{"teacher", "quiz", "hard", "soft", "feature"}] * 2


def test_stacked_folds_use_remaining_windows_that_fill_no_batch(tmp_path: Path) -> None:
    windows = people({"a": 6, "b": 6, "c": 5, "v": 4, "t": 5})
    folds = [sides(windows), sides(windows, SubjectSplit(("a", "b", "t"), ("v",), ("c",)))]
    fits = distilled(StackedTrainingData(folds), tmp_path, "student.batch_size=1000")
    assert all(record.losses.keys() >= {"quiz", "hard"} for fitted in fits for record in fitted.history)


@pytest.mark.parametrize(
    "counts", [{"a": 8, "b": 2, "c": 1, "v": 1, "t": 1}, {"a": 253, "b": 2, "c": 2, "v": 1, "t": 3}]
)
def test_single_windows_on_any_side_train(counts: dict[str, int], tmp_path: Path) -> None:
    training_data = sides(people(counts))
    for fitted in (
        distilled(training_data, tmp_path)[0],
        train_teacher(training_data, NETWORK, CONFIG, tmp_path, Silent())[1][0],
    ):
        for record in fitted.history:
            assert all(map(math.isfinite, [*record.losses.values(), *record.validation.values()]))


def test_quiz_size_is_limited_by_its_subjects(tmp_path: Path) -> None:
    windows = people({"a": 12, "b": 12, "c": 3, "v": 2, "t": 2})
    (fitted,) = distilled(sides(windows), tmp_path, "feedback.quiz_batch_size=500", "student.epochs=3")
    assert all(math.isfinite(record.losses["quiz"]) for record in fitted.history)


def test_quiz_uses_rated_subjects_only(tmp_path: Path) -> None:
    windows = people({**dict.fromkeys("abcdef", 6), "v": 4, "t": 4})
    split = replace(SPLIT, train=tuple("abcdef"))
    assert len(distilled(sides(windows, split, 0.5), tmp_path / "half")[0].history) == 2
    assert len(distilled(sides(windows, split, 0.5), tmp_path / "more", "distill.unrated=true")[0].history) == 2
    with pytest.raises(ConfigError, match=r"two rated training subjects: set feedback\.every=0"):
        distilled(sides(windows, split, 0.2), tmp_path / "one")


@pytest.mark.parametrize("subject", ["v", "t"])
def test_one_class_is_scored_in_evaluation(subject: str, tmp_path: Path) -> None:
    windows = people({"a": 6, "b": 6, "c": 6, "v": 4, "t": 4}, one_class=subject)
    training_data, test_data = partition(windows, Resident.of(windows, torch.device("cpu")), SPLIT)
    network, (fitted,) = train_teacher(training_data, NETWORK, CONFIG, tmp_path, Silent())
    assert isinstance(network, Teacher)
    for scores in (fitted.best.validation, evaluate_on_test(network, test_data)):
        assert 0 <= scores["macro_f1"] <= 1
        assert math.isfinite(scores["loss"])


def test_one_class_is_refused_in_training() -> None:
    counts = {"a": 6, "b": 6, "c": 6, "v": 4, "t": 4}
    with pytest.raises(DataError, match="all rated training windows of this fold are high in arousal"):
        sides(people(counts, one_class="abc"))
    lopsided = people(counts, one_class="bc")
    assert len(sides(lopsided).train) == 18
    with pytest.raises(DataError, match="are high in arousal"):
        sides(lopsided, rated=0.4)  # only ratings of c are used


@pytest.mark.parametrize(
    ("absent", "message"), [("a b c", r"train side of the split \(a, b, c\)"), ("v", "validation"), ("t", "test")]
)
def test_side_without_windows_is_named(absent: str, message: str) -> None:
    counts = {name: 4 for name in "abcvt" if name not in absent.split()}
    with pytest.raises(DataError, match=message):
        sides(people(counts))


def test_more_leaky_folds_than_trials_are_refused() -> None:
    windows = people({"a": 4, "b": 4})
    with pytest.raises(DataError, match="the test side of the split has no window"):
        sides(windows, LeakyTrialSplit(("a", "b"), 0, 9, 8, 0.2))
