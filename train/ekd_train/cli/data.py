"""`ekd-train data`: list a dataset's subjects, or write the recordings of one subject."""

import argparse
import sys

from ekd_edge.errors import ConfigError
from ekd_train.cli.options import add_scale_argument
from firmware_bridge.cli.arguments import path_argument

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `data`."""
    parser.add_argument(
        "--data",
        default="synthetic",
        help="synthetic, synthetic:hard, recordings:FOLDER, deap:FOLDER or hci:FOLDER (default: synthetic)",
    )
    add_scale_argument(parser)
    parser.add_argument("--subject", metavar="NAME", help="the subject to write; without it the subjects are listed")
    parser.add_argument("--recording", metavar="NAME", help="the recording to write (default: all of the subject)")
    parser.add_argument(
        "-o",
        "--output",
        "--out",
        dest="output",
        metavar="FILE",
        type=path_argument,
        help="the CSV file to write, or a folder for several",
    )


def run(options: argparse.Namespace) -> int:
    """List or write."""
    from ekd_train.data.datasets.rating_scale import with_scale
    from ekd_train.data.datasets.recordings import RecordingsDataset, write_recording
    from ekd_train.data.source import open_dataset

    source = open_dataset(options.data if options.scale is None else with_scale(options.data, options.scale))
    for note in source.notes:
        print(f"ekd-train: {note}", file=sys.stderr)
    if options.subject is None:
        for line in source.dataset.summaries() if isinstance(source.dataset, RecordingsDataset) else ():
            print(f"ekd-train: {line}", file=sys.stderr)
        print("\n".join(source.subjects))
        return 0
    if options.output is None:
        raise ConfigError("name the file to write: --output FILE.csv")
    recordings = source.dataset.read([options.subject])
    chosen = [one for one in recordings if options.recording in (None, one.name)]
    if not chosen:
        if options.recording:
            raise ConfigError(
                f"{options.subject} has no recording {options.recording!r}: leave --recording out to see all"
            )
        raise ConfigError(f"no recording of {options.subject} can be used: {'; '.join(source.dataset.notes)}")
    if options.output.suffix == ".csv" and len(chosen) > 1:
        raise ConfigError(
            f"{options.subject} has {len(chosen)} recordings, {chosen[0].name} to {chosen[-1].name}: "
            "choose one with --recording NAME, or write all with --output FOLDER"
        )
    for recording in chosen:
        path = (
            options.output
            if options.output.suffix == ".csv"
            else options.output / f"{recording.name.replace('/', '-')}.csv"
        )
        write_recording(path, recording)
        print(path)
    for note in source.dataset.notes:
        if note not in source.notes:  # sessions that could not be read
            print(f"ekd-train: {note}", file=sys.stderr)
    return 0
