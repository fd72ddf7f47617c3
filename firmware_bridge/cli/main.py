"""`ekd-firmware`: tools for the device's side of the wire.

Exit status: 0 when all is done, 130 on Ctrl-C or SIGTERM, 2 for a fault, told in one sentence on stderr.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from firmware_bridge.errors import EkdError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring for the status returned."""
    options = _parser().parse_args(argv)
    try:
        options.run(options)
    except EkdError as error:
        print(f"ekd-firmware: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    from firmware_bridge.cli.firmware import add_build, add_flash
    from firmware_bridge.cli.monitor import add_monitor
    from firmware_bridge.cli.simulate import add_simulate

    parser = argparse.ArgumentParser(prog="ekd-firmware", description="Tools for the device's side of the wire.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_monitor(commands)
    add_simulate(commands)
    add_build(commands)
    add_flash(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
