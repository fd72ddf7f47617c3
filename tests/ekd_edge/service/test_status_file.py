"""Status files and `ekd-edge status`."""

import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    with written(folder, lambda: status(port()), messages.append):
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
    with written(folder, lambda: status(port(input=model_input()), port(input=unused)), print):
        assert main(["status"]) == 0
        shown = [line for line in capsys.readouterr().out.splitlines() if "input: " in line]
        assert shown == [
            "    input: 2.0% of the last hour's samples are outside the range that the model was calibrated on "
            "(-3.90 to 3.87; seen -4.00 to 3.96)"
        ]
        assert main(["status", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["ports"][0]["input"] == model_input()


@contextmanager
def written(
    folder: Path, describe: Callable[[], dict[str, Any]], notify: Callable[[str], None] = print
) -> Iterator[StatusFile]:
    """A status file that was written, and is removed at the end."""
    status_file = StatusFile(folder, describe, notify)
    status_file.run()
    try:
        yield status_file
    finally:
        status_file.finish()


def until_written(folder: Path) -> None:
    end = time.monotonic() + 300
    while not list(folder.glob("*.json")):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_reduced_quality_of_a_window_with_a_label_is_no_problem(folder: Path) -> None:
    last = {"labels": {"a": "low"}, "quality": 0.98, "reason": "samples were lost", "latency_ms": 1}
    with written(folder, lambda: status(port(last=last))):
        (found,) = read_statuses(folder).found
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
        (
            {"recording": {"file": "r", "recorded": 1, "lost": 0, "lost_predictions": 3, "failing": None}},
            "3 predictions could not be recorded",
        ),
        ({"last": {"labels": {"a": None}, "quality": 0, "reason": "flat line", "latency_ms": 1}}, "flat line"),
        ({"input": model_input(problem="12.0% of the last hour's input is outside")}, "USB0: 12.0% of the last hour"),
    ],
)
def test_port_problems_are_reported(changes: dict[str, Any], words: str, folder: Path) -> None:
    with written(folder, lambda: status(port(**changes), port()), print):
        (found,) = read_statuses(folder).found
        (problem,) = find_problems(found, time.time())
        assert words in problem
        assert main(["status"]) == 1


def test_problem_that_is_also_the_reason_of_the_last_window_is_shown_once(folder: Path) -> None:
    problem = "sends 100 samples a second, not 10: check --rate"
    last = {"labels": {"arousal": None}, "quality": 0.0, "reason": problem, "latency_ms": 0.8}
    with written(folder, lambda: status(port(problem=problem, last=last))):
        (found,) = read_statuses(folder).found
        assert find_problems(found, time.time()) == [f"/dev/ttyUSB0: {problem}"]


def test_process_problems_are_reported(folder: Path) -> None:
    about = status(model={"file": "m.tflite", "sha256": "", "replaced": True}, dropped_predictions=3)
    with written(folder, lambda: about, print):
        (found,) = read_statuses(folder).found
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
StatusFile(Path({str(folder)!r}), status, print).run()
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    until_written(folder)
    process.kill()
    process.wait()
    (found,) = read_statuses(folder).found
    assert not alive(found)
    assert "exited without cleaning up" in find_problems(found, time.time())[0]
    assert main(["status"]) == 1
    with written(folder, status, print):
        assert [found["pid"] for found in read_statuses(folder).found] == [os.getpid()]


def test_unwritable_folder_is_notified_once(tmp_path: Path) -> None:
    messages: list[str] = []
    (tmp_path / "file").write_text("")
    status_file = StatusFile(tmp_path / "file" / "ekd", status, messages.append)
    for _ in range(3):
        status_file._due_s = 0.0
        status_file.run()
    status_file.finish()
    assert len(messages) == 1
    assert "`ekd-edge status` will not show this process" in messages[0]


def odd_file(folder: Path, kind: str) -> Path:
    path = folder / "edge-1.json"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(path))
        case "folder":
            path.mkdir()
        case "link":
            (folder / "target").write_text(json.dumps(status()))
            path.symlink_to(folder / "target")
        case "huge":
            with path.open("wb") as file:
                file.truncate(1 << 40)
        case "deep":
            path.write_text("[" * 100_000)
        case _:
            path.write_text(kind)
    return path


HEAD = {"status": 1, "pid": 1, "started": 1.0, "updated": 1.0, "process": "1", "model": {}, "ports": []}
ODD = [
    *("fifo", "socket", "folder", "link", "huge", "deep", "", "[]", "{}", '{"status": 1}', '{"status": 99}', "\udc80"),
    *(json.dumps({**HEAD, key: value}) for key, value in (("pid", "1"), ("started", None), ("model", 3), ("ports", 1))),
    *(json.dumps({**HEAD, "updated": value}) for value in (True, float("nan"), 1e300, "now")),
    *(json.dumps({**HEAD, "process": value}) for value in (3, [])),
    '{"status": 1, "pid": ' + "9" * 5000 + "}",
]


@pytest.mark.parametrize("kind", ODD, ids=range(len(ODD)))
def test_odd_status_file_is_skipped_with_a_mention(kind: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "edge-1.json"
    if kind == "\udc80":
        path.write_bytes(b"\xff\xfe")
    else:
        odd_file(folder, kind)
    messages: list[str] = []
    with written(folder, lambda: status(port()), messages.append):
        assert main(["status", "--json"]) == 0
        out, err = capsys.readouterr()
        assert f"{path} is not a status file" in err
        assert json.loads(out)["pid"] == os.getpid()
    assert messages == []


def test_file_of_another_version_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "edge-1.json").write_text(json.dumps({**HEAD, "status": 99}))
    assert main(["status"]) == 2
    err = capsys.readouterr().err
    assert "edge-1.json is not a status file of ekd-edge (it is of another version of ekd)" in err
    assert "no ekd-edge process of this user is running" in err


def test_status_with_odd_content_of_a_running_process_is_skipped(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with written(folder, lambda: status({"port": 3})):
        assert main(["status"]) == 2
        assert "is not a status file of this version" in capsys.readouterr().err
    with written(folder, lambda: status(port(about="a\x1b[2Jb"))):
        assert main(["status"]) == 0
        assert "a\\x1b[2Jb" in capsys.readouterr().out


def test_status_names_a_sensor_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = "/dev/ttyUSB0: no line of numbers: check the baud rate"
    with written(folder, lambda: status(port(name="left"), port(name="/dev/ttyUSB0"), port(name="r", problem=lost))):
        assert main(["status"]) == 1
    shown = capsys.readouterr().out.splitlines()
    heads = [line for line in shown if line.endswith("opened 1 times")]
    assert [head.partition(": ekd 01")[0].strip() for head in heads] == [
        "left, /dev/ttyUSB0",
        "/dev/ttyUSB0",
        "r, /dev/ttyUSB0",
    ]
    assert shown[-1] == "  ! r: no line of numbers: check the baud rate"


@pytest.mark.parametrize("kind", ["link", "file", "foreign", "shared"])
def test_folder_that_another_user_could_prepare_is_not_used(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "ekd"
    monkeypatch.setenv("EKD_STATUS", str(folder))
    victim = tmp_path / "victim"
    victim.mkdir()
    if kind == "link":
        folder.symlink_to(victim)
    elif kind == "file":
        folder.write_text("")
    else:
        folder.mkdir()
        folder.chmod(0o777 if kind == "shared" else 0o700)
    if kind == "foreign":
        monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    messages: list[str] = []
    status_file = StatusFile(folder, status, messages.append)
    status_file.run()
    status_file.finish()
    assert list(victim.iterdir()) == []
    assert kind == "file" or list(folder.iterdir()) == []
    assert len(messages) == 1
    assert "`ekd-edge status` will not show this process: " in messages[0]
    assert main(["status"]) == 2
    assert kind == "file" or f"the status folder {folder} " in capsys.readouterr().err


def test_link_with_the_name_of_the_pending_file_is_not_followed(folder: Path) -> None:
    victim = folder / "victim"
    victim.write_text("mine")
    pid = os.getpid()
    for name in (f"edge-{pid}.new", f".edge-{pid}.json.{pid}.part", f"edge-{pid}.json"):
        (folder / name).symlink_to(victim)
    with written(folder, status):
        assert victim.read_text() == "mine"
        path = folder / f"edge-{pid}.json"
        assert not path.is_symlink()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_status_is_written_at_most_every_two_seconds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described: list[int] = []

    def describe() -> dict[str, Any]:
        described.append(1)
        return status()

    status_file = StatusFile(folder, describe, print)
    for now_s in (100.0, 100.1, 101.9, 102.0, 103.9, 104.5):
        monkeypatch.setattr("ekd_edge.service.status_file.monotonic", lambda now_s=now_s: now_s)
        status_file.run()
    assert len(described) == 3
    status_file.finish()
    assert list(folder.iterdir()) == []


def test_failing_worker_and_port_are_problems(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recovered = {"recording of a": {"faults": 2, "message": None}}
    failing = {"stdout": {"faults": 3, "message": "stdout fails: OSError: No space left"}}
    with written(folder, lambda: status(port(problem=None), workers=recovered)):
        assert main(["status"]) == 0
        assert "recording of a: 2 faults so far" in capsys.readouterr().out
    with written(folder, lambda: status(port(problem="sends 100 Hz, not 128"), workers=recovered | failing)):
        assert main(["status", "--json"]) == 1
        assert json.loads(capsys.readouterr().out)["problems"] == [
            "stdout fails: OSError: No space left (3 faults so far)",
            "/dev/ttyUSB0: sends 100 Hz, not 128",
        ]


def test_status_loads_no_numpy(folder: Path) -> None:
    code = """
import sys
from ekd_edge.cli.main import main
print(main(["status"]), sorted({"numpy", "scipy", "serial"} & set(sys.modules)))
"""
    with written(folder, lambda: status(port())):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines()[-1] == "0 []", done


def test_status_folder_belongs_to_the_user() -> None:
    assert status_folder({"EKD_STATUS": "/a"}) == Path("/a")
    assert status_folder({"XDG_RUNTIME_DIR": "/run/user/7"}) == Path("/run/user/7/ekd")
    assert status_folder({}).name == f"ekd-{os.getuid()}"
