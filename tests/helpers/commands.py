"""Runs console scripts, also on a pseudo-terminal that plays a BITalino."""

import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from firmware_bridge.devices.bitalino.emulator import BitalinoEmulator
from firmware_bridge.emulation.waveforms import person_waveform

__all__ = ["EndedCommand", "reads_bitalino", "script"]

_PATIENCE_S, _SETTLE_S, _BURST_S = 300.0, 10.0, 0.02


@dataclass(frozen=True, slots=True)
class EndedCommand:
    """How a command ended. received: all bytes that it sent to its device."""

    status: int
    stdout: str
    stderr: str
    received: bytes


class _Bitalino:
    """A BITalino at a pseudo-terminal that stays open, so that every byte of its reader arrives."""

    def __init__(self) -> None:
        self._emulator = BitalinoEmulator(person_waveform(Fraction(100), 1, None, 10))
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self.received = b""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._play)

    @property
    def runs(self) -> bool:
        """Whether it was started and not stopped."""
        return bool(self._emulator.run)

    def __enter__(self) -> "_Bitalino":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)

    def _play(self) -> None:
        bursts = None
        while not self._ending.wait(_BURST_S):
            if select.select([self._master], [], [], 0)[0]:
                data = os.read(self._master, 4096)
                self.received += data
                os.write(self._master, self._emulator.receive(data))
            if not self.runs:
                bursts = None
                continue
            bursts = bursts or self._emulator.bursts()
            with suppress(BlockingIOError):
                os.write(self._master, next(bursts).data)


def script(name: str) -> str:
    """The path of a console script."""
    return str(Path(sys.executable).with_name(name))


def reads_bitalino(command: Sequence[str], number: signal.Signals, **environment: str) -> EndedCommand:
    """Run a command on an emulated BITalino, and send it a signal a second after it started the device."""
    with _Bitalino() as bitalino:
        process = subprocess.Popen(
            [script(command[0]), *command[1:], "--port", bitalino.path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        end = time.monotonic() + _PATIENCE_S
        while not bitalino.runs and time.monotonic() < end:
            time.sleep(_BURST_S)
        time.sleep(1)
        process.send_signal(number)
        out, err = process.communicate(timeout=_PATIENCE_S)
        end = time.monotonic() + _SETTLE_S
        while bitalino.runs and time.monotonic() < end:
            time.sleep(_BURST_S)
        return EndedCommand(process.returncode, out, err, bitalino.received)
