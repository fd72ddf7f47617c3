"""`python -m ekd_train.report FOLDER`."""

import argparse
import json
import sys
from collections.abc import Sequence

from ekd_edge.errors import EkdError
from ekd_train.report import render_text, write_report
from firmware_bridge.cli.arguments import path_argument

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, report, print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ekd_train.report", description="Report a sweep, finished or not.")
    parser.add_argument("folder", type=path_argument, help="the sweep's folder")
    parser.add_argument("--json", action="store_true", help="print report.json on stdout instead of the tables")
    args = parser.parse_args(argv)
    try:
        report = write_report(args.folder)
    except EkdError as error:
        print(f"ekd-train report: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report) if args.json else render_text(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
