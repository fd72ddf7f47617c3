"""Closed and failing standard streams of a running ekd-edge."""

import json
import subprocess
from pathlib import Path

import pytest

from ekd_edge.cli.messages import notify
from tests.helpers.commands import script

LIVE = "--port 'sim://?speed=0&seconds=60' --json"


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", "0<&- 2>&-"])
def test_failing_stderr_keeps_the_json_lines_whole(streams: str, model_path: Path) -> None:
    edge = f"{script('ekd-edge')} --model {model_path}"
    whole = shell(f"{edge} {LIVE}")
    done = shell(f"{edge} {LIVE} {streams}")
    assert (whole.returncode, done.returncode) == (0, 0)
    assert len(done.stdout.splitlines()) == len(whole.stdout.splitlines()) > 0
    assert all("time" in json.loads(line) for line in done.stdout.splitlines())


def test_name_of_a_sensor_is_in_its_predictions(model_path: Path) -> None:
    port = "sim://?speed=0&seconds=60"
    for option, name in ((port, None), (f"{port},name=left hand", "left hand")):
        done = shell(f"{script('ekd-edge')} --model {model_path} --port '{option}' --json")
        assert done.returncode == 0, done.stderr
        assert {json.loads(line).get("port") for line in done.stdout.splitlines()} == {name}


@pytest.mark.parametrize(("streams", "status"), [("0<&- 1>&- 2>&-", 0), ("1>/dev/full 2>/dev/full", 2)])
def test_failing_stdout_ends_without_a_traceback(streams: str, status: int, model_path: Path) -> None:
    done = shell(f"{script('ekd-edge')} --model {model_path} {LIVE} {streams}")
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


@pytest.mark.parametrize("streams", ["1>/dev/full", "1>&-", "2>&-", "2>/dev/full"])
def test_monitor_survives_failing_streams(streams: str) -> None:
    done = shell(f"{script('ekd-firmware')} monitor --port 'sim://?speed=0&seconds=5' --json {streams}")
    assert done.returncode == (2 if streams == "1>/dev/full" else 0)
    assert "Traceback" not in done.stderr
    assert all(json.loads(line)["format"] == "ekd" for line in done.stdout.splitlines())


def test_notices_of_a_thread_survive_a_closed_stderr(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    closed = (tmp_path / "closed").open("w")
    closed.close()
    with Path("/dev/full").open("w") as full:
        for stream in (closed, full):
            monkeypatch.setattr("sys.stderr", stream)
            notify("a sentence")
        monkeypatch.undo()
        with pytest.raises(OSError, match="No space"):
            full.close()


def test_notice_shows_control_characters_as_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    notify("the columns \x1b[2J\u202e, \n are unknown")
    assert capsys.readouterr().err == "ekd-edge: the columns \\x1b[2J\\u202e, \\n are unknown\n"
