"""Status files and `ekd-edge status`."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ekd_edge.cli.main import main
from ekd_edge.cli.status import find_problems
from ekd_edge.service.status_file import StatusFile, alive, read_statuses, status_folder


def port(**changes: Any) -> dict[str, Any]:
    state = {
        "port": "/dev/ttyUSB0",
        "connected": True,
        "about": "/dev/ttyUSB0: ekd 01",
        "since_s": time.time() - 90,
        "openings": 1,
        "rate_hz": 128.0,
        "clock_ppm": 31.0,
        "message": "",
        "samples": 1280,
        "dropped": 0,
        "rejected": 0,
        "predicted": 4,
        "withheld": 0,
        "input": None,
        "last": {"labels": {"arousal": "low"}, "quality": 1.0, "reason": None, "latency_ms": 0.8},
        "recording": {"file": "r.ekdrec", "recorded": 1280, "lost": 0, "failing": None},
    }
    return state | changes


def model_input(**changes: Any) -> dict[str, Any]:
    return {
        "calibrated": [-3.9, 3.87],
        "samples": 2000,
        "clipped": 30,
        "hour_samples": 1000,
        "hour_clipped": 20,
        "hour_seen": [-4.0, 3.96],
        "problem": None,
    } | changes


def status(*ports: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "model": {"file": "m.tflite", "sha256": "", "replaced": False},
        "dropped_predictions": 0,
        "ports": [*ports],
    } | changes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EKD_STATUS", str(tmp_path))
    return tmp_path


def test_status_file_exists_while_the_process_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    messages: list[str] = []
    assert main(["status"]) == 2
    assert "no ekd-edge process of this user is running" in capsys.readouterr().err
    with StatusFile(folder, lambda: status(port()), messages.append):
        until_written(folder)
        assert main(["status", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["pid"], found["problems"], found["ports"][0]["samples"]) == (os.getpid(), [], 1280)
        assert main(["status"]) == 0
        shown = capsys.readouterr().out
        assert "/dev/ttyUSB0: ekd 01: 128 Hz, clock +31 ppm, for 90 s, opened 1 times" in shown
        assert "last: arousal low, signal 100%, 0.8 ms" in shown
        assert "input: " not in shown
    assert list(folder.iterdir()) == []
    assert messages == []


def test_input_is_shown_next_to_the_calibrated_range(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unused = model_input(hour_samples=0, hour_clipped=0, hour_seen=None)
    with StatusFile(folder, lambda: status(port(input=model_input()), port(input=unused)), print):
        until_written(folder)
        assert main(["status"]) == 0
        shown = [line for line in capsys.readouterr().out.splitlines() if "input: " in line]
        assert shown == [
            "    input: 2.0% of the last hour's samples are outside the range that the model was calibrated on "
            "(-3.90 to 3.87; seen -4.00 to 3.96)"
        ]
        assert main(["status", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["ports"][0]["input"] == model_input()


def until_written(folder: Path) -> None:
    end = time.monotonic() + 300
    while not list(folder.glob("*.json")):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_reduced_quality_of_a_window_with_a_label_is_no_problem(folder: Path) -> None:
    last = {"labels": {"a": "low"}, "quality": 0.98, "reason": "samples were lost", "latency_ms": 1}
    with StatusFile(folder, lambda: status(port(last=last)), print):
        until_written(folder)
        (found,) = read_statuses(folder)
        assert find_problems(found, time.time()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"connected": False, "message": "/dev/ttyUSB0 went away; waiting for it"}, "went away"),
        (
            {"recording": {"file": "r", "recorded": 1, "lost": 0, "failing": "No space left"}},
            "recording fails: No space",
        ),
        ({"recording": {"file": "r", "recorded": 1, "lost": 7, "failing": None}}, "7 samples could not be recorded"),
        ({"last": {"labels": {"a": None}, "quality": 0, "reason": "flat line", "latency_ms": 1}}, "flat line"),
        ({"input": model_input(problem="12.0% of the last hour's input is outside")}, "USB0: 12.0% of the last hour"),
    ],
)
def test_port_problems_are_reported(changes: dict[str, Any], words: str, folder: Path) -> None:
    with StatusFile(folder, lambda: status(port(**changes), port()), print):
        until_written(folder)
        (found,) = read_statuses(folder)
        (problem,) = find_problems(found, time.time())
        assert words in problem
        assert main(["status"]) == 1


def test_process_problems_are_reported(folder: Path) -> None:
    about = status(model={"file": "m.tflite", "sha256": "", "replaced": True}, dropped_predictions=3)
    with StatusFile(folder, lambda: about, print):
        until_written(folder)
        (found,) = read_statuses(folder)
    problems = find_problems(found, time.time() + 60)
    assert [
        any(word in one for one in problems) for word in ("not updated its status", "replaced", "3 predictions dropped")
    ] == [True] * 3


def test_killed_process_is_reported_until_the_next_one_starts(folder: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from tests.ekd_edge.service.test_status_file import status
from ekd_edge.service.status_file import StatusFile
with StatusFile(Path({str(folder)!r}), status, print):
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    until_written(folder)
    process.kill()
    process.wait()
    (found,) = read_statuses(folder)
    assert not alive(found)
    assert "exited without cleaning up" in find_problems(found, time.time())[0]
    assert main(["status"]) == 1
    with StatusFile(folder, status, print):
        until_written(folder)
        assert [found["pid"] for found in read_statuses(folder)] == [os.getpid()]


def test_unwritable_folder_is_notified_once(tmp_path: Path) -> None:
    messages: list[str] = []
    (tmp_path / "file").write_text("")
    with StatusFile(tmp_path / "file" / "ekd", status, messages.append):
        time.sleep(0.1)
    assert len(messages) == 1
    assert "`ekd-edge status` will not show this process" in messages[0]


@pytest.mark.parametrize("text", ["", "[]", '{"status": 99}'])
def test_invalid_status_file_is_named(text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "edge-1.json").write_text(text)
    assert main(["status"]) == 2
    assert "edge-1.json" in capsys.readouterr().err


def test_status_folder_belongs_to_the_user() -> None:
    assert status_folder({"EKD_STATUS": "/a"}) == Path("/a")
    assert status_folder({"XDG_RUNTIME_DIR": "/run/user/7"}) == Path("/run/user/7/ekd")
    assert status_folder({}).name == f"ekd-{os.getuid()}"
