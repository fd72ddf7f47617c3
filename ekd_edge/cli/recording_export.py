"""`ekd-recording export`: samples as CSV or EDF+, predictions as JSON lines."""

import argparse
import json
from pathlib import Path

from ekd_edge.errors import ConfigError, PortError
from ekd_edge.recording.export import Stretch, extend, read_items, write_csv, write_edf
from ekd_edge.recording.format import PredictionLine
from ekd_edge.signal.blocks import SampleBlock
from firmware_bridge.dependencies import require_packages

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `export`."""
    parser.description = (
        "Write samples as CSV or EDF+ and predictions as JSON lines. An EDF file has no gaps: each stretch of samples "
        "without a gap becomes a file of its own, with predictions and marks as annotations."
    )
    parser.add_argument("path", metavar="PATH", type=Path, help="a recording, or a folder of them")
    parser.add_argument("--csv", metavar="FILE", type=Path, help="segment, index, time in s and uS of every sample")
    parser.add_argument("--edf", metavar="FILE", type=Path, help="EDF+; further stretches go to FILE-2.edf, ...")
    parser.add_argument("--predictions", metavar="FILE", type=Path, help="one JSON object a line")


def run(options: argparse.Namespace) -> None:
    """Write the files that are asked for."""
    if not (options.csv or options.edf or options.predictions):
        raise ConfigError("name a file to write: --csv FILE, --edf FILE or --predictions FILE")
    if options.edf:
        require_packages("--edf", "edfio")
    _, items = read_items(options.path)
    stretches: list[Stretch] = []
    lines: list[str] = []
    for item in items:
        if isinstance(item, SampleBlock):
            extend(stretches, item)
            continue
        text = item.text
        if isinstance(item, PredictionLine):
            lines.append(text)
            text = _label(text)
        if stretches:
            last = stretches[-1]
            last.texts.append((float(last.length / last.rate_hz), text))
    try:
        if options.predictions:
            options.predictions.write_text("".join(f"{line}\n" for line in lines))
            print(options.predictions)
        if options.csv:
            write_csv(options.csv, stretches)
            print(options.csv)
        if options.edf:
            for number, stretch in enumerate(stretches, start=1):
                path = options.edf if number == 1 else options.edf.with_stem(f"{options.edf.stem}-{number}")
                write_edf(path, stretch)
                print(path)
    except OSError as error:
        raise PortError(f"cannot write {error.filename}: {error.strerror}") from error


def _label(line: str) -> str:
    """The labels of a prediction, for an annotation."""
    report = json.loads(line)
    return ", ".join(f"{name} {target['label'] or 'withheld'}" for name, target in report["targets"].items())
