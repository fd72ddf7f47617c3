"""`ekd-recording export`: writes samples and predictions of a recording for other programs."""

import argparse

from ekd_edge.errors import ConfigError
from ekd_edge.recording.contents import read_contents, recordings_at
from ekd_edge.recording.export import check_outputs, edf_names, write_csv, write_edf, write_predictions
from firmware_bridge.cli.arguments import path_argument

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ekd-recording export`."""
    parser.description = (
        "Write samples as CSV or EDF+ and predictions as JSON lines. An EDF file has no gaps: each stretch of samples "
        "without a gap becomes a file, with predictions and marks as annotations."
    )
    parser.add_argument("path", metavar="PATH", type=path_argument, help="a recording, or a folder of them")
    parser.add_argument(
        "--csv",
        metavar="FILE",
        type=path_argument,
        help="segment, index, time in s, uS and, where known, UTC of every sample",
    )
    parser.add_argument(
        "--edf", metavar="FILE", type=path_argument, help="EDF+; further stretches go to FILE-2.edf, ..."
    )
    parser.add_argument("--predictions", metavar="FILE", type=path_argument, help="one JSON object a line")


def run(options: argparse.Namespace) -> None:
    """Write the files that are named and print their names."""
    outputs = [path for path in (options.csv, options.edf, options.predictions) if path]
    if not outputs:
        raise ConfigError("name a file to write: --csv FILE, --edf FILE or --predictions FILE")
    check_outputs(outputs, [])
    files = recordings_at(options.path)
    check_outputs(outputs, files)
    if options.predictions:
        write_predictions(options.predictions, files)
        print(options.predictions)
    if not (options.csv or options.edf):
        return
    contents = read_contents(files)
    if options.csv:
        write_csv(options.csv, files, utc=any(each.start_utc_s is not None for each in contents.stretches))
        print(options.csv)
    if options.edf:
        others = [path for path in (options.csv, options.predictions) if path]
        check_outputs([*others, *edf_names(options.edf, len(contents.stretches))], files)
        for path, edf in write_edf(options.edf, files, contents):
            print(path)
            if edf.padding:
                print(
                    f"{path} ends in padding: {edf.padding} samples repeat the last one, because EDF has whole records "
                    f"(here of {edf.samples} samples)"
                )
