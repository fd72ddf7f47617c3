"""Gain from distillation and adaptive feedback, with controls: sweeps of a small network, five seeds each.

Every sweep is an `ekd-train sweep` with a report of its own in build/bench/gain/NAME. Step counts are tuned: the epoch
is chosen on validation subjects, with patience, for all methods. Data is synthetic except for the sweeps named
stress-*, which need a folder written by examples/stress_predict.py. Existing results are not computed again.

    python -m benchmarks.bench_gain [--only main t2 ...] [--stress-predict FOLDER] [--seeds 5] [--workers 2]

All sweeps together take about three hours on two cores. Intervals are not corrected for the number of sweeps.
"""

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import options_of, table, write
from ekd_train.cli.main import main as ekd_train

FOLDER = Path("build/bench/gain")
SHARED = ("teacher", "student")
ENOUGH = ("teacher.epochs=30", "teacher.patience=8", "student.epochs=40", "student.patience=10", "feedback.every=1")
SMALL = (*ENOUGH, "split.test=0.55", "split.validation=0.2")
SOFT = ("distill.hard=0.1", "distill.soft=0.9", "distill.feature=0.1", "distill.temperature=2")
LISTENING = (*SMALL, *SOFT, "feedback.teacher_learning_rate=1e-4")
AT_128 = ("signal.rate_hz=128", "signal.window_s=4", "signal.eeg_features=raw")
STRESS = (*ENOUGH, "split.test=0.4", "split.validation=0.2", "signal.training_hop_s=16")
CONTROLS = ("label-smoothing", "self-distillation")
DISTILLED = ("kd", "kd-joint", "kd-feedback")


@dataclass(frozen=True, slots=True)
class Study:
    """One sweep. origin: the sweep whose teachers and students are reused, or all methods if the settings are equal."""

    methods: tuple[str, ...]
    settings: tuple[str, ...]
    data: str = "synthetic?subjects=40"
    origin: str = ""
    target: str = "arousal"


STUDIES = {
    "main": Study((*SHARED, *CONTROLS, *DISTILLED), SMALL),
    "t2": Study((*SHARED, "self-distillation", *DISTILLED), (*SMALL, *SOFT), origin="main"),
    "crossfit": Study((*SHARED, "kd", "kd-crossfit"), (*SMALL, *SOFT), origin="t2"),
    "hard": Study((*SHARED, *DISTILLED), (*SMALL, *SOFT), "synthetic:hard?subjects=40"),
    "syn128": Study((*SHARED, "kd", "kd-feedback"), (*SMALL, *SOFT, *AT_128, "signal.training_hop_s=8")),
    "unrated": Study(
        (*SHARED, "kd", "kd-unrated"),
        (*ENOUGH, *SOFT, "split.test=0.37", "split.validation=0.13", "split.rated=0.2"),
        "synthetic?subjects=60",
    ),
    "unrated-self": Study(
        (*SHARED, "self-distillation"),
        (*ENOUGH, *SOFT, "split.test=0.37", "split.validation=0.13", "split.rated=0.2", "distill.unrated=true"),
        "synthetic?subjects=60",
        origin="unrated",
    ),
    "kd-t4": Study((*SHARED, "kd"), (*SMALL, *SOFT, "distill.temperature=4"), origin="main"),
    "kd-f1": Study((*SHARED, "kd"), (*SMALL, *SOFT, "distill.feature=1"), origin="main"),
    "kd-linear": Study((*SHARED, "kd"), (*SMALL, *SOFT, "distill.projection=linear"), origin="main"),
    "fb-lr1e-4": Study((*SHARED, "kd-feedback"), LISTENING, origin="main"),
    "fb-lr5e-4": Study((*SHARED, "kd-feedback"), (*LISTENING, "feedback.teacher_learning_rate=5e-4"), origin="main"),
    "fb-inner0.5": Study((*SHARED, "kd-feedback"), (*LISTENING, "feedback.inner_learning_rate=0.5"), origin="main"),
    "fb-renewed": Study((*SHARED, "kd-feedback"), (*LISTENING, "feedback.renewed=true"), origin="main"),
    "fb-quiz16": Study((*SHARED, "kd-feedback"), (*LISTENING, "feedback.quiz_batch_size=16"), origin="main"),
    "stress-16hz": Study(("student", *CONTROLS), STRESS, "recordings:{stress}", target="stress"),
    "stress-128hz": Study(("student", *CONTROLS), (*STRESS, *AT_128), "recordings:{stress}", target="stress"),
}

SMOKE = Study(
    ("student", "label-smoothing"),
    ("student.epochs=1", "split.test=0.5", "split.validation=0.25", "signal.training_hop_s=16"),
    "synthetic?subjects=8&trials=2&trial_s=60",
)


def run(name: str, study: Study, options: argparse.Namespace) -> None:
    out = FOLDER / name
    if study.origin:
        shared = study.methods if STUDIES[study.origin].settings == study.settings else SHARED
        for cell in (FOLDER / study.origin / "cells").iterdir():
            (out / "cells" / cell.name).mkdir(parents=True, exist_ok=True)
            for file in (cell / f"{method}{end}" for method in shared for end in (".json", ".safetensors")):
                if file.exists() and not (out / "cells" / cell.name / file.name).exists():
                    shutil.copy(file, out / "cells" / cell.name)
    settings = [part for setting in study.settings for part in ("--set", setting)]
    arguments = [
        "sweep", "--preset", "smoke", "--data", study.data.format(stress=options.stress_predict), "--target",
        study.target, "--split", "holdout", "--seeds", str(options.seeds), "--methods", ",".join(study.methods),
        "--device", "cpu", "--workers", str(options.workers), "--threads", "1", *settings, "--out", str(out),
    ]  # fmt: skip
    if ekd_train(arguments):
        raise SystemExit(f"the sweep {name} failed")


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--only", nargs="+", choices=list(STUDIES), default=list(STUDIES))
    parser.add_argument("--stress-predict", metavar="FOLDER", help="recordings written by examples/stress_predict.py")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    studies = STUDIES
    if options.smoke:
        studies = {"smoke": SMOKE}
        options.only, options.seeds, options.workers = ["smoke"], 1, 1
    figures: dict[str, str | int | float] = {"seeds": options.seeds}
    rows = []
    for name in options.only:
        if name.startswith("stress") and not options.stress_predict:
            print(f"{name} is left out: it needs --stress-predict FOLDER")
            continue
        run(name, studies[name], options)
        report = json.loads((FOLDER / name / "report.json").read_text(encoding="utf-8"))
        kind = "synthetic" if report["synthetic"] else "people"
        for each in report["comparisons"]:
            if each["family"] == "methods" and each["reference"] == "student" and each["low"] is not None:
                mean, low, high = (100 * each[key] for key in ("mean", "low", "high"))
                rows.append([name, kind, each["method"], each["score"], f"{mean:+.2f}", f"{low:+.2f} to {high:+.2f}"])
                figures |= {f"{name}.{each['method']}.{each['score']}": round(mean, 3)}
    print(table(["sweep", "data", "method", "score", "gain to student", "95 % interval"], rows))
    print(f"written to {write('gain', figures, options.smoke)}")


if __name__ == "__main__":
    main()
