"""Training on test data is a type error, and few modules use test data."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

PROGRAM = """
from pathlib import Path
from ekd_train.config import TrainConfig
from ekd_train.training.evaluation import validate
from ekd_train.training.loop import Reporter
from ekd_train.models.config import NetworkConfig
from ekd_train.training.partitions import TestData, TrainingData, StackedTrainingData
from ekd_train.models.teacher import Teacher
from ekd_train.training.stages import train_student, train_teacher
from tests.helpers.paths import ROOT

def train(
    training_data: TrainingData, test_data: TestData, network: NetworkConfig, config: TrainConfig, reporter: Reporter
) -> None:
    train_teacher(training_data, network, config, Path(), reporter)
    train_student(StackedTrainingData([training_data]), network, config, [], Path(), reporter)
    train_teacher(test_data, network, config, Path(), reporter)  # refused
    train_teacher(test_data.subset, network, config, Path(), reporter)  # refused
    train_student(test_data, network, config, [], Path(), reporter)  # refused
    validate(Teacher(network), test_data)  # refused
    StackedTrainingData([test_data])  # refused
    TrainingData(test_data.subset, training_data.validation, False)  # refused
    TrainingData(training_data.train, test_data.subset, False)  # refused
"""


def test_mypy_refuses_training_on_test_data(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="the dev extra is not installed")
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--no-error-summary", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    # Compared by file name: mypy's cache may report another folder that held the same program before.
    lines = [line.split(":") for line in done.stdout.splitlines()]
    found = {int(line[1]) for line in lines if Path(line[0]).name == path.name}
    assert found == {n for n, line in enumerate(PROGRAM.splitlines(), 1) if line.endswith("# refused")}, done.stdout


def test_test_data_is_used_by_few_modules() -> None:
    package = ROOT / "train/ekd_train"
    knowing = {path.name for path in package.rglob("*.py") if "TestData" in path.read_text(encoding="utf-8")}
    assert knowing == {"partitions.py", "evaluation.py", "train_cell.py", "trainer.py"}
