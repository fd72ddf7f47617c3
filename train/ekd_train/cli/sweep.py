"""`ekd-train sweep`: train all folds, targets, seeds and methods, and write the report."""

import argparse
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ekd_edge.errors import ConfigError
from ekd_train.cli.options import (
    DEFAULT_PRESET,
    add_keep_bad_argument,
    add_scale_argument,
    check_training_packages,
    preset_list,
)
from ekd_train.methods import METHODS
from firmware_bridge.cli.arguments import count, path_argument, thread_count
from firmware_bridge.dependencies import require_packages

if TYPE_CHECKING:
    from ekd_train.sweeps.jobs import Executor
    from ekd_train.sweeps.plan import SweepPlan

__all__ = ["add_arguments", "run"]

DESCRIPTION = """\
Train every method on every fold, target and seed, and report their scores.

  ekd-train sweep --preset paper-16hz --data deap:DIR --split leave-one-out --seeds 5
  ekd-train sweep --resume DIR              continue after an interruption
  ekd-train sweep --output DIR --seeds 10      add seeds or --methods to an existing sweep
  ekd-train sweep ... --ray auto            on a Ray cluster, from one of its machines

A killed sweep resumes from the last finished epochs. A worker that dies is replaced and its cell is restarted.
On a cluster each node needs ekd with train and ray, and the data under the same name; no shared folder is needed.
"""

DEFAULT_SPLIT = "leave-one-out"
PLAN_OPTIONS = ("preset", "data", "scale", "target", "split", "seeds", "methods", "keep_bad_windows", "set", "output")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sweep`."""
    parser.description = DESCRIPTION
    methods = "\n".join(f"  {method.name:<18} {method.about}" for method in METHODS.values())
    parser.epilog = f"methods:\n{methods}\n\n{preset_list()}"
    plan = parser.add_argument_group("what to compute")
    plan.add_argument("--preset", help=f"a shipped preset or a .toml file (default: {DEFAULT_PRESET})")
    plan.add_argument("--data", help="as of ekd-train")
    add_scale_argument(plan)
    plan.add_argument("--target", action="append", help="what to predict, one at a time; repeat it for several")
    plan.add_argument(
        "--split",
        help=f"leave-one-out, k-fold:K, holdout or trial-leaky, to show leakage (default: {DEFAULT_SPLIT})",
    )
    plan.add_argument("--seeds", type=count, metavar="N", help="how many seeds (default: 1)")
    plan.add_argument(
        "--methods",
        metavar="NAMES",
        help="such as student,kd,kd-feedback,teacher (the default; only student without EEG)",
    )
    add_keep_bad_argument(plan)
    plan.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="such as student.epochs=3")
    plan.add_argument(
        "-o",
        "--output",
        "--out",
        dest="output",
        type=path_argument,
        metavar="DIR",
        help="the sweep's folder (default: runs/TIME-sweep-PRESET)",
    )
    plan.add_argument(
        "--resume", type=path_argument, metavar="DIR", help="continue the sweep in this folder with its own settings"
    )

    where = parser.add_argument_group("where to compute it")
    where.add_argument(
        "--workers",
        type=count,
        metavar="N",
        help="cells at a time (default: one per core up to 8; one on a GPU; on Ray as many as fit)",
    )
    where.add_argument(
        "--threads", type=thread_count, help="CPU threads of a worker (default: its share of the cores; 1 on Ray)"
    )
    where.add_argument(
        "--stack",
        type=count,
        default=1,
        metavar="N",
        help="train N folds together as one network, which is faster on a GPU (default: 1)",
    )
    where.add_argument("--ray", metavar="ADDRESS", help="a Ray cluster: auto, HOST:PORT of its head, or local")
    where.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Compute, report and print; returns 1 if cells failed."""
    check_training_packages()
    if args.ray is not None:
        require_packages("--ray", "ray")
    from ekd_train.data.splits import LEAKY_WARNING
    from ekd_train.report import render_text
    from ekd_train.sweeps.api import run_plan
    from ekd_train.sweeps.progress import SweepReporter

    plan, folder = _plan(args)
    warning = {"warning": LEAKY_WARNING} if plan.config.split.kind == "trial-leaky" else {}
    executor = _executor(args, len(plan.cells()))
    # Only the result may go to stdout, but Ray prints the log of a failing node there.
    try:
        with contextlib.redirect_stdout(io.StringIO()), SweepReporter() as reporter:
            for text in warning.values():
                reporter.notify(text)
            reporter.notify(f"{plan.describe()} -> {folder}")
            result = run_plan(plan, folder, executor, reporter, args.stack)
    except KeyboardInterrupt:
        print(f"\nekd-train: stopped; continue with ekd-train sweep --resume {folder}", file=sys.stderr)
        return 130
    outcome = result.outcome
    if args.json:
        about = {
            **warning,
            "sweep": str(folder),
            "planned": outcome.planned,
            "finished": outcome.finished,
            "failed": dict(outcome.failed),
            "seconds": round(outcome.seconds, 1),
            "report": str(folder / "report.json") if outcome.finished else None,
        }
        print(json.dumps(about))
    else:
        text = "no result to report" if result.report is None else render_text(result.report)
        print(f"{text}\n\nsweep folder: {folder}")
    for name, reason in outcome.failed.items():
        print(f"ekd-train: {name} failed: {reason}", file=sys.stderr)
    if outcome.failed:
        print(f"ekd-train: run the failed cells again with ekd-train sweep --resume {folder}", file=sys.stderr)
    return 1 if outcome.failed else 0


def _plan(args: argparse.Namespace) -> "tuple[SweepPlan, Path]":
    """The plan and folder of a new sweep, or of an existing one with added seeds and methods."""
    from ekd_train.config import load_preset
    from ekd_train.data.datasets.rating_scale import with_scale
    from ekd_train.sweeps.api import new_folder
    from ekd_train.sweeps.plan import SweepPlan, plan_sweep

    given = [name for name in PLAN_OPTIONS if getattr(args, name) not in (None, [], False)]
    if args.resume is not None and given:
        raise ConfigError(
            f"--resume continues a sweep with its own settings: leave --{given[0].replace('_', '-')} out, or write "
            f"--output {args.resume}"
        )
    for assignment in args.set:
        if assignment.partition("=")[0].strip() in ("split.kind", "split.folds", "split.fold"):
            raise ConfigError(f"--set {assignment}: a sweep runs all folds of its --split, such as --split k-fold:5")
    folder = args.resume or args.output or new_folder(f"sweep-{Path(args.preset or DEFAULT_PRESET).stem}")
    there = args.resume is not None or (folder / "sweep.json").exists()
    known = SweepPlan.load(folder) if there else None
    config = load_preset(args.preset or DEFAULT_PRESET) if args.preset or known is None else known.config
    data = args.data if args.scale is None else with_scale(args.data or config.data, args.scale)
    changes = [f"data={json.dumps(data)}"] if data else []
    changes += [f"targets={json.dumps(args.target)}"] if args.target else []
    changes += ["signal.keep_bad_windows=true"] if args.keep_bad_windows else []
    methods = [name.strip() for name in args.methods.split(",")] if args.methods is not None else None
    plan = plan_sweep(
        config.override(changes + args.set),
        args.split or (known.split if known else DEFAULT_SPLIT),
        (len(known.seeds) if known else 1) if args.seeds is None else args.seeds,
        known.methods if known and methods is None else methods,
    )
    return known.extended(plan, folder) if known else plan, folder


def _executor(args: argparse.Namespace, cells: int) -> "Executor":
    from ekd_train.sweeps import api

    if args.ray is not None and args.stack > 1:
        raise ConfigError(
            "--stack trains folds on this machine's GPU and cannot be combined with --ray: leave one of them out"
        )
    if args.ray is not None:
        from ekd_train.sweeps.ray_cluster import RayExecutor

        return RayExecutor(args.ray, args.workers, args.threads or 1, args.device, api.WORK)
    return api.local_executor(cells, workers=args.workers, threads=args.threads, device=args.device, stack=args.stack)
