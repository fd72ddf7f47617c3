"""A tiny run of the published shape with random weights, and its exported files, converted once a session."""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ekd_edge.model.file import ModelFile, load_model_file
from ekd_edge.model.manifest import Kind
from ekd_export.cli.main import main
from ekd_train.checkpoint import save_weights
from ekd_train.config import TrainConfig
from ekd_train.data.source import open_dataset
from ekd_train.data.splits import SubjectSplit
from ekd_train.data.windows import WindowSet
from ekd_train.models.config import NetworkConfig
from ekd_train.models.student import Student
from ekd_train.run import STUDENT_FILE, Run, create_run

SOURCE = "synthetic?subjects=10&trials=4&trial_s=60&seed=5"
TARGETS = ("arousal", "valence")
MakeStudent = Callable[[NetworkConfig, NDArray[np.float32]], Student]
_OPTIONS: dict[Kind, list[str]] = {"float32": ["--json"], "int8": ["--int8"]}
SPLIT = SubjectSplit(("s000", "s001"), ("s002",), tuple(f"s{number:03d}" for number in range(3, 10)))


@dataclass(frozen=True)
class Exports:
    """Both files of one run, and the two streams that ekd-export wrote for each (--json for float32)."""

    run: Run
    int8: ModelFile
    float32: ModelFile
    printed: dict[Kind, tuple[str, str]]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def config() -> TrainConfig:
    tables = {
        "data": SOURCE,
        "targets": list(TARGETS),
        "high": "at-or-above",
        "signal": {"rate_hz": "16", "window_s": 16.0, "hop_s": 4.0, "bound": "none"},
        "network": {"filters": 16, "heads": 2, "key_size": 8, "ffn": 16, "depth": 2},
    }
    return TrainConfig.from_json(tables)


@pytest.fixture(scope="session")
def windows(config: TrainConfig) -> WindowSet:
    return open_dataset(SOURCE).windows(config.signal.gsr(), None, TARGETS)


@pytest.fixture(scope="session")
def run(
    config: TrainConfig, windows: WindowSet, random_student: MakeStudent, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    shape, folder = config.network, tmp_path_factory.mktemp("work") / "runs" / "tiny"
    network = NetworkConfig(
        window_samples=config.signal.gsr().window_samples,
        targets=TARGETS,
        filters=shape.filters,
        heads=shape.heads,
        key_size=shape.key_size,
        ffn=shape.ffn,
        depth=shape.depth,
    )
    return _run(folder, config, network, random_student(network, windows.gsr))


@pytest.fixture(scope="session")
def edge_run(
    config: TrainConfig, windows: WindowSet, random_student: MakeStudent, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """The same run with a student without attention."""
    samples, folder = config.signal.gsr().window_samples, tmp_path_factory.mktemp("work") / "runs" / "edge"
    network = NetworkConfig(
        window_samples=samples, targets=TARGETS, filters=16, depth=2, student="edge", student_filters=12
    )
    return _run(folder, config, network, random_student(network, windows.gsr))


def _run(folder: Path, config: TrainConfig, network: NetworkConfig, student: Student) -> Run:
    source = open_dataset(SOURCE)
    made = create_run(
        folder,
        config=config,
        signal=config.signal.gsr(),
        eeg_signal=None,
        network=network,
        source=SOURCE,
        identity=source.identity,
        synthetic=source.synthetic,
        split=SPLIT,
    )
    save_weights(made.path / STUDENT_FILE, student)
    return made


@pytest.fixture(scope="session")
def exports(run: Run) -> Exports:
    printed: dict[Kind, tuple[str, str]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(run.path.parents[1])
        for kind, options in _OPTIONS.items():
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                assert main(options) == 0, err.getvalue()
            printed[kind] = (out.getvalue(), err.getvalue())
    files = {kind: load_model_file(run.path / f"student-{kind}.tflite") for kind in printed}
    return Exports(run, files["int8"], files["float32"], printed)
