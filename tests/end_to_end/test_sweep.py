"""Sweeps and cells with real training: every default method, killed, resumed and stacked, on a small network."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ekd_train.cli.main import main
from ekd_train.config import load_preset
from ekd_train.data.splits import LEAKY_WARNING, parse_split
from ekd_train.sweeps.train_cell import Cell, run_stack

TINY = """
data = "synthetic?subjects=6&trials=4&trial_s=16&eeg_channels=2"
[signal]
rate_hz = "16"
window_s = 4.0
hop_s = 4.0
eeg_features = "bandpower"
[network]
filters = 8
kernel = 16
depth = 2
heads = 2
key_size = 4
ffn = 8
[split]
kind = "k-fold"
folds = 3
[teacher]
epochs = 2
batch_size = 16
learning_rate = 1e-3
[student]
epochs = 2
batch_size = 16
learning_rate = 1e-3
[feedback]
every = 2
"""
METHODS = ("teacher", "student", "kd", "kd-feedback")
SLOW = """
import sys
from pathlib import Path
from ekd_train.sweeps.train_cell import Cell, run_stack
from ekd_train.config import load_preset
folders = [Path(name) for name in sys.argv[2:]]
cells = [Cell("arousal", 0, fold) for fold in range(len(folders))]
run_stack(load_preset(sys.argv[1]), cells, ["kd-feedback"], folders, "cpu", 1)
"""

Sweep = Callable[..., int]


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture
def sweep(preset: Path, tmp_path: Path) -> Sweep:
    def run(*arguments: object) -> int:
        common = ("sweep", "--device", "cpu", "--threads", 1, "--workers", 2, "--out", tmp_path / "sweep")
        return main([str(argument) for argument in (*common, "--preset", preset, *arguments)])

    return run


@pytest.mark.parametrize("folds", [1, 2])
def test_killed_cell_resumes_to_the_same_weights(folds: int, preset: Path, tmp_path: Path) -> None:
    """The cell is killed during adaptive feedback, so its checkpoint contains the changed teacher."""
    preset.write_text(TINY.replace("[student]\nepochs = 2", "[student]\nepochs = 15"), encoding="utf-8")
    cells = [Cell("arousal", 0, fold) for fold in range(folds)]
    killed, whole = ([tmp_path / name / cell.name for cell in cells] for name in ("killed", "whole"))
    command = [sys.executable, "-c", SLOW, str(preset), *map(str, killed)]
    with subprocess.Popen(command) as process:
        checkpoint = killed[0] / "checkpoint-kd-feedback.safetensors"
        deadline = time.monotonic() + 300
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    assert checkpoint.exists()
    progress_lines: list[str] = []
    config = load_preset(str(preset))
    run_stack(config, cells, ["kd-feedback"], killed, "cpu", 1, progress_lines.append)
    assert 0 < int(progress_lines[0].removeprefix("kd-feedback epoch ").partition("/")[0]) < 15, progress_lines[0]
    run_stack(config, cells, ["kd-feedback"], whole, "cpu", 1)
    for one, other in zip(killed, whole, strict=True):
        for name in ("teacher.safetensors", "kd-feedback.safetensors"):
            assert (one / name).read_bytes() == (other / name).read_bytes()
        histories = [json.loads((each / "kd-feedback.json").read_text())["history"] for each in (one, other)]
        assert histories[0] == histories[1]


@pytest.mark.parametrize(
    ("split", "stack"), [("k-fold:3", 1), ("k-fold:3", 3), ("trial-leaky:2", 1)], ids=["cells", "stack", "leaky"]
)
def test_sweep_of_trained_cells(
    split: str, stack: int, sweep: Sweep, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--split", split, "--stack", stack)
    leaky = split.startswith("trial-leaky")
    assert sweep(*arguments) == 0
    out, err = capfd.readouterr()
    assert (out.splitlines()[0].startswith(LEAKY_WARNING), err.splitlines()[0] == LEAKY_WARNING) == (leaky, leaky)
    assert "Traceback" not in err
    folder = tmp_path / "sweep"
    report = json.loads((folder / "report.json").read_text())
    folds = parse_split(split)["folds"]
    assert report["complete"]
    assert report["leaky"] == leaky
    assert report["progress"]["done"] == folds * len(METHODS)
    found = report["targets"]["arousal"]
    assert found["subjects"] == 6
    assert found["methods"].keys() == set(METHODS)
    assert all(each["training"]["runs"] == folds for each in found["methods"].values())
    files = {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/*")}
    names = {f"{name}{end}" for name in METHODS for end in (".json", ".safetensors")} | {"metrics.jsonl"}
    first = folder / "cells/arousal-seed0-fold00"
    assert {path.name for path in files if path.parent == first} == names
    assert not list(folder.glob("cells/*/checkpoint-*"))
    kinds = [json.loads(line)["kind"] for line in (folder / "events.jsonl").read_text().splitlines()]
    assert kinds.count("finished") == kinds.count("started") == (1 if stack == 3 else folds)
    assert not {"lost", "failed"} & set(kinds)

    assert sweep(*arguments, "--json") == 0
    out, err = capfd.readouterr()
    assert ("warning" in json.loads(out)) == leaky
    assert "results are finished already" in err
    assert {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/*")} == files, "nothing is computed twice"
