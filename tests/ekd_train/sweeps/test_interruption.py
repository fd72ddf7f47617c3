"""Sweeps interrupted by Ctrl-C or by a killed driver, in separate processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

from .conftest import STANDIN, Bench

ARGUMENTS = ("--data", "synthetic?subjects=4", "--methods", "student", "--device", "cpu", "--workers", "2")


def _start(bench: Bench, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"{STANDIN}.drive", "sweep", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def _until(condition: object, process: subprocess.Popen[str]) -> None:
    assert callable(condition)
    end = time.monotonic() + 300
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(f"it did not come so far: {process.communicate()}")
        time.sleep(0.01)


def _wait_until_two_cells_run(bench: Bench, process: subprocess.Popen[str]) -> set[int]:
    """Wait until two cells are finished and two are running; return the workers."""
    waiting = ("arousal-seed0-fold02", "arousal-seed0-fold03")
    _until(lambda: all(bench.epochs_of(cell) == [0, 1] for cell in waiting) and len(bench.results()) == 2, process)
    workers = {int(row["pid"]) for row in bench.computed()}
    assert len(workers) == 2
    assert all(_alive(pid) for pid in workers)
    return workers


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _assert_resumes(bench: Bench) -> None:
    """Assert that the sweep resumes from the finished epochs and completes."""
    bench.order()
    with _start(bench, "--resume", str(bench.folder), "--device", "cpu") as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "2 of 4 results are finished already" in err
    assert len(bench.results()) == 4
    assert bench.epochs_of("arousal-seed0-fold00") == [0, 1, 2]
    assert bench.epochs_of("arousal-seed0-fold03") == [0, 1, 1, 2]
    assert str(bench.folder) in out


@pytest.fixture
def waiting(bench: Bench) -> Bench:
    bench.order(fold02="wait", fold03="wait")
    return bench


@pytest.mark.parametrize("whole_group", [True, False], ids=["terminal", "kill -INT"])
def test_ctrl_c_ends_the_workers_and_keeps_finished_results(waiting: Bench, whole_group: bool) -> None:
    with _start(waiting, *ARGUMENTS, "--out", str(waiting.folder)) as process:
        workers = _wait_until_two_cells_run(waiting, process)
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == f"ekd-train: stopped; continue with ekd-train sweep --resume {waiting.folder}"
    assert "Traceback" not in err
    assert not any(_alive(pid) for pid in workers)
    assert waiting.results() == {f"arousal-seed0-fold0{fold}/student.json" for fold in (0, 1)}
    _assert_resumes(waiting)


def test_workers_end_with_a_killed_driver(waiting: Bench) -> None:
    with _start(waiting, *ARGUMENTS, "--out", str(waiting.folder)) as process:
        workers = _wait_until_two_cells_run(waiting, process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=300)  # their ends of the pipes close with them
    end = time.monotonic() + 300
    while any(_alive(pid) for pid in workers):
        assert time.monotonic() < end, "workers outlived their driver"
        time.sleep(0.01)
    _assert_resumes(waiting)
