"""`ekd-recording export`: writes samples and predictions of a recording for other programs."""

import argparse
from pathlib import Path

from ekd_edge.errors import ConfigError
from ekd_edge.recording.export import read_contents, write_csv, write_edf, write_predictions
from firmware_bridge.dependencies import require_packages

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ekd-recording export`."""
    parser.description = (
        "Write samples as CSV or EDF+ and predictions as JSON lines. An EDF file has no gaps: each stretch of samples "
        "without a gap becomes a file, with predictions and marks as annotations."
    )
    parser.add_argument("path", metavar="PATH", type=Path, help="a recording, or a folder of them")
    parser.add_argument("--csv", metavar="FILE", type=Path, help="segment, index, time in s and uS of every sample")
    parser.add_argument("--edf", metavar="FILE", type=Path, help="EDF+; further stretches go to FILE-2.edf, ...")
    parser.add_argument("--predictions", metavar="FILE", type=Path, help="one JSON object a line")


def run(options: argparse.Namespace) -> None:
    """Write the files that are named and print their names."""
    if not (options.csv or options.edf or options.predictions):
        raise ConfigError("name a file to write: --csv FILE, --edf FILE or --predictions FILE")
    if options.edf:
        require_packages("--edf", "edfio")
    for path in filter(None, (options.csv, options.edf, options.predictions)):
        if not path.absolute().parent.is_dir():
            raise ConfigError(f"cannot write {path}: the folder does not exist: make it, or choose another one")
    contents = read_contents(options.path)
    if options.predictions:
        write_predictions(options.predictions, contents)
        print(options.predictions)
    if options.csv:
        write_csv(options.csv, contents.stretches)
        print(options.csv)
    if options.edf:
        for path in write_edf(options.edf, contents.stretches):
            print(path)
