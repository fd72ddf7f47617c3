"""`ekd-edge`: predictions from skin-conductance sensors, and tools for running it on a small board.

Exit status: the docstring of each subcommand's module gives it; 2 for a fault, with one sentence on stderr.
"""

import sys
from collections.abc import Sequence

from firmware_bridge.cli.program import Command, Program, run_program

__all__ = ["PROGRAM", "main"]

PROGRAM = Program(
    "ekd-edge",
    "Predict emotion from a skin-conductance sensor, live, or from a recording of one.",
    (
        Command("predict", "predict from sensors or a recording", "ekd_edge.cli.predict"),
        Command("status", "show the running ekd-edge processes and their problems", "ekd_edge.cli.status"),
        Command("calibrate", "take the baseline of a wearer at rest", "ekd_edge.cli.calibrate"),
        Command("doctor", "check this machine, its packages, ports and model", "ekd_edge.cli.doctor"),
        Command("bench", "measure how fast models are on this machine", "ekd_edge.cli.bench"),
        Command("bundle", "pack an archive that installs without a network", "ekd_edge.cli.bundle"),
    ),
    default="predict",
    path_option="--port",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring for the exit status."""
    return run_program(PROGRAM, argv)


if __name__ == "__main__":
    sys.exit(main())
