"""Time of the predictions of a recorded day, and the share of it that is not inference.

The recording (synthetic, 128 Hz, CSV lines in microsiemens) goes through the real command, `ekd-edge --replay --json`,
hop 1 s; half of its windows go through only the classifier before that, the other half after it. `overhead` is all of
the command's time, start of Python included, over the classifier's; `overhead_cpu` is the same in CPU seconds, which
other load disturbs less. `start` is the command that ends before the first window; `rest` is the command's time without
the other stages: quality, probabilities, JSON lines. All are medians over rounds. The model is an untrained int8
student, of the kind `edge` or as published.

    python -m benchmarks.bench_replay [--hours 24] [--rounds 3] [--student edge|compact|paper | --model FILE]
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import count, islice
from pathlib import Path
from statistics import median
from typing import get_args

import numpy as np

from benchmarks.bench import ROOT, options_of, table, write
from ekd_edge.model.file import ModelFile, load_model_file, save_model_file
from ekd_edge.model.interpreter import open_classifier
from ekd_edge.model.manifest import Calibration, Manifest, Target, Training
from ekd_edge.model.subject_hash import hash_subjects
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.design import gsr_spec
from ekd_edge.signal.preprocessor import Preprocessor
from ekd_edge.sources.sensor import SensorOptions, open_replay
from ekd_train.models.config import StudentKind
from firmware_bridge.synthesis import simulated_blocks
from firmware_bridge.units import Unit

FOLDER = ROOT / "build" / "bench"
RATE = 128
Times = dict[str, tuple[float, float]]  # (seconds, CPU seconds) by name
OPTIONS = SensorOptions(format="csv", rate_hz=Fraction(RATE), unit=Unit("uS"))


def main() -> None:
    parser = options_of(__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--rounds", type=int, default=3)
    model_of = parser.add_mutually_exclusive_group()
    model_of.add_argument(
        "--student", choices=get_args(StudentKind), default="edge", help="kind of the untrained student"
    )
    model_of.add_argument("--model", type=Path)
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.hours, arguments.rounds = 0.05, 1
    hours = arguments.hours
    path = arguments.model or untrained_student(arguments.student)
    model = load_model_file(path)
    recording = record(hours)

    rounds = [one_round(model, recording, path) for _ in range(arguments.rounds)]
    windows = rounds[0][0]
    times = {
        name: (median(stages[name][0] for _, stages in rounds), median(stages[name][1] for _, stages in rounds))
        for name in rounds[0][1]
    }
    (command_s, command_cpu_s), (inference_s, inference_cpu_s) = times["replay"], times["inference"]
    times["rest"] = (
        2 * command_s - sum(wall_s for wall_s, _ in times.values()),
        2 * command_cpu_s - sum(cpu_s for _, cpu_s in times.values()),
    )
    spec = model.manifest.signal
    figures: dict[str, str | int | float] = {
        "hours": hours,
        "rounds": arguments.rounds,
        "model": path.name,
        "kind": model.manifest.kind,
        "rate_hz": str(spec.rate_hz),
        "window_s": spec.window_s,
        "hop_s": spec.hop_s,
        "windows": windows,
        **{f"{name}_s": wall_s for name, (wall_s, _) in times.items()},
        **{f"{name}_cpu_s": cpu_s for name, (_, cpu_s) in times.items()},
        "inference_ms_per_window": inference_s / windows * 1e3,
        "real_time_factor": hours * 3600 / command_s,
        "real_time_factor_cpu": hours * 3600 / command_cpu_s,
        "overhead": command_s / inference_s,
        "overhead_cpu": command_cpu_s / inference_cpu_s,
    }
    rows = [
        [name, wall_s, cpu_s, hours * 3600 / wall_s, hours * 3600 / cpu_s, cpu_s / command_cpu_s]
        for name, (wall_s, cpu_s) in times.items()
    ]
    print(f"{hours:g} h at {RATE} Hz, {windows} windows of {spec.window_s:g} s, {path.name} ({model.manifest.kind})")
    print(table(["", "seconds", "CPU s", "x real time", "by CPU", "of all CPU"], rows))
    print(f"written to {write('replay', figures, arguments.smoke)}")


def one_round(model: ModelFile, recording: Path, path: Path) -> tuple[int, Times]:
    """Measure one round. Return the number of windows, and the time of the command and of each stage."""
    windows, before = apart(model, recording, 0)
    times = {"replay": replay(recording, path), "start": replay(recording, path, "--seconds", "1")}
    more, after = apart(model, recording, 1)
    return windows + more, times | {name: (before[name][0] + s, before[name][1] + c) for name, (s, c) in after.items()}


def record(hours: float) -> Path:
    """Write hours of synthetic skin conductance as CSV lines in microsiemens, unless the file exists."""
    path = FOLDER / f"recording-{hours:g}h.csv"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".part")
        with aside.open("w") as file:
            for minute in islice(simulated_blocks(float(RATE), seed=11, block_samples=RATE * 60), round(hours * 60)):
                file.write("".join([f"{value:.4f}\n" for value in minute.tolist()]))
        aside.replace(path)
    return path


def replay(recording: Path, model: Path, *more: str) -> tuple[float, float]:
    """Return the seconds and CPU seconds of the command."""
    edge = Path(sys.executable).with_name("ekd-edge")
    source = ["--replay", recording, "--format", "csv", "--rate", str(RATE), "--unit", "uS"]
    with (FOLDER / "replay.jsonl").open("w") as predictions:
        before, start = os.times(), time.perf_counter()
        subprocess.run([edge, *source, "--model", model, "--json", *more], stdout=predictions, check=True)
        after, end = os.times(), time.perf_counter()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return end - start, cpu_s


def apart(model: ModelFile, recording: Path, half: int) -> tuple[int, Times]:
    """Number of windows, and (seconds, CPU seconds) of each stage, measured apart in this process.

    Every other block of the recording counts, those of even or of odd number: one half is measured before the command
    and one after it, so that a change of the machine's speed affects both equally.
    """
    classifier = open_classifier(model)
    preprocessor = Preprocessor(model.manifest.signal)
    classifier.predict(np.zeros((1, model.manifest.signal.window_samples), np.float32))
    preprocessor.push_batch(SampleBlock(np.ones(64), 0, Fraction(RATE), segment=-1))
    blocks = open_replay(recording, OPTIONS).blocks()
    stages = {"inference": (0.0, 0.0), "decoding": (0.0, 0.0), "preprocessing": (0.0, 0.0)}

    @contextmanager
    def timed(name: str, counts: bool) -> Iterator[None]:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        yield
        wall, cpu = stages[name]
        if counts:
            stages[name] = (wall + time.perf_counter() - wall_s, cpu + time.process_time() - cpu_s)

    windows = 0
    for number in count():
        counts = number % 2 == half
        with timed("decoding", counts):
            block = next(blocks, None)
        if block is None:
            break
        with timed("preprocessing", counts):
            batch = preprocessor.push_batch(block)
        if counts:
            with timed("inference", counts):
                classifier.predict(batch.values)
            windows += len(batch)
    return windows, stages


def untrained_student(kind: StudentKind) -> Path:
    """Return an int8 student of that kind with its default size, 128 Hz and 4 s, and random weights."""
    path = FOLDER / f"untrained-{kind}-int8.tflite"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    import torch

    from ekd_export.convert.fold import fold
    from ekd_export.convert.tflite import convert
    from ekd_export.quantization.audit import read_quantization
    from ekd_export.quantization.quantize import fingerprint, quantize
    from ekd_export.quantization.recipes import RECIPES
    from ekd_train.models.config import NetworkConfig
    from ekd_train.models.student import Student

    spec = gsr_spec(rate_hz=Fraction(RATE), window_s=4, hop_s=1)
    minutes = np.concatenate(list(islice(simulated_blocks(float(RATE), seed=9, block_samples=RATE * 60), 2)))
    calibration = np.array(Preprocessor(spec).push_batch(SampleBlock(minutes, 0, Fraction(RATE))).values)
    torch.manual_seed(0)
    student = fold(Student(NetworkConfig(student=kind)).eval(), integer=True)
    flatbuffer = quantize(convert(student, spec.window_samples), RECIPES["static"], calibration)
    people = [hash_subjects("untrained", [name]) for name in ("s1", "s2", "s3")]
    manifest = Manifest(
        kind="int8",
        signal=spec,
        targets=(Target("arousal", ("low", "high")),),
        training=Training("synthetic", "untrained", True, *people),
        recipe="static",
        student=kind,
        quantization=read_quantization(flatbuffer),
        calibration=Calibration("min-max", people[0], len(calibration), 9, fingerprint(calibration)),
    )
    save_model_file(path, flatbuffer, manifest)
    return path


if __name__ == "__main__":
    main()
