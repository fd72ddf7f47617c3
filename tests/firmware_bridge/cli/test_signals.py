"""SIGTERM and SIGHUP of a command that reads a port, and of the code around a command."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from firmware_bridge.cli.signals import Terminated, raised_signals
from firmware_bridge.devices.bitalino.decoder import STOP
from tests.helpers.commands import reads_bitalino


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_first_signal_is_raised_and_later_ones_are_ignored(number: signal.Signals, status: int) -> None:
    with raised_signals() as ended:
        with pytest.raises(Terminated):
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        assert ended.status == status
    assert signal.getsignal(number) == signal.SIG_DFL


def test_signal_after_the_time_for_closing_is_raised_again() -> None:
    with raised_signals() as ended:
        with pytest.raises(Terminated):
            os.kill(os.getpid(), signal.SIGTERM)
        ended.again_s = 0.0
        with pytest.raises(Terminated):
            os.kill(os.getpid(), signal.SIGHUP)
        assert ended.status == 143


def test_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raised_signals() as ended:
            os.kill(os.getpid(), signal.SIGHUP)
        assert ended.status is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_other_threads_install_nothing() -> None:
    found = []

    def look() -> None:
        with raised_signals():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]


def test_forked_process_ends_by_the_signal_itself() -> None:
    code = """
import os, signal
from firmware_bridge.cli.signals import raised_signals
with raised_signals():
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    print(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.stderr) == (f"{signal.SIGTERM.value}\n", "")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_monitor_stops_a_bitalino_on_a_signal(number: signal.Signals, status: int) -> None:
    ended = reads_bitalino(["ekd-firmware", "monitor", "--format", "bitalino"], number)
    assert ended.status == status
    assert ended.received.endswith(STOP)
    assert "Traceback" not in ended.stderr
