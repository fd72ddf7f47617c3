"""`ekd-edge` and its subcommands.

Each subcommand is a module of its own, whose docstring gives its exit status. It is imported only when it is chosen, so
that `doctor` runs where numpy does not load.
"""

import sys
from collections.abc import Sequence

from firmware_bridge.cli.program import Command, Program, run_program

__all__ = ["PROGRAM", "main"]

PROGRAM = Program(
    "ekd-edge",
    "Predict emotion from a skin-conductance sensor, live, or from a recording of one.",
    (
        Command("predict", "predict from sensors or from a recording", "ekd_edge.cli.predict"),
        Command("status", "show the running ekd-edge processes and their problems", "ekd_edge.cli.status"),
        Command("doctor", "check this machine and say what to repair", "ekd_edge.cli.doctor"),
        Command("calibrate", "record a wearer's baseline at rest", "ekd_edge.cli.calibrate"),
        Command("bench", "measure models on this machine and pick one", "ekd_edge.cli.bench"),
        Command("bundle", "pack an archive that installs on a Raspberry Pi offline", "ekd_edge.cli.bundle"),
    ),
    default="predict",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_program(PROGRAM, argv)


if __name__ == "__main__":
    sys.exit(main())
