"""Stops and reloads of ekd-edge by signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ekd_edge.cli.shutdown import stop_on_signals
from firmware_bridge.devices.bitalino.decoder import STOP
from tests.helpers.commands import reads_bitalino, script


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 129)])
def test_first_signal_stops_and_wakes_the_loop(number: signal.Signals, status: int) -> None:
    woken: list[int] = []
    with stop_on_signals() as stop:
        stop.on_change = lambda: woken.append(1)
        assert (stop.check(), stop.status) == (False, 0)
        os.kill(os.getpid(), number)
        assert (stop.check(), stop.status, stop.reload.is_set(), woken) == (True, status, False, [1])
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.status == status
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_hangup_of_a_service_asks_to_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ekd_edge.cli.shutdown._has_terminal", lambda: False)
    woken: list[int] = []
    with stop_on_signals(reloads=True) as stop:
        stop.on_change = lambda: woken.append(1)
        os.kill(os.getpid(), signal.SIGHUP)
        assert (stop.reload.is_set(), stop.check(), woken) == (True, False, [1])
        stop.reload.clear()
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.reload.is_set()


def test_hangup_ends_the_command_where_its_terminal_was_closed(tmp_path: Path) -> None:
    code = """
import sys, time
from ekd_edge.cli.shutdown import stop_on_signals
with stop_on_signals(reloads=True) as stop:
    print("ready", flush=True)
    while not stop.check():
        time.sleep(0.05)
    open(sys.argv[1], "w").write(f"{stop.status} {stop.reload.is_set()}")
"""
    # In a process of its own: a fork of the tests' process can deadlock, as packages in it run threads.
    terminal = """
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
shown = b""
while b"ready\\r\\n" not in shown:
    shown += os.read(terminal, 100)
os.close(terminal)
os.waitpid(pid, 0)
"""
    subprocess.run([sys.executable, "-c", terminal, code, str(tmp_path / "found")], check=True, timeout=300)
    assert (tmp_path / "found").read_text() == "129 False"


def test_hangup_stays_ignored_where_it_was() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.check()
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_predict_stops_a_bitalino_and_removes_its_status_file(
    number: signal.Signals, status: int, model_path: Path, tmp_path: Path
) -> None:
    command = ["ekd-edge", "--format", "bitalino", "--rate", "100", "--json", "--model", str(model_path)]
    ended = reads_bitalino(command, number, EKD_STATUS=str(tmp_path / "s"))
    assert ended.status == status
    assert ended.received.endswith(STOP)
    assert list((tmp_path / "s").iterdir()) == []
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_calibrate_stops_a_bitalino_on_a_signal(
    number: signal.Signals, status: int, model_path: Path, tmp_path: Path
) -> None:
    command = ["ekd-edge", "calibrate", "--format", "bitalino", "--wearer", "anna", "--model", str(model_path)]
    ended = reads_bitalino(command, number, EKD_BASELINES=str(tmp_path))
    assert ended.status == status
    assert ended.received.endswith(STOP)
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in ended.stderr


def test_bench_ends_on_sigterm(model_path: Path) -> None:
    process = subprocess.Popen(
        [script("ekd-edge"), "bench", str(model_path), "--windows", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(3)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (143, "")
    assert "Traceback" not in err
