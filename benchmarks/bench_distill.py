"""What each part of distillation brings to the smoke preset's student: accuracy on held-out synthetic subjects.

For every data seed one teacher is trained; its students differ in nothing but the setting named. The step count is
the preset's for all, so this is a check of the mechanics and a reason for the default projection, no claim about
people. `gain` is the mean difference to labels alone over the same test subjects, with its standard error.

    python benchmarks/bench_distill.py [--seeds 3] [--threads 1]        about seven minutes
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from bench import table, write

from ekd_train.cli import main as ekd_train

FOLDER = Path("build/bench/distill")
VARIANTS = {
    "labels_alone": ("distill.soft=0", "distill.feature=0", "feedback.every=0"),
    "soft_labels": ("distill.feature=0", "feedback.every=0"),
    "feature_pool": ("feedback.every=0",),
    "feature_linear": ("distill.projection=linear", "feedback.every=0"),
    "feedback_every_4": ("feedback.every=4",),
}


def train(*arguments: object) -> None:
    if ekd_train([str(argument) for argument in arguments]):
        raise SystemExit("a training run failed")


def by_subject(run: Path, network: str) -> dict[str, float]:
    results = json.loads((run / "run.json").read_text(encoding="utf-8"))["results"]
    return {s["subject"]: s["accuracy"] for s in results[network]["test"]["targets"]["arousal"]["subjects"]}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the parts of distillation on synthetic data.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    accuracies: dict[str, list[float]] = {name: [] for name in ("teacher", *VARIANTS)}
    for seed in range(options.seeds):
        taught = FOLDER / f"{seed}-teacher"
        data = f"synthetic?subjects=24&seed={seed}"
        common = ("--threads", options.threads)
        train("teacher", "--preset", "smoke", "--data", data, "--set", f"seed={seed}", "--out", taught, *common)
        accuracies["teacher"] += by_subject(taught, "teacher").values()
        for name, settings in VARIANTS.items():
            run = FOLDER / f"{seed}-{name}"
            shutil.copytree(taught, run)
            train("distill", run, *(part for setting in settings for part in ("--set", setting)), *common)
            accuracies[name] += by_subject(run, "student").values()
    base = np.array(accuracies["labels_alone"])
    figures: dict[str, float | str] = {"seeds": options.seeds, "test_subjects": len(base), "data": "synthetic"}
    rows = []
    for name, values in accuracies.items():
        gains = 100 * (np.array(values) - base)
        error = float(gains.std(ddof=1) / np.sqrt(len(gains)))
        figures |= {f"{name}.accuracy": 100 * float(np.mean(values)), f"{name}.gain": float(gains.mean())}
        figures[f"{name}.gain_standard_error"] = error
        rows.append([name, 100 * float(np.mean(values)), float(gains.mean()), error])
    print(table(["synthetic data", "accuracy %", "gain, points", "+-"], rows))
    write("distill", figures)


if __name__ == "__main__":
    main()
