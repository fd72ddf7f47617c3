"""Pseudo-terminals that a process of its own feeds as sensors would, with the time at which each burst was written."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
import tty
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from benchmarks.bench import ROOT
from firmware_bridge.devices.csv.emulator import CsvEmulator
from firmware_bridge.devices.ekd.emulator import frame_bursts, linear_hello
from firmware_bridge.devices.emulator import Burst
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.synthesis import simulated_blocks

__all__ = ["HZ", "Feed", "Feeding", "Sensors", "Written", "waveform"]

HZ = 128
_FRAME = 8
_SPARE_FILES = 200


def waveform(seconds: int, seed: int = 1) -> Waveform:
    return Waveform(islice(simulated_blocks(float(HZ), seed, HZ), seconds), Fraction(HZ))


@lru_cache
def _frames(seconds: int) -> list[Burst]:
    """Return frames as the firmware sends them: eight samples each, HELLO and STATUS every second."""
    blocks = islice(simulated_blocks(float(HZ), 1, _FRAME), seconds * HZ // _FRAME)
    counts = [(block / 50 * 65536).astype(np.uint16) for block in blocks]
    return list(frame_bursts(counts, linear_hello(Fraction(HZ))))


@lru_cache
def _lines(seconds: int) -> list[Burst]:
    """Return CSV lines in microsiemens, one for each sample."""
    return list(CsvEmulator(waveform(seconds), about=False).bursts())


@dataclass(frozen=True, slots=True)
class Feed:
    """What one sensor sends for some seconds, "frames" or "lines", beginning `phase_s` after the start."""

    kind: str
    seconds: int
    phase_s: float = 0.0

    @property
    def bursts(self) -> list[Burst]:
        """Return what is sent, in order."""
        return _frames(self.seconds) if self.kind == "frames" else _lines(self.seconds)


@dataclass(frozen=True, slots=True)
class Written:
    """What was written to each sensor.

    ends: samples up to the end of each burst. times: when it was written, on the monotonic clock; infinity if not.
    full: writes that a full buffer refused.
    """

    ends: list[NDArray[np.int64]]
    times: list[NDArray[np.float64]]
    full: int

    @property
    def samples(self) -> int:
        """Return how many were written to all sensors."""
        return sum(int(end[np.isfinite(time)][-1]) for end, time in zip(self.ends, self.times, strict=True))

    def time_of(self, sensor: int, samples: int) -> float:
        """Return when the burst was written with which this many samples were complete."""
        return float(self.times[sensor][np.searchsorted(self.ends[sensor], samples)])


class Sensors:
    """A context manager of pseudo-terminals, whose names are in `ports`."""

    def __init__(self, number: int) -> None:
        most = int(Path("/proc/sys/kernel/pty/max").read_text())
        if number + 8 > most:
            raise SystemExit(f"this system has {most} pseudo-terminals: name a smaller --most, or raise kernel.pty.max")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 2 * number + _SPARE_FILES
        if soft < wanted:
            if hard < wanted:
                raise SystemExit(f"{wanted} open files are needed, and {hard} allowed: name a smaller --most")
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        self._open: list[int] = []
        self._number = number
        self.ports: list[str] = []
        self.masters: list[int] = []

    def __enter__(self) -> "Sensors":
        for _ in range(self._number):
            master, slave = os.openpty()
            tty.setraw(slave)
            os.set_blocking(master, False)
            self.ports.append(os.ttyname(slave))
            self.masters.append(master)
            self._open += [master, slave]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for descriptor in self._open:
            os.close(descriptor)

    def feeding(self, feeds: Sequence[Feed], folder: Path) -> "Feeding":
        """Start to feed the sensors, in a process of its own."""
        return Feeding(self.masters, feeds, folder)


class Feeding:
    """A process that feeds sensors. It shares no interpreter lock with the reader of predictions."""

    def __init__(self, masters: Sequence[int], feeds: Sequence[Feed], folder: Path) -> None:
        self._feeds, self._written = feeds, folder / "written.npz"
        feeding = folder / "feeding.json"
        feeding.write_text(json.dumps({"masters": list(masters), "feeds": [astuple(feed) for feed in feeds]}))
        command = [sys.executable, "-m", "benchmarks.edge_feeding", str(feeding), str(self._written)]
        self._process = subprocess.Popen(command, pass_fds=masters, cwd=ROOT)

    @property
    def running(self) -> bool:
        """Return whether something is left to write."""
        return self._process.poll() is None

    def stop(self) -> Written:
        """Stop feeding, and return what was written."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        self._process.wait()
        with np.load(self._written) as found:
            times, full = found["times"], int(found["full"])
        ends = [np.array([burst.samples for burst in feed.bursts]) for feed in self._feeds]
        each = [row[: len(end)] for row, end in zip(times, ends, strict=True)]
        return Written(ends, each, full)


def _main() -> None:
    feeding = json.loads(Path(sys.argv[1]).read_text())
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    _feed(feeding["masters"], [Feed(*each) for each in feeding["feeds"]], Path(sys.argv[2]), stopped)


def _feed(masters: Sequence[int], feeds: Sequence[Feed], path: Path, stopped: list[int]) -> None:
    bursts = [feed.bursts for feed in feeds]
    due: list[tuple[float, int, int]] = []
    for sensor, (feed, sent) in enumerate(zip(feeds, bursts, strict=True)):
        due += [(feed.phase_s + burst.samples / HZ, number, sensor) for number, burst in enumerate(sent)]
    due.sort()
    times = np.full((len(feeds), max(map(len, bursts))), np.inf)
    full = 0
    began = time.monotonic()
    for due_s, number, sensor in due:
        left_s = began + due_s - time.monotonic()
        if left_s > 0:
            time.sleep(left_s)
            if stopped:
                break
        try:
            os.write(masters[sensor], bursts[sensor][number].data)
        except BlockingIOError:
            full += 1
        times[sensor, number] = time.monotonic()
    with path.open("wb") as file:
        np.savez(file, times=times, full=full)


if __name__ == "__main__":
    _main()
