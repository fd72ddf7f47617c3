"""The public face of ekd_train, on the smallest data."""

from pathlib import Path

import pytest

import ekd_train

DATA = "synthetic?subjects=6&trials=6&trial_s=30"
SETTINGS = [
    "signal.window_s=2.0", "signal.hop_s=2.0", "network.filters=8", "network.heads=2", "network.key_size=4",
    "network.ffn=8", "teacher.epochs=1", "student.epochs=1", "teacher.batch_size=16", "student.batch_size=16",
]  # fmt: skip


@pytest.fixture
def config() -> "ekd_train.TrainConfig":
    return ekd_train.TrainConfig().override(SETTINGS)


def test_names_are_all_there() -> None:
    for name in ekd_train.__all__:
        assert getattr(ekd_train, name) is not None
    assert set(ekd_train.__all__) <= set(dir(ekd_train))


def test_train_is_silent_and_returns_the_results(
    config: "ekd_train.TrainConfig", tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ekd_train.train(config, data=DATA, out=tmp_path / "run", device="cpu", threads=1)
    assert run.path == tmp_path / "run"
    assert set(run.results) == {"teacher", "student", "signal_quality"}
    assert 0 <= run.results["student"]["test"]["accuracy"] <= 1
    assert capsys.readouterr() == ("", "")


def test_train_in_two_steps_resumes(config: "ekd_train.TrainConfig", tmp_path: Path) -> None:
    begun = ekd_train.train(config, data=DATA, out=tmp_path / "run", device="cpu", threads=1, student=False)
    assert set(begun.results) == {"teacher", "signal_quality"}
    done = ekd_train.resume(tmp_path / "run", ["feedback.every=0"], device="cpu", threads=1, teacher=False)
    assert set(done.results) == {"teacher", "student", "signal_quality"}
    with pytest.raises(ekd_train.ConfigError, match="is finished, it has a student: start a new run"):
        ekd_train.resume(tmp_path / "run", device="cpu", threads=1, teacher=False)


def test_train_refuses_too_few_subjects_before_reading(config: "ekd_train.TrainConfig", tmp_path: Path) -> None:
    with pytest.raises(
        ekd_train.ConfigError, match="adaptive feedback needs two training subjects, and this split has 1"
    ):
        ekd_train.train(config, data="synthetic?subjects=3", out=tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_train_refuses_unknown_targets_and_names_the_nearest(config: "ekd_train.TrainConfig", tmp_path: Path) -> None:
    with pytest.raises(ekd_train.ConfigError, match="did you mean arousal"):
        ekd_train.train(config, data=DATA, targets=["arousl"], out=tmp_path / "run")


def test_open_dataset_lists_subjects() -> None:
    assert len(ekd_train.open_dataset(DATA).subjects) == 6


def test_sweep_returns_its_report(config: "ekd_train.TrainConfig", tmp_path: Path) -> None:
    result = ekd_train.sweep(
        config, data=DATA, out=tmp_path / "sweep", split="k-fold:2", methods=["student"], workers=2, threads=1,
        device="cpu",
    )  # fmt: skip
    assert result.outcome.finished == 2
    assert result.outcome.failed == {}
    assert result.report is not None
    assert (result.path / "report.md").is_file()
