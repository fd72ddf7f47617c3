"""int8: size, memory, speed and accuracy of every kind of student and recipe, with peers, side by side in one run.

Accuracy comes from sweeps of networks of the published size. This script trains missing sweeps (about an hour and a
half on two cores) on synthetic data, and on people with --stress-predict FOLDER, which examples/stress_predict.py
writes. `noninferior_*` is 1 if the 95 % interval of (edge in int8 - paper in float32), paired over test subjects, is
above -1 point of accuracy.

The part `agreement` trains and exports the preset edge on five random splits of each dataset (about 15 minutes);
`signoff` simulates the sign-off on models that harm a few people.

    python -m benchmarks.bench_int8 [--parts PART ...] [--stress-predict FOLDER] [--seeds 3]
"""

import subprocess
import sys
import time
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.bench import options_of, ratio, table, write
from benchmarks.int8_accuracy import STUDIES, Scores, change, evaluate_study, in_points, mean, noninferior
from benchmarks.int8_agreement import SPLITS, average, evaluate_splits
from benchmarks.int8_profile import peak_gmacs, profile
from benchmarks.int8_speed import flatbuffers, measure, untrained
from benchmarks.signoff_simulation import SCENARIOS, SUBJECTS, false_pass_rate
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.design import gsr_spec
from ekd_edge.signal.preprocessor import Preprocessor
from firmware_bridge.synthesis import simulated_blocks

PARTS = ("speed", "profile", "export", "agreement", "signoff", "accuracy")
MARGIN = 0.01
STRESS_PREDICT = "build/stress_predict"
Figures = dict[str, str | int | float]


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--stress-predict",
        metavar="FOLDER",
        default=STRESS_PREDICT if Path(STRESS_PREDICT).is_dir() else None,
        help=f"recordings written by examples/stress_predict.py (default: {STRESS_PREDICT}, where it exists)",
    )
    parser.add_argument("--run", type=Path, help="a trained run of an edge student, for the part export")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.smoke:
        options.parts = ["profile"]
    figures: Figures = {}
    if "speed" in options.parts:
        figures |= speed()
    if "profile" in options.parts:
        figures |= where_the_time_goes()
    if "export" in options.parts:
        figures |= whole_export(options.run)
    if "agreement" in options.parts:
        figures |= agreement("synthetic", "synthetic?subjects=40", "arousal")
        if options.stress_predict:
            figures |= agreement("stress_predict", f"recordings:{options.stress_predict}", "stress")
    if "signoff" in options.parts:
        figures |= false_pass()
    if "accuracy" in options.parts:
        for name in STUDIES:
            if name == "stress_predict" and not options.stress_predict:
                print("Stress-Predict is left out: it needs --stress-predict FOLDER")
                continue
            figures |= accuracy(name, evaluate_study(name, options.stress_predict, options.seeds, options.workers))
    print(f"written to {write('int8', figures, options.smoke)}")


def calibration() -> NDArray[np.float32]:
    """Return synthetic windows of 32 s at 16 Hz."""
    spec = gsr_spec(rate_hz=Fraction(16), window_s=32, hop_s=4)
    signal = np.concatenate(list(islice(simulated_blocks(16.0, seed=9, block_samples=16 * 60), 20)))
    return np.array(Preprocessor(spec).push_batch(SampleBlock(signal, 0, Fraction(16))).values)


def speed() -> Figures:
    timed = measure(calibration())
    print("One window, one thread, all cases taking turns")
    rows = [
        [
            each.student,
            each.recipe,
            each.runtime,
            _kb(each.size_bytes),
            _kb(each.arena_bytes),
            each.p50_ms,
            each.p99_ms,
            float(np.median(each.cold_ms)),
        ]
        for each in timed
    ]
    print(table(["student", "recipe", "runtime", "kB", "arena kB", "p50 ms", "p99 ms", "cold p50"], rows))
    found = {(each.student, each.recipe, each.runtime): each for each in timed}
    ours = found["edge", "static", "LiteRT"]

    def times(*other: str) -> float:
        return ratio(found[other].turns_ms, ours.turns_ms)  # type: ignore[index]

    assert ours.size_bytes is not None
    figures: Figures = {
        "speedup_vs_paper_int8": times("paper", "static", "LiteRT"),
        "speedup_vs_paper_float32": times("paper", "float32", "LiteRT"),
        "speedup_vs_own_float32": times("edge", "float32", "LiteRT"),
        "speedup_vs_onnxruntime_int8": times("edge", "int8 of onnxruntime", "onnxruntime"),
        "speedup_vs_torch_eager_paper": times("paper", "float32", "torch eager"),
        "cold.speedup_vs_paper_int8": ratio(found["paper", "static", "LiteRT"].cold_ms, ours.cold_ms),
        "cold.speedup_vs_paper_float32": ratio(found["paper", "float32", "LiteRT"].cold_ms, ours.cold_ms),
        "cold.speedup_vs_own_float32": ratio(found["edge", "float32", "LiteRT"].cold_ms, ours.cold_ms),
        "size_kb": ours.size_bytes / 1000,
    }
    if ours.arena_bytes is not None:
        figures["arena_kb"] = ours.arena_bytes / 1024
    for each in timed:
        key = f"{each.student}.{each.recipe}.{each.runtime}".replace(" ", "-").replace(",", "")
        figures |= {f"{key}.p50_ms": each.p50_ms, f"{key}.p99_ms": each.p99_ms}
    for name in ("paper_int8", "paper_float32", "own_float32"):
        warm, cold = figures[f"speedup_vs_{name}"], figures[f"cold.speedup_vs_{name}"]
        print(f"edge in int8 is {warm:.1f} times as fast as {name.replace('_', ' in ')}; {cold:.1f} times, cold caches")
    return figures


def where_the_time_goes() -> Figures:
    windows = calibration()
    costs = profile(flatbuffers(untrained("edge"), windows)["static"])
    total_us, macs, peak = sum(cost.microseconds for cost in costs), sum(cost.macs for cost in costs), peak_gmacs()
    print("\nedge in int8, operation by operation")
    rows = [
        [cost.operation, "x".join(map(str, cost.shape)), cost.microseconds, 100 * cost.microseconds / total_us,
         cost.macs / cost.microseconds / 1e3 if cost.macs and cost.microseconds > 0 else ""]
        for cost in costs
    ]  # fmt: skip
    print(table(["operation", "writes", "us", "% of time", "GMAC/s"], rows))
    reached = macs / total_us / 1e3
    print(
        f"{macs / 1e6:.2f} million multiply-adds in {total_us:.1f} us: {reached:.0f} GMAC/s; "
        f"a large dense layer: {peak:.0f}"
    )
    kinds: Figures = {}
    for cost in costs:
        key = f"profile.{cost.operation}_us"
        kinds[key] = float(kinds.get(key, 0.0)) + cost.microseconds
    return {**kinds, "macs": macs, "gmacs_per_s": reached, "peak_gmacs_per_s": peak, "share_of_peak": reached / peak}


def whole_export(run: Path | None) -> Figures:
    """Measure the seconds of `ekd-export --int8 --max-drop 0.01`, including the start of Python."""
    run = Path("build/bench/int8/run") if run is None else run
    if not (run / "run.json").exists():
        subprocess.run([_command("ekd-train"), "--preset", "edge", "--set", "teacher.epochs=2", "--set",
                        "student.epochs=3", "--out", run], check=True)  # fmt: skip
    start = time.perf_counter()
    subprocess.run([_command("ekd-export"), run, "--int8", "--max-drop", "0.01"], check=False)
    seconds = time.perf_counter() - start
    print(f"convert, quantize and sign off: {seconds:.1f} s")
    return {"export_s": seconds}


def agreement(name: str, data: str, target: str) -> Figures:
    """Compare int8 with the float student, and today's preset with the earlier settings, on test subjects."""
    earlier, today = evaluate_splits(name, data, target)
    figures: Figures = {}
    kind = "SYNTHETIC data" if name == "synthetic" else "people (Stress-Predict)"
    print(f"\nint8 and float32 of the edge student on test subjects, {kind}, {SPLITS} random splits")
    rows: list[list[object]] = []
    for settings, found in (("earlier settings", earlier), ("preset edge", today)):
        same = average(found.same)
        rows.append(
            [settings, f"{100 * same.mean:.2f}", in_points(same)[1].replace("+", ""),
             f"{100 * min(found.same.values()):.2f}",
             *in_points(change(found.accuracy, found.int8_accuracy)),
             *in_points(change(found.macro_f1, found.int8_macro_f1)),
             f"{100 * average(found.accuracy).mean:.2f}", f"{100 * average(found.macro_f1).mean:.2f}"]
        )  # fmt: skip
    header = [
        "", "same class %", "95 %", "worst", "accuracy int8 - float", "95 %", "macro-F1 int8 - float", "95 %",
        "accuracy", "macro-F1",
    ]  # fmt: skip
    print(table(header, rows))
    for score in ("accuracy", "macro_f1"):
        change_of_float = change(getattr(earlier, score), getattr(today, score))
        figures[f"float_{score}_change_{name}"] = change_of_float.mean
        print(f"float student, preset against earlier settings, {score}: {' '.join(in_points(change_of_float))} points")
        figures[f"{score}_change_{name}"] = change(getattr(today, score), getattr(today, f"int8_{score}")).mean
    same = average(today.same)
    assert same.low is not None
    figures |= {f"agreement_{name}": same.mean, f"agreement_{name}_low": same.low}
    if name == "stress_predict":
        figures["agreement_worst_person"] = min(today.same.values())
    return figures


def false_pass(draws: int = 1000) -> Figures:
    """Simulate the sign-off where some people lose much and the mean loss exceeds the allowance."""
    skewed = [name for name, scenario in SCENARIOS.items() if scenario.normal_sd is None]
    worst = max(false_pass_rate(name, subjects, draws) for name in skewed for subjects in SUBJECTS)
    print(f"\nsign-off: PASSED in at most {worst:.2%} of {draws} draws of a harmful model, by scenario (limit 2.5 %)")
    return {"false_pass_skewed": worst}


def accuracy(name: str, exams: Scores) -> Figures:
    base, figures = exams["paper", "float32"], Figures()
    kind = "SYNTHETIC data" if name == "synthetic" else "people (Stress-Predict)"
    subjects = len({subject for subject, _ in base["accuracy"]})
    print(f"\nAccuracy on test subjects, {kind}, {subjects} subjects; change against paper in float32, in points")
    rows = []
    for (student, recipe), scores in exams.items():
        row: list[object] = [student, recipe]
        for score in ("accuracy", "macro_f1"):
            row += [f"{100 * mean(scores[score]):.2f}", *in_points(change(base[score], scores[score]))]
            figures[f"{name}.{student}.{recipe}.{score}"] = mean(scores[score])
        own = exams[student, "float32"]
        rows.append([*row, *in_points(change(own["accuracy"], scores["accuracy"]))])
    header = ["student", "recipe", "accuracy", "change", "95 %", "macro-F1", "change", "95 %", "to own float32", "95 %"]
    print(table(header, rows))
    for recipe in ("static", "float32"):
        difference = change(base["accuracy"], exams["edge", recipe]["accuracy"])
        suffix = "" if recipe == "static" else "_in_float32"
        figures[f"noninferior_{name}{suffix}"] = int(noninferior(difference, MARGIN))
        assert difference.low is not None
        figures |= {f"{name}.edge_{recipe}_against_paper": difference.mean, f"{name}.lower_{recipe}": difference.low}
    print(f"not inferior by more than one point: {'shown' if figures[f'noninferior_{name}'] else 'NOT shown'}")
    return figures


def _kb(size: int | None) -> object:
    return "" if size is None else f"{size / 1000:.1f}"


def _command(name: str) -> Path:
    return Path(sys.executable).with_name(name)


if __name__ == "__main__":
    main()
