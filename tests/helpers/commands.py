"""Runs console scripts, also on a pseudo-terminal that plays a BITalino."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from firmware_bridge.devices.bitalino.emulator import BitalinoEmulator
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.emulation.waveforms import person_waveform

__all__ = ["EndedCommand", "reads_bitalino", "script"]

_PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class EndedCommand:
    """How a command ended. received: all bytes that it sent to its device."""

    status: int
    stdout: str
    stderr: str
    received: bytes


class _Bitalino(BitalinoEmulator):
    """A BITalino that keeps the bytes that it receives."""

    received = b""

    def receive(self, data: bytes) -> bytes:
        self.received += data
        return super().receive(data)


def script(name: str) -> str:
    """The path of a console script."""
    return str(Path(sys.executable).with_name(name))


def reads_bitalino(command: Sequence[str], number: signal.Signals, **environment: str) -> EndedCommand:
    """Run a command on an emulated BITalino, and send it a signal a second after it started the device."""
    bitalino = _Bitalino(person_waveform(Fraction(100), 1, None, 10))
    with PtyDevice(Player(bitalino)) as device:
        process = subprocess.Popen(
            [script(command[0]), *command[1:], "--port", device.path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        end = time.monotonic() + _PATIENCE_S
        while not bitalino.run and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(1)
        process.send_signal(number)
        out, err = process.communicate(timeout=_PATIENCE_S)
        while bitalino.run and time.monotonic() < end:
            time.sleep(0.02)
        return EndedCommand(process.returncode, out, err, bitalino.received)
