"""`ekd-firmware` monitors and emulates skin-conductance sensors, and builds and flashes ekd's firmware.

Exit status: 0 on success, 2 for a fault with one sentence on stderr, 130 on Ctrl-C, 143 on SIGTERM, 129
on SIGHUP.
"""

import sys
from collections.abc import Sequence

from firmware_bridge.cli.program import Command, Program, run_program

__all__ = ["PROGRAM", "main"]

PROGRAM = Program(
    "ekd-firmware",
    "Tools for skin-conductance sensors: monitor a device, emulate a device, build and flash ekd's firmware.",
    (
        Command("monitor", "show a device's format, true rate, losses and level", "firmware_bridge.cli.monitor"),
        Command("simulate", "emulate a device on a pseudo-terminal", "firmware_bridge.cli.simulate"),
        Command(
            "build", "compile the firmware for an ATmega328P board (Arduino Uno, Nano)", "firmware_bridge.cli.build"
        ),
        Command("flash", "compile the firmware and write it to a board", "firmware_bridge.cli.flash"),
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; see the module's docstring."""
    return run_program(PROGRAM, argv)


if __name__ == "__main__":
    sys.exit(main())
