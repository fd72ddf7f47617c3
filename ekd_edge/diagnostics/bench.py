"""Measures latency and CPU time of model files on this machine.

Two passes, each through all models and numbers of threads in turn, so that drift affects all equally. *Hot*:
consecutive windows, as other benchmarks measure. *Paced*: with a pause before each window, as in `ekd-edge`, where the
model has left the caches and the clock frequency has dropped. CPU time is measured paced.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd_edge.diagnostics.machine import Condition, Machine, read_condition, read_machine
from ekd_edge.model.file import ModelFile
from ekd_edge.model.interpreter import open_classifier
from ekd_edge.pipeline.model_checks import check_sensor_signal
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.preprocessor import Preprocessor
from ekd_edge.signal.spec import SignalSpec
from firmware_bridge.dependencies import version_of
from firmware_bridge.synthesis import simulated_blocks

__all__ = ["INCLUDES", "SENSOR_HZ", "Bench", "Timing", "bench"]

SENSOR_HZ = Fraction(128)
INCLUDES = f"the signal chain at {SENSOR_HZ} Hz and inference; not Python's start, nor reading the port"

_DISTINCT_WINDOWS = 32
_WARM_UPS = 20
_BURST = 10
_BURST_WARM_UPS = 3
_SETTLE_S = 0.005  # worker threads of the previous model still spin for a while
_PACED = 20
_REST_S = 0.05  # a pause of 1 s gave the same latency and CPU time
_WATCH_S = 1.0
_LEAST_FOR_P99 = 100

Progress = Callable[[float], None]
"""Called with the share of the measurement that is done."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One model with one number of threads.

    p50_ms, p99_ms: of `Classifier.predict` for one window, hot; p99_ms is None for fewer than 100 windows.
    paced_ms: the median of the same, paced. inference_cpu_s, chain_cpu_s: seconds of CPU an hour, all threads together,
    paced, at the model's own hop.
    """

    model_file: ModelFile
    threads: int
    windows: int
    p50_ms: float
    p99_ms: float | None
    paced_ms: float
    inference_cpu_s: float
    chain_cpu_s: float

    @property
    def cpu_s(self) -> float:
        """Seconds of CPU an hour; INCLUDES names the parts."""
        return self.inference_cpu_s + self.chain_cpu_s

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        manifest = self.model_file.manifest
        return {
            "file": str(self.model_file.path),
            "sha256": manifest.sha256,
            "student": manifest.student,
            "kind": manifest.kind,
            "recipe": manifest.recipe,
            "signoff": None if manifest.signoff is None else manifest.signoff.result,
            "size_bytes": manifest.size_bytes,
            "hop_s": manifest.signal.hop_s,
            "threads": self.threads,
            "windows": self.windows,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            "paced_ms": self.paced_ms,
            "cpu_s_per_hour": self.cpu_s,
            "inference_cpu_s_per_hour": self.inference_cpu_s,
            "chain_cpu_s_per_hour": self.chain_cpu_s,
        }


@dataclass(frozen=True, slots=True)
class Bench:
    """A measurement: timings in the order of models and threads, the machine and its condition.

    before, after: its condition. hottest_c: the highest temperature. slowed_by: causes of throttling in between.
    """

    machine: Machine
    before: Condition
    after: Condition
    hottest_c: float | None
    slowed_by: tuple[str, ...]
    timings: tuple[Timing, ...]

    @property
    def meaningless(self) -> str | None:
        """The reason why the figures do not apply to a board; None where they do."""
        return None if self.machine.emulated is None else f"emulated by {self.machine.emulated}"

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "meaningless": self.meaningless,
            "made_by": f"ekd-edge bench of ekd {version_of('ekd') or 'unknown'}",
            "machine": self.machine.to_json(),
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "hottest_c": self.hottest_c,
            "slowed_by": list(self.slowed_by),
            "synthetic_windows": True,
            "sensor_hz": float(SENSOR_HZ),
            "rest_s": _REST_S,
            "cpu_includes": INCLUDES,
            "timings": [timing.to_json() for timing in self.timings],
        }


def bench(
    model_files: Sequence[ModelFile],
    threads: Sequence[int],
    windows: int = 200,
    progress: Progress = lambda share: None,
    root: Path = Path("/"),
) -> Bench:
    """Measure each model with each number of threads on windows of a simulated sensor.

    Args:
        model_files: at least one.
        threads: numbers of threads, at least one.
        windows: timed for each model and number of threads, at least one.
        progress: called with the share that is done.
        root: of the file system that describes the machine.

    Returns:
        The measurement.

    Raises:
        SignalError: a model is for another signal than skin conductance.
        EkdError: a model cannot be opened.
    """
    for model_file in model_files:
        check_sensor_signal(model_file.manifest, model_file.path.name)
    machine, watch = read_machine(root), _Watch(root)
    chains = {spec: _Chain(spec) for spec in dict.fromkeys(model_file.manifest.signal for model_file in model_files)}
    inferences = [
        _Inference(model_file, number, chains[model_file.manifest.signal])
        for model_file in model_files
        for number in threads
    ]
    for inference in inferences:
        for _ in range(_WARM_UPS):
            inference.run()
    for share in _hot(inferences, windows):
        watch.look(at_most_every_s=_WATCH_S)
        progress(share / 2)
    for share in _paced([*chains.values(), *inferences], min(windows, _PACED)):
        watch.look(at_most_every_s=_WATCH_S)
        progress((1 + share) / 2)
    watch.look()
    timings = tuple(inference.timing() for inference in inferences)
    return Bench(machine, watch.first, watch.last, watch.hottest_c, watch.slowed_by, timings)


class _Step:
    """Work that is done once a hop, with the seconds of each run: hot, paced and of CPU."""

    def __init__(self) -> None:
        self.hot_s: list[float] = []
        self.paced_s: list[float] = []
        self.cpu_s: list[float] = []

    def run(self) -> None:
        """Do it once, with the next input."""
        raise NotImplementedError


class _Chain(_Step):
    """The signal chain of one specification, fed by a simulated sensor one hop at a time, and its windows."""

    def __init__(self, spec: SignalSpec) -> None:
        super().__init__()
        hop_samples = max(1, round(Fraction(spec.hop_samples) / spec.rate_hz * SENSOR_HZ))
        self._hop_s = float(hop_samples / SENSOR_HZ)
        self._preprocessor = Preprocessor(spec)
        sensor = _sensor(hop_samples)
        self.windows: list[NDArray[np.float32]] = []
        while len(self.windows) < _DISTINCT_WINDOWS:
            self.windows += [window.values[np.newaxis] for window in self._preprocessor.push(next(sensor))]
        self._ahead = iter(list(islice(sensor, _PACED)))  # made before timing starts

    def run(self) -> None:
        self._preprocessor.push_batch(next(self._ahead))

    @property
    def cpu_s_per_hour(self) -> float:
        return 3600 / self._hop_s * float(np.mean(self.cpu_s))


def _sensor(block_samples: int) -> Iterator[SampleBlock]:
    for number, values in enumerate(simulated_blocks(float(SENSOR_HZ), block_samples=block_samples)):
        yield SampleBlock(values, number * block_samples, SENSOR_HZ)


class _Inference(_Step):
    """One model with one number of threads, run on the windows of the chain in turn."""

    def __init__(self, model_file: ModelFile, threads: int, chain: _Chain) -> None:
        super().__init__()
        self._model_file, self._threads, self._chain = model_file, threads, chain
        self._predict = open_classifier(model_file, threads).predict
        self._windows = cycle(chain.windows)

    def run(self) -> None:
        self._predict(next(self._windows))

    def timing(self) -> Timing:
        p50_ms, p99_ms = (float(value) for value in 1e3 * np.quantile(self.hot_s, (0.5, 0.99)))
        return Timing(
            model_file=self._model_file,
            threads=self._threads,
            windows=len(self.hot_s),
            p50_ms=p50_ms,
            p99_ms=p99_ms if len(self.hot_s) >= _LEAST_FOR_P99 else None,
            paced_ms=1e3 * float(np.median(self.paced_s)),
            inference_cpu_s=3600 / self._model_file.manifest.signal.hop_s * float(np.mean(self.cpu_s)),
            chain_cpu_s=self._chain.cpu_s_per_hour,
        )


def _hot(steps: Sequence[_Step], windows: int) -> Iterator[float]:
    """Run bursts of each step in turn, starting with another one in each round; yields the share done."""
    rounds = math.ceil(windows / _BURST)
    for number in range(rounds):
        for place in range(len(steps)):
            step = steps[(number + place) % len(steps)]
            settled_s = perf_counter() + _SETTLE_S
            while perf_counter() < settled_s:
                pass
            for _ in range(_BURST_WARM_UPS):
                step.run()
            for _ in range(min(_BURST, windows - number * _BURST)):
                begun_s = perf_counter()
                step.run()
                step.hot_s.append(perf_counter() - begun_s)
        yield (number + 1) / rounds


def _paced(steps: Sequence[_Step], rounds: int) -> Iterator[float]:
    """Run each step in turn, with a pause before each; yields the share done."""
    for number in range(rounds):
        for step in steps:
            sleep(_REST_S)
            begun_cpu_s, begun_s = process_time(), perf_counter()
            step.run()
            step.paced_s.append(perf_counter() - begun_s)
            sleep(_SETTLE_S)
            step.cpu_s.append(process_time() - begun_cpu_s)
        yield (number + 1) / rounds


class _Watch:
    """The machine's condition from the first look to the last, and the causes of throttling in between."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.first = self.last = read_condition(root)
        self._looked_s = perf_counter()
        self._temperatures_c: list[float] = []
        self._slowed_by: dict[str, None] = {}
        self._keep()

    def look(self, at_most_every_s: float = 0.0) -> None:
        if perf_counter() - self._looked_s >= at_most_every_s:
            self.last, self._looked_s = read_condition(self._root), perf_counter()
            self._keep()

    def _keep(self) -> None:
        if self.last.temperature_c is not None:
            self._temperatures_c.append(self.last.temperature_c)
        if self.last.throttling is not None and self.first.throttling is not None:
            known = self.first.throttling.since_boot
            new = [name for name in self.last.throttling.since_boot if name not in known]
            self._slowed_by |= dict.fromkeys([*self.last.throttling.now, *new])

    @property
    def hottest_c(self) -> float | None:
        return max(self._temperatures_c, default=None)

    @property
    def slowed_by(self) -> tuple[str, ...]:
        return tuple(self._slowed_by)
