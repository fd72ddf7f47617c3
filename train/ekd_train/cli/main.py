"""`ekd-train`: train the teacher, distil the student."""

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ekd_edge.errors import ConfigError, EkdError
from ekd_train.cli.sweep import add_arguments as add_sweep_arguments
from ekd_train.process_tuning import keep_freed_memory, let_idle_threads_sleep

__all__ = ["main"]

DESCRIPTION = """\
Train the EEG + GSR teacher and distil the GSR-only student.

  ekd-train --preset smoke                      both, in a few minutes, on synthetic data
  ekd-train --preset paper --data recordings:DIR    both, the published networks, on your own data
  ekd-train teacher --preset paper --out RUN    the teacher alone
  ekd-train distill RUN                         then its student
  ekd-train --resume RUN                        go on after an interruption
  ekd-train sweep --data D --split leave-one-out    every method on every fold, and a report
  ekd-train cache                               list the converted windows that are kept on disk
"""

DEFAULT_PRESET = "smoke"
RUN_OPTIONS = ("preset", "data", "target", "split", "out")
"""What is settled when a run is begun."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, train, print; returns the exit status."""
    parser = _parser()
    args = parser.parse_args(argv)
    let_idle_threads_sleep()
    try:
        return int(args.run_command(args))
    except EkdError as error:
        print(f"ekd-train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nekd-train: stopped; --resume RUN goes on from the last finished epoch", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    training = argparse.ArgumentParser(add_help=False)
    training.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    training.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    training.add_argument("--json", action="store_true", help="print the result as one JSON object on stdout")

    setup = argparse.ArgumentParser(add_help=False)
    setup.add_argument("--preset", help="a shipped preset or a .toml file (default: smoke)")
    setup.add_argument("--data", help="synthetic, synthetic:hard, recordings:FOLDER, deap:FOLDER or hci:FOLDER")
    setup.add_argument("--target", action="append", help="what to predict; repeat it for several")
    setup.add_argument(
        "--split", help="holdout (default), leave-one-out, k-fold:K, or trial-leaky (overstates accuracy)"
    )
    setup.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="such as student.epochs=3")
    setup.add_argument("--out", type=Path, help="the run folder (default: runs/TIME-PRESET)")

    parser = argparse.ArgumentParser(
        prog="ekd-train",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[setup, training],
    )
    parser.add_argument("--resume", type=Path, metavar="RUN", help="continue this run folder")
    parser.set_defaults(run_command=_both)
    commands = parser.add_subparsers(title="commands", metavar="")

    teacher = commands.add_parser("teacher", parents=[setup, training], help="train the teacher alone")
    teacher.set_defaults(run_command=_teacher)
    distill = commands.add_parser("distill", parents=[training], help="distil the student of a trained teacher")
    distill.add_argument("run", type=Path, nargs="?", help="the run folder (default: the newest with a teacher)")
    distill.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="such as feedback.every=8")
    distill.set_defaults(run_command=_distill)
    add_sweep_arguments(commands.add_parser("sweep", help="train every method on every fold, target and seed"))
    data = commands.add_parser("data", help="list a dataset's subjects, or write one as a recording")
    data.add_argument("--data", default="synthetic", help="as above (default: synthetic)")
    data.add_argument("--subject", help="the subject to write; without it the subjects are listed")
    data.add_argument("--recording", help="which one, where the subject has several (default: all of them)")
    data.add_argument("--out", type=Path, help="the CSV file to write, or a folder for several")
    data.set_defaults(run_command=_data)
    report = commands.add_parser("report", help="write and print the report of a sweep, finished or not")
    report.add_argument("folder", type=Path, help="the sweep's folder")
    report.add_argument("--json", action="store_true", help="print report.json on stdout instead of the tables")
    report.set_defaults(run_command=_report)
    cache = commands.add_parser("cache", help="list the converted windows kept on disk, or delete them")
    cache.add_argument("--clear", action="store_true", help="delete all of them; they are made again when needed")
    cache.set_defaults(run_command=_cache)
    return parser


def _both(args: argparse.Namespace) -> int:
    return _train(args, teacher=True, student=True, resume=args.resume)


def _teacher(args: argparse.Namespace) -> int:
    return _train(args, teacher=True, student=False)


def _distill(args: argparse.Namespace) -> int:
    from ekd_train.run import TEACHER_FILE

    if args.run is None:
        teachers = sorted(Path("runs").glob(f"*/{TEACHER_FILE}"), key=lambda file: file.stat().st_mtime)
        if not teachers:
            raise ConfigError("no trained teacher in runs/: train one with ekd-train teacher")
        args.run = teachers[-1].parent
    return _train(args, teacher=False, student=True, resume=args.run)


def _train(args: argparse.Namespace, teacher: bool, student: bool, resume: Path | None = None) -> int:
    from ekd_edge.atomic_files import alone_in
    from ekd_train.config import load_preset
    from ekd_train.data.splits import LEAKY_WARNING, SubjectSplit, parse_split
    from ekd_train.progress import TerminalReporter
    from ekd_train.run import Run, default_run_path
    from ekd_train.training.device import pick_device
    from ekd_train.training.trainer import Training

    keep_freed_memory()
    device = pick_device(args.device, args.threads)
    with TerminalReporter() as reporter:
        if resume is not None:
            for name in RUN_OPTIONS:
                if getattr(args, name, None):
                    raise ConfigError(f"--resume goes on with a run as it was begun: leave --{name} out")
            run = Run.load(resume)
            if args.set:
                run = run.with_config(run.config.override(args.set))
            training = Training(run, device, reporter)
        else:
            preset = args.preset or DEFAULT_PRESET
            config = load_preset(preset)
            changes = [f"data={json.dumps(args.data)}"] if args.data else []
            changes += [f"targets={json.dumps(args.target)}"] if args.target else []
            changes += [f"split.{key}={value}" for key, value in parse_split(args.split).items()] if args.split else []
            config = config.override(changes + args.set)
            training = Training.begin(config, args.out or default_run_path(preset), device, reporter)
        with alone_in(training.run.path, "ekd-train"):
            if teacher:
                training.teach()
            if student:
                training.distill()
    run = training.run
    if args.json:
        warning = {} if isinstance(run.split, SubjectSplit) else {"warning": LEAKY_WARNING}
        print(json.dumps({**warning, "run": str(run.path), **run.results}))
    else:
        if not isinstance(run.split, SubjectSplit):
            print(LEAKY_WARNING)
        print(_summary(run.results, run.synthetic, not isinstance(run.split, SubjectSplit)))
        print(f"\nrun folder: {run.path}")
        if student:
            print(f"next: ekd-export {run.path} --int8")
        else:
            print(f"next: ekd-train distill {run.path}")
    return 0


def _summary(results: object, synthetic: bool, leaky: bool) -> str:
    assert isinstance(results, dict)
    origin = "synthetic data, " if synthetic else ""
    lines = []
    for name in ("teacher", "student"):
        if name in results and "test" in results[name]:
            test = results[name]["test"]
            lines.append(
                f"{name}: accuracy {test['accuracy']:.1%}, macro-F1 {test['macro_f1']:.1%}"
                f" ({origin}{test['subjects']} {'subjects, leaky split' if leaky else 'held-out subjects'})"
            )
    return "\n".join(lines)


def _data(args: argparse.Namespace) -> int:
    from ekd_train.data.datasets.recordings import write_recording
    from ekd_train.data.source import parse_source

    source = parse_source(args.data)
    for note in source.notes:
        print(f"ekd-train: {note}", file=sys.stderr)
    if args.subject is None:
        with contextlib.suppress(BrokenPipeError):
            print("\n".join(source.subjects))
        return 0
    if args.out is None:
        raise ConfigError("name the file to write with --out FILE.csv")
    recordings = source.dataset.read([args.subject])
    chosen = [one for one in recordings if args.recording in (None, one.name)]
    if not chosen:
        if args.recording:
            raise ConfigError(f"{args.subject} has no recording {args.recording!r}: leave --recording out to see all")
        raise ConfigError(f"no recording of {args.subject} can serve: {'; '.join(source.dataset.notes)}")
    if args.out.suffix == ".csv" and len(chosen) > 1:
        raise ConfigError(
            f"{args.subject} has {len(chosen)} recordings, {chosen[0].name} to {chosen[-1].name}: "
            "choose one with --recording NAME, or write all with --out FOLDER"
        )
    for recording in chosen:
        path = args.out if args.out.suffix == ".csv" else args.out / f"{recording.name}.csv"
        write_recording(path, recording)
        print(path)
    for note in source.dataset.notes:
        if note not in source.notes:  # what reading brought to light
            print(f"ekd-train: {note}", file=sys.stderr)
    return 0


def _report(args: argparse.Namespace) -> int:
    from ekd_train.report import render_text, write_report

    report = write_report(args.folder)
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(report) if args.json else render_text(report))
    return 0


def _cache(args: argparse.Namespace) -> int:
    from ekd_train.data.cache.listing import clear, describe

    if args.clear:
        print(f"{clear() / 1e6:.1f} MB freed")
    else:
        with contextlib.suppress(BrokenPipeError):
            print(describe())
    return 0


if __name__ == "__main__":
    sys.exit(main())
