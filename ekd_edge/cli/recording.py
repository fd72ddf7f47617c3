"""`ekd-recording`: show and export the recordings that `ekd-edge --record` made.

Exit status: 0, 130 on Ctrl-C, or 2 for a fault, with one sentence on stderr.
"""

import sys
from collections.abc import Sequence

from firmware_bridge.cli.program import Command, Program, run_program

__all__ = ["PROGRAM", "main"]

PROGRAM = Program(
    "ekd-recording",
    "Show and export the recordings that ekd-edge --record made.",
    (
        Command("info", "show what a recording contains", "ekd_edge.cli.recording_info"),
        Command("export", "write samples and predictions for other programs", "ekd_edge.cli.recording_export"),
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_program(PROGRAM, argv)


if __name__ == "__main__":
    sys.exit(main())
