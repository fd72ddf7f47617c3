"""Sweeps of trained cells: killed sweeps resume to the same results."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

TINY = """
data = "synthetic?subjects=6&trials=6&trial_s=20"
signal = { rate_hz = "64", window_s = 2.0, hop_s = 2.0 }
network = { filters = 8, heads = 2, key_size = 4, ffn = 8 }
teacher = { epochs = 2, batch_size = 16 }
student = { epochs = 3, batch_size = 16 }
"""


def _sweep(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ekd_train.cli.main", "sweep", "--device", "cpu", "--workers", "2", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _results(folder: Path) -> dict[str, Any]:
    found = {}
    for path in sorted(folder.glob("cells/*/*")):
        name = f"{path.parent.name}/{path.name}"
        if path.suffix == ".json":
            found[name] = json.loads(path.read_text()) | {"seconds": None}
        elif path.suffix == ".safetensors":
            found[name] = {key: value.tobytes() for key, value in load_file(path).items()}
    return found


def _workers(parent: int) -> list[int]:
    tasks = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [pid for pid in map(int, tasks) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.slow
def test_killed_workers_and_driver_do_not_change_results(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY, encoding="utf-8")
    plan = ("--preset", str(tmp_path / "tiny.toml"), "--split", "k-fold:2", "--methods", "teacher,kd-feedback")
    with _sweep(*plan, "--out", str(tmp_path / "whole")) as whole:
        _, err = whole.communicate(timeout=200)
    assert whole.returncode == 0, err

    killed = tmp_path / "killed"
    with _sweep(*plan, "--out", str(killed)) as process:
        _until_there(killed, "checkpoint-teacher.safetensors", process)
        for pid in _workers(process.pid):
            os.kill(pid, signal.SIGKILL)
        _until_there(killed, "checkpoint-kd-feedback.safetensors", process)
        process.kill()
        process.communicate(timeout=300)
    assert len(_results(killed)) < len(_results(tmp_path / "whole"))
    with _sweep("--resume", str(killed)) as resumed:
        _, err = resumed.communicate(timeout=200)
    assert resumed.returncode == 0, err
    kinds = [json.loads(line)["kind"] for line in (killed / "events.jsonl").read_text().splitlines()]
    assert "lost" in kinds
    assert _results(killed) == _results(tmp_path / "whole")
    report = json.loads((killed / "report.json").read_text())
    assert report["complete"]
    assert report["synthetic"]


def _until_there(folder: Path, name: str, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 300
    while not list(folder.glob(f"cells/*/{name}")):
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(f"no {name} came: {process.communicate()}")
        time.sleep(0.005)
