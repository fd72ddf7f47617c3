"""Closed and failing standard streams of a running ekd-edge."""

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ekd_edge.cli.messages import notify
from ekd_edge.recording.contents import read_contents
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


@contextmanager
def blocked(kind: str) -> Iterator[int]:
    """The descriptor of a pipe or a terminal that accepts nothing more: the other end is never read."""
    other, full = os.pipe() if kind == "pipe" else pty.openpty()
    os.set_blocking(full, False)
    for size in (4096, 1):
        with suppress(BlockingIOError):
            while True:
                os.write(full, b"x" * size)
    os.set_blocking(full, True)
    try:
        yield full
    finally:
        os.close(other)
        os.close(full)


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
@pytest.mark.parametrize("streams", [("stdout",), ("stderr",), ("stdout", "stderr")])
def test_blocked_streams_delay_neither_recording_nor_the_end(
    kind: str, streams: tuple[str, ...], model_path: Path, tmp_path: Path
) -> None:
    command = [script("ekd-edge"), "--model", str(model_path), "--port", "sim://?speed=0&seconds=60", "--json"]
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err, blocked(kind) as full:
        given = {"stdout": out, "stderr": err} | dict.fromkeys(streams, full)
        process = subprocess.Popen([*command, "--record", str(tmp_path / "r")], **given)
        assert process.wait(60) == 0
    (path,) = (tmp_path / "r").iterdir()
    found = read_contents([path])
    assert sum(stretch.length for stretch in found.stretches) == 60 * 128
    assert found.predictions == 60 - 6
    if "stdout" not in streams:
        assert len((tmp_path / "out").read_text().splitlines()) == 60 - 6
    if "stderr" not in streams:
        assert "7680 samples received, 0 dropped" in (tmp_path / "err").read_text()


def test_name_of_a_sensor_is_in_its_predictions_and_messages(model_path: Path) -> None:
    port = "sim://?speed=0&seconds=60"
    for option, name in ((port, None), (f"{port},name=left hand", "left hand")):
        done = shell(f"{script('ekd-edge')} --model {model_path} --port '{option}' --json")
        assert done.returncode == 0, done.stderr
        assert {json.loads(line).get("port") for line in done.stdout.splitlines()} == {name}
        before = "" if name is None else f"{name}: "
        assert f"ekd-edge: {before}reading {port}: ekd ekd-sim at 128 Hz\n" in done.stderr


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
