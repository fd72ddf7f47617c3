"""`ekd-edge` and its subcommands: which one is meant, and what to say where a package under it cannot be loaded.

Each has a module of its own, whose docstring gives its exit status; imported when it is meant, so that `doctor` runs
where numpy does not load.
"""

import sys
from collections.abc import Sequence
from importlib import import_module

from firmware_bridge.dependencies import explain_import_error

__all__ = ["SUBCOMMANDS", "main"]

SUBCOMMANDS = {
    "status": "ekd_edge.cli.status",
    "calibrate": "ekd_edge.cli.calibrate",
    "doctor": "ekd_edge.cli.doctor",
    "bench": "ekd_edge.cli.bench",
    "bundle": "ekd_edge.cli.bundle",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command meant; 2 where a package that it needs is missing or cannot be loaded."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    named = SUBCOMMANDS.get(arguments[0]) if arguments else None
    try:
        command = import_module(named or "ekd_edge.cli.predict")
        status: int = command.main(arguments[1:] if named else arguments)
        return status
    except ImportError as error:
        told = explain_import_error(error)
        if told is None:
            raise
        print(f"ekd-edge: {told}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
