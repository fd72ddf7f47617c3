"""`ekd-export`: write a trained student as one model file, and sign or convert model files.

Exit status: 0 when all is done, 3 where --max-drop was given and the loss cannot be shown to be within it, 130 on
Ctrl-C, 2 for a fault, with one sentence on stderr.
"""

import sys
from collections.abc import Sequence

from firmware_bridge.cli.program import Command, Program, run_program

__all__ = ["PROGRAM", "main"]

PROGRAM = Program(
    "ekd-export",
    "Write a run's student as one self-describing .tflite file for ekd-edge.",
    (
        Command("export", "write a run's student as a model file", "ekd_export.cli.export", positional=True),
        Command("sign", "write a signed copy of a model file", "ekd_export.cli.sign"),
        Command("new-key", "make an ed25519 key to sign model files with", "ekd_export.cli.new_key"),
        Command("c-source", "write an int8 model file as C99 source", "ekd_export.cli.c_source"),
    ),
    default="export",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring for the exit status."""
    return run_program(PROGRAM, argv)


if __name__ == "__main__":
    sys.exit(main())
