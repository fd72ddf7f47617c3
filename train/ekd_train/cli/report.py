"""`ekd-train report`: write and print the report of a sweep, finished or not."""

import argparse
import json

from firmware_bridge.cli.arguments import path_argument
from firmware_bridge.dependencies import require_packages

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `report`."""
    parser.add_argument("folder", metavar="DIR", type=path_argument, help="the sweep's folder")
    parser.add_argument("--json", action="store_true", help="print report.json on stdout instead of the tables")


def run(options: argparse.Namespace) -> None:
    """Write the report's files and print it."""
    require_packages("a report", "matplotlib", "scipy")
    from ekd_train.report import render_text, write_report

    report = write_report(options.folder)
    print(json.dumps(report) if options.json else render_text(report))
