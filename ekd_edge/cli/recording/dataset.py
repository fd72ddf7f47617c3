"""`ekd-recording dataset`: makes a folder for `ekd-train --data recordings:FOLDER` of recordings and rated trials."""

import argparse
import sys

from ekd_edge.recording.dataset import make_dataset
from ekd_edge.recording.trials import read_trials
from firmware_bridge.cli.arguments import path_argument
from firmware_bridge.printable import printable
from firmware_bridge.rates import rate_text

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ekd-recording dataset`."""
    parser.description = (
        "Make a folder for `ekd-train --data recordings:OUT`: a CSV file for each recording that has a trial, and "
        "labels.csv. Gaps stay gaps. The columns of --trials are start, end (2026-11-30T12:00:00Z, or seconds since "
        "1970), trial, subject, and ratings."
    )
    parser.add_argument("path", metavar="DIR", type=path_argument, help="the folder of --record, or one recording")
    parser.add_argument("output", metavar="OUT", type=path_argument, help="the folder to make")
    parser.add_argument(
        "--trials",
        metavar="FILE",
        type=path_argument,
        help="a CSV file of rated trials by wall-clock time (default: the recordings' marks 'trial NAME begins' and "
        "'trial NAME ends arousal=7')",
    )
    parser.add_argument(
        "--subject", metavar="NAME", help="the person, where neither --wearer nor the trials say who it was"
    )


def run(options: argparse.Namespace) -> None:
    """Make the folder, and print its files and the next command."""
    trials = None if options.trials is None else read_trials(options.trials)

    def notify(message: str) -> None:
        print(f"ekd-recording: {printable(message)}", file=sys.stderr)

    for part in make_dataset(options.path, options.output, trials, options.subject, notify):
        gaps = part.end - part.first - part.samples
        print(
            f"{options.output / part.name}.csv: {rate_text(part.rate_hz)} Hz, {part.samples:,} samples, {gaps:,} "
            f"missing, {len(part.rows)} trials of {printable(part.subject)}"
        )
    print(f"next: ekd-train data --data recordings:{options.output}")
