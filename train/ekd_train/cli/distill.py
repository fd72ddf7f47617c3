"""`ekd-train distill`: distill the student of a trained teacher."""

import argparse
from pathlib import Path

from ekd_edge.errors import ConfigError
from ekd_train.cli.options import (
    add_compute_arguments,
    add_set_argument,
    check_training_packages,
    print_run,
    resume_hint,
)
from firmware_bridge.cli.arguments import path_argument

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `distill`."""
    parser.add_argument(
        "run_folder",
        metavar="RUN",
        type=path_argument,
        nargs="?",
        help="the run folder (default: the newest with a teacher)",
    )
    add_set_argument(parser)
    add_compute_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Distill and print the result."""
    check_training_packages()
    from ekd_train.progress import TerminalReporter
    from ekd_train.training.trainer import resume

    folder = options.run_folder or _newest_teacher()
    try:
        with TerminalReporter() as reporter:
            done = resume(
                folder,
                options.set,
                device=options.device,
                threads=options.threads,
                reporter=reporter,
                teacher=False,
            )
    except KeyboardInterrupt:
        return resume_hint()
    print_run(done, f"ekd-export {done.path} --int8", options.json)
    return 0


def _newest_teacher() -> Path:
    from ekd_train.run import TEACHER_FILE

    teachers = sorted(Path("runs").glob(f"*/{TEACHER_FILE}"), key=lambda file: file.stat().st_mtime)
    if not teachers:
        raise ConfigError("no trained teacher in runs/: train one with ekd-train teacher")
    return teachers[-1].parent
