"""A measured process on one core: CPU time, wake-ups, memory, and its output with the time at which it was read."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

from benchmarks.bench import ROOT
from benchmarks.edge_feeding import HZ, Written
from ekd_edge.model.file import load_model_file
from ekd_edge.model.interpreter import open_classifier

__all__ = [
    "CORE",
    "EDGE",
    "Program",
    "Usage",
    "coldness",
    "edge_environment",
    "latencies_ms",
    "percentiles",
    "pump",
    "rss_mb",
]

EDGE = str(Path(sys.executable).with_name("ekd-edge"))
CORE = sorted(os.sched_getaffinity(0))[0]


def edge_environment(checkout: Path = ROOT) -> dict[str, str]:
    """Return an environment in which `ekd-edge` runs the code of a checkout."""
    paths = [str(checkout), str(checkout / "train"), str(checkout / "export"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used until `at_s`. cpu_s: of all threads, to a nanosecond. wakeups: voluntary switches."""

    at_s: float
    cpu_s: float
    wakeups: int

    def cpu_share_since(self, before: "Usage") -> float:
        """Return the share of a core since an earlier usage."""
        return (self.cpu_s - before.cpu_s) / (self.at_s - before.at_s)


class Program:
    """A running program, pinned to CORE; its stdout is a pipe, or a terminal, which `pump` reads.

    output: (monotonic time of the read, bytes) of each read.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, name: str, environment: dict[str, str], terminal: bool = False
    ) -> None:
        self._err = folder / f"{name}.err"
        environment = {**environment, "EKD_STATUS": str(folder / f"{name}.status"), "TERM": "xterm"}
        self.fd, out = pty.openpty() if terminal else os.pipe()
        with self._err.open("wb") as stderr:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(CORE), *command], stdout=out, stderr=stderr, env=environment
            )
        os.close(out)
        self.output: list[tuple[float, bytes]] = []

    @property
    def err(self) -> str:
        """Return its stderr so far."""
        return self._err.read_text()

    @property
    def running(self) -> bool:
        """Return whether it has not ended."""
        return self.process.poll() is None

    def holds(self, ports: Iterable[str]) -> bool:
        """Return whether the process has opened all of these ports."""
        folder = Path(f"/proc/{self.process.pid}/fd")
        try:
            held = {os.readlink(each) for each in folder.iterdir()}  # noqa: PTH115
        except OSError:
            return False
        return held.issuperset(ports)

    def usage(self) -> Usage:
        """Return what all of its threads have used so far."""
        cpu_ns = wakeups = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            cpu_ns += int((task / "schedstat").read_text().split()[0])
            wakeups += int((task / "status").read_text().split("\nvoluntary_ctxt_switches:")[1].split()[0])
        return Usage(time.monotonic(), cpu_ns / 1e9, wakeups)

    def stop(self) -> None:
        """End it as a service manager does, and read what is left of its output."""
        self.process.send_signal(signal.SIGTERM)
        end_s = time.monotonic() + 60
        while self.running and time.monotonic() < end_s:
            pump([self], 0.1)
        self.kill()

    def kill(self) -> None:
        """End it at once, and read what is left of its output."""
        self.process.kill()
        self.process.wait()
        if self.fd >= 0:
            pump([self], 0.1)
            os.close(self.fd)
            self.fd = -1

    def lines(self) -> list[tuple[float, dict[str, Any]]]:
        """Return the JSON objects that it printed, each with the time at which its last byte could be read."""
        found, rest = [], b""
        for at_s, data in self.output:
            *whole, rest = (rest + data).split(b"\n")
            found += [(at_s, json.loads(line)) for line in whole]
        return found


def rss_mb(pid: int) -> float:
    """Return the memory of a process."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def pump(programs: Sequence[Program], seconds: float) -> None:
    """Read the output of these programs for some seconds."""
    end_s = time.monotonic() + seconds
    poll = select.poll()
    by_fd = {program.fd: program for program in programs}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    while by_fd and (left_s := end_s - time.monotonic()) > 0:
        for fd, _ in poll.poll(left_s * 1e3):
            try:
                data = os.read(fd, 1 << 16)
            except OSError:  # a terminal whose program has ended
                data = b""
            if data:
                by_fd[fd].output.append((time.monotonic(), data))
            else:
                poll.unregister(fd)
                del by_fd[fd]
    if not by_fd:
        time.sleep(max(0.0, end_s - time.monotonic()))


def latencies_ms(program: Program, written: Written, sensors: dict[str | None, int]) -> tuple[list[float], list[float]]:
    """Return the latency of each prediction, as it states it, and from the write of its last sample to its line."""
    stated, outside = [], []
    for at_s, line in program.lines():
        stated.append(line["latency_ms"])
        written_s = written.time_of(sensors[line.get("port")], round(line["time"] * HZ))
        outside.append(1e3 * (at_s - written_s))
    return stated, outside


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Return p50 and p99; infinity where there are too few values."""
    if len(values) < 3:
        return float("inf"), float("inf")
    cuts = quantiles(values, n=100)
    return cuts[49], cuts[98]


def coldness(model: Path, times: int) -> dict[str, float]:
    """Measure a fixed numpy loop and one classification, hot and after a second of sleep, in ms: medians."""
    classifier = open_classifier(load_model_file(model))
    window = np.random.default_rng(1).normal(size=(1, 512)).astype(np.float32)
    samples = np.random.default_rng(2).normal(size=16)

    def numpy_loop() -> None:
        for _ in range(20):
            np.clip(np.diff(samples), -1, 1).mean()

    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CORE})
    found = {}
    for name, work in (("numpy_loop", numpy_loop), ("classification", lambda: classifier.predict(window))):
        hot = [_ms(work) for _ in range(20 * times)]
        cold = []
        for _ in range(times):
            time.sleep(1)
            cold.append(_ms(work))
        found |= {f"{name}_hot_ms": median(hot), f"{name}_cold_ms": median(cold)}
    os.sched_setaffinity(0, everywhere)
    return found


def _ms(work: Any) -> float:
    began = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - began)
