"""A real Ray cluster of two nodes on this machine, in a separate network namespace."""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ekd_train.config import TrainConfig
from ekd_train.sweeps.train_cell import Cell, run_cell
from tests.ekd_train.sweeps.standin import standin_cells
from tests.helpers.paths import ROOT

from .conftest import STANDIN

NAMESPACES = [
    "unshare", *(["--map-root-user"] if os.getuid() else []), "--net", "--mount", "--pid", "--fork", "--kill-child",
    "--mount-proc",
]  # fmt: skip
HEAD, OTHER = "127.0.0.1", "127.0.0.2"

pytestmark = pytest.mark.timeout(600)  # the first test waits for both sweeps


@pytest.fixture(scope="module")
def became(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcomes of a sweep on both nodes, and of one whose second node was killed."""
    pytest.importorskip("ray", reason="the cluster extra is not installed")
    if subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a cluster's ports need a network namespace of their own, which unshare cannot make here")
    here = tmp_path_factory.mktemp("cluster")
    for name in ("scratch", "nodes"):
        (here / name).mkdir()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        "EKD_STANDIN": str(here / "scratch"),
        "TMPDIR": str(here / "nodes"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
    }
    with tempfile.TemporaryDirectory(prefix="ekd-") as short:  # Ray's socket paths are long
        command = [*NAMESPACES, sys.executable, "-m", f"{STANDIN}.cluster", str(here), short]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False
        )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found["output"] = done.stderr
    return found


def _epochs(became: dict[str, Any], cell: str, method: str = "student") -> list[int]:
    return [row["epoch"] for row in became["computed"] if (row["cell"], row["method"]) == (cell, method)]


def test_cells_run_on_both_nodes_without_a_shared_folder(became: dict[str, Any]) -> None:
    both = became["both"]
    started = [event["worker"] for event in both["events"] if event["kind"] == "started"]
    assert {worker.partition(",")[0] for worker in started} == {HEAD, OTHER}
    assert not any(row["folder"].startswith(both["out"]["sweep"]) for row in both["computed"])
    assert {event["cell"] for event in both["events"] if event["kind"] == "finished"} == {
        "arousal-seed0-fold00",
        "arousal-seed0-fold01",
    }
    for fold in range(2):
        cell = f"cells/arousal-seed0-fold0{fold}"
        for method in ("student", "kd"):
            assert f"{cell}/{method}.json" in both["files"]
            assert f"{cell}/{method}.safetensors" in both["files"]
            assert _epochs(both, f"arousal-seed0-fold0{fold}", method) == [0, 1, 2]
            assert f"{cell}/checkpoint-{method}.safetensors" not in both["files"]


def test_cells_trained_on_nodes_equal_cells_trained_locally(became: dict[str, Any], tmp_path: Path) -> None:
    assert became["real"]["failed"] == {}
    noted = [event["text"] for event in became["real"]["events"] if event["kind"] == "noted"]
    assert len(noted) == len(set(noted))
    for fold in range(2):
        config = TrainConfig.from_json(standin_cells.REAL).override(["split.kind=k-fold", "split.folds=2"])
        cell = Cell("arousal", 0, fold)
        run_cell(config, cell, ["student"], tmp_path / cell.name, "cpu", 1)
        there = Path(became["real"]["folder"]) / "cells" / cell.name / "student.safetensors"
        assert there.read_bytes() == (tmp_path / cell.name / "student.safetensors").read_bytes()


def test_failures_on_a_node_are_reported(became: dict[str, Any]) -> None:
    """Ray does not retry automatically, and an EkdError is never retried."""
    both = became["both"]
    assert both["status"] == 1
    assert both["out"]["finished"] == 4
    failed = both["out"]["failed"]
    assert failed.keys() == {"arousal-seed0-fold02", "arousal-seed0-fold03"}
    assert failed["arousal-seed0-fold02"].startswith("gave up after 3 attempts, the last: WorkerCrashedError")
    assert _epochs(both, "arousal-seed0-fold02").count(1) == 3
    assert failed["arousal-seed0-fold03"] == "the recording of s001 is empty: leave it out"
    assert _epochs(both, "arousal-seed0-fold03") == [0, 1]
    # its checkpoint was sent back, so a retry resumes from it
    assert "cells/arousal-seed0-fold03/checkpoint-student.safetensors" in both["files"]


def test_cell_of_a_dead_node_resumes_on_the_other(became: dict[str, Any]) -> None:
    killed = became["killed"]
    assert killed["failed"] == {}
    assert killed["finished"] == 8
    assert killed["events"][-1]["kind"] == "finished"
    (lost,) = [event for event in killed["events"] if event["kind"] == "lost"]
    assert lost["worker"].startswith(OTHER)
    assert lost["attempt"] == 1
    again = [event for event in killed["events"] if event["cell"] == lost["cell"] and event["attempt"] == 2]
    assert [event["kind"] for event in again] == ["started", "finished"]
    assert again[0]["worker"].startswith(HEAD)
    # it resumes from the checkpoint that was sent back; nothing else is computed twice
    assert _epochs(killed, lost["cell"]) == [0, 1, 1, 2]
    counts = Counter((row["cell"], row["method"], row["epoch"]) for row in killed["computed"])
    assert {key for key, count in counts.items() if count > 1} == {(lost["cell"], "student", 1)}
    assert "Traceback" not in became["output"]


def test_dead_head_node_ends_the_sweep_with_one_sentence(became: dict[str, Any]) -> None:
    assert became["head"]["message"].startswith("the head node 127.0.0.1:6399 of the Ray cluster is unreachable")
