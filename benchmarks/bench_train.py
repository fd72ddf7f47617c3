"""Time of training: adaptive feedback, stacked folds, sweeps with several workers, loading of DEAP.

Every part compares its cases in one process or one run. The parts are feedback, stack, sweep, loading (writes 3.3 GB of
files in DEAP's format to build/bench/deap once) and loso (a whole leave-one-subject-out of the size of DEAP, for a GPU;
on a CPU it takes hours).

    python -m benchmarks.bench_train [--parts feedback stack sweep loading] [--threads 1]
    python -m benchmarks.bench_train --parts stack loso --device cuda --precision bf16 --folds 32
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import bench_loading
from benchmarks.bench import interleave, options_of, ratio, table, write
from ekd_train.models.config import NetworkConfig, Output
from ekd_train.models.stacked import Network, Stack
from ekd_train.models.student import Student
from ekd_train.models.teacher import Teacher
from ekd_train.process_tuning import keep_freed_memory
from ekd_train.settings.sections import DistillConfig, FeedbackConfig
from ekd_train.training.device import arithmetic, pick_device
from ekd_train.training.distillation import PoolProjection, hard_loss, kd_step
from ekd_train.training.feedback import Batch, feedback_step

ROOT = Path("build/bench/train")
CONFIG = NetworkConfig()
BATCH = 64
DEAP_SUBJECTS, DEAP_WINDOWS, EPOCHS = 32, 600, 30
Figures = dict[str, str | int | float]


class TrainingSteps:
    """Training steps of a student and a teacher, or of stacks of `folds` of each, on random windows."""

    def __init__(self, options: argparse.Namespace, folds: int = 0) -> None:
        self.device, self.precision, self.batch_size = options.where, options.precision, options.batch
        self.student, self.teacher = self._network(Student, folds), self._network(Teacher, folds)
        self.optimizers = [torch.optim.Adam(n.parameters(), lr=1e-4, fused=True) for n in (self.student, self.teacher)]
        self.batch, self.quiz = self._batch(folds), self._batch(folds)

    def _network(self, kind: type[Student] | type[Teacher], folds: int) -> Network:
        members = [kind(CONFIG).to(self.device) for _ in range(max(1, folds))]
        return (Stack(members) if folds else members[0]).train()

    def _batch(self, folds: int) -> Batch:
        shape = (folds, self.batch_size) if folds else (self.batch_size,)
        eeg, gsr = torch.randn(*shape, CONFIG.eeg_rows, 512), torch.randn(*shape, 512)
        return Batch(*(x.to(self.device) for x in (eeg, gsr, torch.randint(0, 2, (*shape, 1)))))

    def train_teacher(self) -> Output:
        """Take one training step of the teacher on its own loss."""
        with arithmetic(self.device, self.precision):
            output = self.teacher(self.batch.eeg, self.batch.gsr)
            loss = hard_loss(output.logits, self.batch.labels) + self.teacher.regularization()
            self.optimizers[1].zero_grad()
            loss.backward()
            self.optimizers[1].step()
        return output

    def distill_jointly(self) -> None:
        """Take one step of the teacher on its own loss, and one step of distillation from its outputs."""
        output, (_, gsr, labels) = self.train_teacher(), self.batch
        with arithmetic(self.device, self.precision):
            kd_step(self.student, self.optimizers[0], gsr, labels, output, DistillConfig(), PoolProjection())

    def distill_with_feedback(self, renewed: bool = False, quiz: Batch | None = None) -> None:
        """Take one step of distillation with adaptive feedback."""
        with arithmetic(self.device, self.precision):
            feedback_step(
                self.student, self.teacher, *self.optimizers, self.batch, quiz or self.quiz, 0.05,
                DistillConfig(), PoolProjection(), FeedbackConfig(), renewed,
            )  # fmt: skip

    def distill_with_one_feedback_step(self, k: int) -> None:
        """Take k steps, one of them with feedback."""
        self.distill_with_feedback()
        for _ in range(k - 1):
            self.distill_jointly()

    def synchronized(self, call: Callable[[], object]) -> Callable[[], None]:
        """A call that returns when the device has finished."""

        def run() -> None:
            call()
            if self.device.type == "cuda":
                torch.cuda.synchronize()

        return run


def bench_feedback(options: argparse.Namespace, figures: Figures) -> None:
    steps = TrainingSteps(options)
    half = Batch(*(part[: options.batch // 2] for part in steps.quiz))
    cases = {
        "KD, teacher trains jointly": steps.distill_jointly,
        "feedback": steps.distill_with_feedback,
        "feedback, quiz of half the size": lambda: steps.distill_with_feedback(quiz=half),
        "feedback, renewed teacher outputs": lambda: steps.distill_with_feedback(renewed=True),
        "8 joint steps": lambda: [steps.distill_jointly() for _ in range(8)],
        "8 steps, feedback in one": lambda: steps.distill_with_one_feedback_step(8),
    }
    seconds = interleave({n: steps.synchronized(c) for n, c in cases.items()}, rounds=options.rounds, warmup=1)
    keys = {
        "feedback": "feedback_overhead_k1",
        "feedback, quiz of half the size": "feedback_overhead_k1_half_quiz",
        "feedback, renewed teacher outputs": "feedback_overhead_k1_renewed",
        "8 steps, feedback in one": "feedback_overhead_k8",
    }
    rows = []
    for name, times in seconds.items():
        cost = ratio(times, seconds["8 joint steps" if name.startswith("8") else "KD, teacher trains jointly"])
        rows.append([name, 1000 * statistics.median(times), cost])
        if name in keys:
            figures[keys[name]] = round(cost, 3)
    print(table(["published size, batch 64", "ms", "times joint KD"], rows), end="\n\n")


def bench_stack(options: argparse.Namespace, figures: Figures) -> None:
    """Compare separate with stacked folds, and project the time of a leave-one-subject-out of the size of DEAP."""
    one, several = (TrainingSteps(options, n) for n in (0, options.folds))
    cases = {
        "teacher, one by one": lambda: [one.train_teacher() for _ in range(options.folds)],
        "teacher, stacked": several.train_teacher,
        "feedback, one by one": lambda: [one.distill_with_feedback() for _ in range(options.folds)],
        "feedback, stacked": several.distill_with_feedback,
    }
    seconds = interleave(
        {n: one.synchronized(c) for n, c in cases.items()}, rounds=max(3, options.rounds // 2), warmup=1
    )
    rows = [[name, 1000 * statistics.median(times)] for name, times in seconds.items()]
    print(table([f"{options.folds} folds, one step each", "ms"], rows))
    figures["stack_folds"] = options.folds
    for step in ("teacher", "feedback"):
        gain = ratio(seconds[f"{step}, one by one"], seconds[f"{step}, stacked"])
        figures[f"stack_speedup_{step}"] = round(gain, 3)
    steps = (DEAP_SUBJECTS - 1) * DEAP_WINDOWS * 0.8 // BATCH * EPOCHS * DEAP_SUBJECTS / options.folds
    best = [
        min(statistics.median(seconds[f"{step}, {way}"]) for way in ("one by one", "stacked"))
        for step in ("teacher", "feedback")
    ]
    minutes = steps * (best[0] + 0.8 * best[1]) / 60
    figures["loso_projected_min"] = round(minutes, 1)
    print(
        f"the training steps of a leave-one-subject-out of the size of DEAP would take about {minutes:.0f} min here\n"
    )


def bench_sweep(options: argparse.Namespace, figures: Figures) -> None:
    """Run the whole command with one worker and with two workers, in turns. Both read windows from the cache."""
    command = [
        sys.executable, "-m", "ekd_train.cli.main", "sweep", "--preset", "smoke", "--data", "synthetic?subjects=12",
        "--methods", "student", "--split", "k-fold:4", "--seeds", "2", "--set", "student.epochs=10", "--device", "cpu",
    ]  # fmt: skip

    def run(workers: int) -> None:
        out = ROOT / f"sweep-{workers}"
        shutil.rmtree(out, ignore_errors=True)
        threads = ["--threads", "1"]
        done = subprocess.run(
            [*command, "--workers", str(workers), *threads, "--out", str(out)], capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"the sweep failed:\n{done.stderr}")

    seconds = interleave({"1 worker": lambda: run(1), "2 workers": lambda: run(2)}, rounds=3, warmup=1)
    figures["sweep_scaling_2"] = round(ratio(seconds["1 worker"], seconds["2 workers"]), 3)
    print(table(["sweep of 8 cells", "s"], [[n, statistics.median(t)] for n, t in seconds.items()]))
    print(f"2 workers are {figures['sweep_scaling_2']} times as fast as one\n")


def bench_load(options: argparse.Namespace, figures: Figures) -> None:
    figures |= bench_loading.measure(DEAP_SUBJECTS, rounds=3)
    print()


def bench_loso(options: argparse.Namespace, figures: Figures) -> None:
    folder = bench_loading.prepare(DEAP_SUBJECTS)
    out = ROOT / "loso"
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    subprocess.run(
        [
            sys.executable, "-m", "ekd_train.cli.main", "sweep", "--preset", "deap", "--data", f"deap:{folder}",
            "--split", "leave-one-out", "--methods", "teacher,kd-feedback", "--stack", str(options.folds),
            "--set", f"compute.precision={options.precision}", "--device", options.device, "--out", str(out),
        ],
        check=True,
    )  # fmt: skip
    figures["loso_min"] = round((time.perf_counter() - start) / 60, 2)
    print(f"leave-one-subject-out took {figures['loso_min']} min (aim on an H100: 10)\n")


def main() -> None:
    parser = options_of(__doc__)
    parts = {"feedback": bench_feedback, "stack": bench_stack, "sweep": bench_sweep, "loading": bench_load}
    parts["loso"] = bench_loso
    parser.add_argument("--parts", nargs="+", choices=list(parts), default=[name for name in parts if name != "loso"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    parser.add_argument("--folds", type=int, default=4, help="number of stacked folds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    options.batch = BATCH
    if options.smoke:
        options.parts, options.rounds, options.folds, options.batch = ["feedback", "stack"], 1, 2, 2
    keep_freed_memory()  # like ekd-train
    options.where = pick_device(options.device, options.threads)
    torch.manual_seed(0)
    figures: Figures = {"device": options.device, "precision": options.precision, "threads": options.threads}
    if options.where.type == "cuda":
        figures["gpu"] = torch.cuda.get_device_name()
    for name in options.parts:
        parts[name](options, figures)
    print(json.dumps(figures, indent=1))
    print(f"written to {write('train', figures, options.smoke)}")


if __name__ == "__main__":
    main()
