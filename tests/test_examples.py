"""The examples run as their docstrings say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ekd_train.cli.main import main
from ekd_train.data.source import open_dataset
from ekd_train.run import Run
from tests.helpers.paths import ROOT

DATASET = Path(os.environ.get("EKD_DATA", ROOT.parent / "shared" / "data")) / "stress_predict_eda"
SCRIPT = ROOT / "examples" / "stress_predict.py"


def convert(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not DATASET.is_dir():
        pytest.skip(f"the Stress-Predict dataset is not there: {DATASET} (set EKD_DATA to the folder that holds it)")
    out = tmp_path_factory.mktemp("stress") / "mine"
    done = convert(DATASET, out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 34
    return out


def test_stress_predict_becomes_recordings(mine: Path) -> None:
    source = open_dataset(f"recordings:{mine}")
    assert len(source.subjects) == 34
    assert (source.targets, source.has_eeg, source.synthetic) == (("stress",), False, False)
    (recording,) = source.dataset.read(["S02"])
    assert recording.rate_hz == 4
    stressed = [trial for trial in recording.trials if trial.ratings["stress"] > 5]
    assert len(stressed) == 3
    assert all(one.end_s <= other.start_s for one, other in zip(recording.trials, recording.trials[1:], strict=False))


def test_a_student_of_real_people_has_no_teacher(mine: Path, tmp_path: Path) -> None:
    arguments = ["--preset", "smoke", "--data", f"recordings:{mine}", "--target", "stress", "--out", tmp_path / "run"]
    changes = ["student.epochs=1", "signal.training_hop_s=64", "network.filters=8", "network.ffn=8"]
    arguments += [part for change in changes for part in ("--set", change)]
    assert main([str(argument) for argument in (*arguments, "--device", "cpu", "--threads", 1)]) == 0
    run = Run.load(tmp_path / "run")
    assert not run.synthetic
    assert not run.has_eeg
    assert run.results["student"]["test"]["subjects"] == len(run.subject_split.test)


def test_another_folder_is_refused_in_one_sentence(tmp_path: Path) -> None:
    done = convert(tmp_path, tmp_path / "mine")
    assert done.returncode == 2
    assert done.stderr.startswith("stress_predict: ")
    assert done.stderr.count("\n") == 1
    assert convert().returncode == 2
