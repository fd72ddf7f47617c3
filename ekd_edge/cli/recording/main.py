"""`ekd-recording`: shows recordings and exports them for other programs.

Exit status: 0, or 2 for a fault, with one sentence on stderr.
"""

import sys
from collections.abc import Sequence

from firmware_bridge.cli.program import Command, Program, run_program

__all__ = ["PROGRAM", "main"]

PROGRAM = Program(
    "ekd-recording",
    "Show recordings of `ekd-edge --record`, and export them for other programs or for training.",
    (
        Command("info", "show the contents of a recording", "ekd_edge.cli.recording.info"),
        Command("export", "write samples and predictions for other programs", "ekd_edge.cli.recording.export"),
        Command(
            "dataset", "make a folder for training of recordings and rated trials", "ekd_edge.cli.recording.dataset"
        ),
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring for the exit status."""
    return run_program(PROGRAM, argv)


if __name__ == "__main__":
    sys.exit(main())
