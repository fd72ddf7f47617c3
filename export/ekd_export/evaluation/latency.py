"""Latency of one window, from preprocessed samples to logits, on this machine."""

import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd_edge.model.file import ModelFile
from ekd_edge.model.interpreter import open_classifier

__all__ = ["Latency", "machine", "measure_latency"]

WARM_UPS = 20
RUNS = 1000
BUDGET_S = 2.0
_LEAST_FOR_P99 = 100


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one window through `Classifier.predict`, quantization of input and output included.

    p99_ms: None where fewer than 100 runs fitted into the time limit. machine: the one it was measured on.
    """

    p50_ms: float
    p99_ms: float | None
    runs: int
    warm_ups: int
    threads: int
    machine: str

    def to_json(self) -> dict[str, Any]:
        """The figures as a JSON-ready dict."""
        return asdict(self)


def measure_latency(
    model_file: ModelFile, windows: NDArray[np.float32], threads: int = 1, budget_s: float = BUDGET_S
) -> Latency:
    """Time predictions of single windows.

    Args:
        model_file: the model.
        windows: float32 (n, window_samples), n at least 1, used in turn.
        threads: threads of the TFLite runtime.
        budget_s: time limit. 20 runs for warm-up and 1000 timed ones end early where it is reached; at least one is
            timed.

    Returns:
        Median and 99th percentile.

    Raises:
        EkdError: the model cannot be opened, see `open_classifier`.
    """
    predict = open_classifier(model_file, threads).predict
    single = [windows[index : index + 1] for index in range(min(len(windows), RUNS))]
    started = time.perf_counter()
    warm_ups = 0
    while warm_ups < WARM_UPS and (warm_ups == 0 or time.perf_counter() - started < budget_s / 4):
        predict(single[warm_ups % len(single)])
        warm_ups += 1
    times_s: list[float] = []
    while len(times_s) < RUNS and (not times_s or time.perf_counter() - started < budget_s):
        window = single[len(times_s) % len(single)]
        start = time.perf_counter()
        predict(window)
        times_s.append(time.perf_counter() - start)
    p50_ms, p99_ms = (float(value) for value in 1000 * np.quantile(times_s, (0.5, 0.99)))
    return Latency(
        p50_ms=p50_ms,
        p99_ms=p99_ms if len(times_s) >= _LEAST_FOR_P99 else None,
        runs=len(times_s),
        warm_ups=warm_ups,
        threads=threads,
        machine=machine(),
    )


def machine() -> str:
    """This machine: name of the board or processor, where the system has it, and number of cores; no host name."""
    cores = os.cpu_count() or 1
    return f"{_model() or platform.machine() or 'unknown processor'}, {cores} {'core' if cores == 1 else 'cores'}"


def _model() -> str | None:
    board = Path("/proc/device-tree/model")
    try:
        if board.is_file():
            return _clean(board.read_text(encoding="utf-8", errors="replace").strip("\0"))
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return _clean(line.partition(":")[2])
    except OSError:
        pass
    return None


def _clean(text: str) -> str | None:
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(shown.split()) or None
