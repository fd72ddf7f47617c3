"""Runs ekd-edge as a process and parses its output."""

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

EDGE = str(Path(sys.executable).with_name("ekd-edge"))
CSV = ["--format", "csv", "--rate", "32", "--unit", "uS"]


def edge(*arguments: object, timeout: float = 300, **options: object) -> subprocess.CompletedProcess[str]:
    command = [EDGE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)  # type: ignore[call-overload,no-any-return]


@contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The running command; entered when it has printed its first line."""
    process = subprocess.Popen([EDGE, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert "reading" in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def predictions(stdout: str) -> list[dict[str, object]]:
    """The predictions that --json printed, without the latency, which differs between runs."""
    found = [json.loads(line) for line in stdout.splitlines()]
    for prediction in found:
        assert prediction.pop("latency_ms") >= 0
    return found


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Assert exit status 2 and one sentence on stderr that contains the words."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    first_and_last = (" predicts ", " samples received, ", "ekd-edge: reading ")
    messages = [line for line in done.stderr.splitlines() if not any(word in line for word in first_and_last)]
    assert len(messages) == 1, done.stderr
    assert messages[0].startswith("ekd-edge: ")
    for word in words:
        assert word in messages[0]


def recording(path: Path, seconds: float = 20, rate: int = 32, header: str = "") -> Path:
    walk = np.cumsum(np.random.default_rng(1).normal(scale=0.02, size=int(seconds * rate)))
    path.write_text(header + "".join(f"{value:.4f}\n" for value in 5 + walk - walk.min()))
    return path


@dataclass
class Wire:
    """A pseudo-terminal; the test writes to its master end as a sensor would."""

    master: int
    name: str

    def send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.master, data) :]

    def send_until(self, ended: threading.Event, data: bytes) -> None:
        """Send the data repeatedly, as fast as it is read, until the event is set."""
        os.set_blocking(self.master, False)
        while not ended.is_set():
            if select.select([], [self.master], [], 0.05)[1]:
                os.write(self.master, data)
