"""A real `ekd-edge` on a real node, a device with numbered samples, and a check of the recordings."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd_edge.recording.format import Mark, PredictionLine
from ekd_edge.recording.reader import Reader
from ekd_edge.recording.replay import find_recordings, read_recordings
from ekd_edge.signal.blocks import SampleBlock
from firmware_bridge.devices.ekd.emulator import EkdEmulator
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.emulation.line_faults import Fault
from firmware_bridge.emulation.player import Player

__all__ = ["HZ", "Edge", "Recorded", "check", "numbered", "numbered_device", "until"]

HZ = 128
PERIOD, LOWEST = 8000, 100


def numbered(first: int, stop: int) -> NDArray[np.float64]:
    """Counts of a 13-bit converter by which a sample is known: a ramp of 62.5 s, repeated."""
    return np.arange(first, stop) % PERIOD + float(LOWEST)


def numbered_device(seconds: int, speed: float = 0, faults: Sequence[Fault] = ()) -> Player:
    """An ekd device that sends numbered samples."""
    pieces: Iterator[NDArray[np.float64]] = (numbered(HZ * s, HZ * (s + 1)) for s in range(seconds))
    return Player(EkdEmulator(Waveform(pieces, Fraction(HZ), "adc", 13, 50.0)), speed, faults=faults)


class Edge:
    """A running `ekd-edge` with its output in files: a context manager that kills what is left of it."""

    def __init__(self, folder: Path, *arguments: object, environment: dict[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / "out", folder / "err"
        self.environment = {**os.environ, "EKD_STATUS": str(folder / "status"), **(environment or {})}
        command = [str(Path(sys.executable).with_name("ekd-edge")), *map(str, arguments)]
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err, env=self.environment)

    def __enter__(self) -> "Edge":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def out(self) -> list[str]:
        """Lines on stdout so far."""
        return self._out.read_text().splitlines()

    @property
    def err(self) -> str:
        """Stderr so far."""
        return self._err.read_text()

    def stop(self) -> int:
        """Ask for a clean stop; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(300)

    def status(self) -> dict[str, Any] | None:
        """Its status file, or None before the first one."""
        for path in Path(self.environment["EKD_STATUS"]).glob("*.json"):
            found: dict[str, Any] = json.loads(path.read_text())
            return found
        return None

    @property
    def samples(self) -> int:
        """Received so far, two seconds ago at most."""
        status = self.status()
        return 0 if status is None else sum(port["samples"] for port in status["ports"])

    @property
    def rss_kb(self) -> int:
        """Memory in use."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    @property
    def descriptors(self) -> int:
        """Open files."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))  # noqa: PTH208

    @property
    def recorded(self) -> tuple[int, int]:
        """Samples recorded and not recorded, by its closing line."""
        (line,) = [line for line in self.err.splitlines() if " samples recorded, " in line]
        recorded, lost = line.split("; ")[2].split(" samples recorded, ")
        return int(recorded), int(lost.removesuffix(" not"))

    @property
    def received(self) -> tuple[int, int]:
        """Samples received and dropped, by its closing line."""
        (line,) = [line for line in self.err.splitlines() if " samples received, " in line]
        words = line.split()
        return int(words[words.index("samples") - 1]), int(words[words.index("dropped,") - 1])


def until(condition: Callable[[], object], timeout_s: float = 300) -> float:
    """Wait until the condition is true; returns the seconds. Raises TimeoutError."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout_s:
            raise TimeoutError(f"not within {timeout_s:g} s")
        time.sleep(0.02)
    return time.monotonic() - began


@dataclass(frozen=True)
class Recorded:
    """The contents of a folder of recordings. wrong: numbered samples that do not fit their index."""

    samples: int
    segments: int
    gaps: int
    missing: int
    wrong: int
    predictions: list[str]
    marks: list[str]
    damaged: int


def check(folder: Path) -> Recorded:
    """Read recordings of a numbered device. Within a segment a sample's number goes with its index."""
    files = find_recordings(folder)
    assert files is not None
    reader = Reader()
    predictions: list[str] = []
    marks: list[str] = []
    samples = gaps = missing = wrong = 0
    at: tuple[int, int] | None = None
    offset = 0.0
    segments = set()
    for item in read_recordings(files, reader):
        if isinstance(item, PredictionLine):
            predictions.append(item.text)
        elif isinstance(item, Mark):
            marks.append(item.text)
        elif isinstance(item, SampleBlock):
            readings = item.values if item.readings is None else item.readings
            number = (readings - LOWEST - np.arange(item.first_index, item.first_index + len(readings))) % PERIOD
            if at is None or at[0] != item.segment:
                offset = float(number[0])
            elif at[1] != item.first_index:
                gaps, missing = gaps + 1, missing + item.first_index - at[1]
            wrong += int(np.count_nonzero(number != offset))
            samples += len(readings)
            segments.add(item.segment)
            at = item.segment, item.first_index + len(readings)
    return Recorded(samples, len(segments), gaps, missing, wrong, predictions, marks, reader.damaged)
