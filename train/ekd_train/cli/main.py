"""`ekd-train`: train the teacher, distill the student, compare methods in sweeps.

Exit status: 0; 1 if cells of a sweep failed; 2 for an error, with one sentence on stderr; 130 on Ctrl-C.
"""

import sys
from collections.abc import Sequence

from ekd_train.process_tuning import let_idle_threads_sleep
from firmware_bridge.cli.program import Command, Program, run_program

__all__ = ["PROGRAM", "main"]

PROGRAM = Program(
    "ekd-train",
    "Train the EEG + GSR teacher and distill the GSR-only student.",
    (
        Command("train", "train the teacher, then distill the student", "ekd_train.cli.train"),
        Command("teacher", "train only the teacher", "ekd_train.cli.teacher"),
        Command("distill", "distill the student of a trained teacher", "ekd_train.cli.distill"),
        Command("sweep", "train every method on every fold, target and seed", "ekd_train.cli.sweep"),
        Command("report", "write and print the report of a sweep, finished or not", "ekd_train.cli.report"),
        Command("data", "list a dataset's subjects, or write one as a recording", "ekd_train.cli.data"),
        Command("config", "list every setting with its type, value and meaning", "ekd_train.cli.config"),
        Command("cache", "list the converted windows on disk, or delete them", "ekd_train.cli.cache"),
    ),
    default="train",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    let_idle_threads_sleep()
    return run_program(PROGRAM, argv)


if __name__ == "__main__":
    sys.exit(main())
