"""`ekd-recording info`: what a recording contains."""

import argparse
import json
from pathlib import Path

from ekd_edge.recording.export import Stretch, extend, read_items
from ekd_edge.recording.format import Mark
from ekd_edge.signal.blocks import SampleBlock

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `info`."""
    parser.add_argument("path", metavar="PATH", type=Path, help="a recording, or a folder of them")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(options: argparse.Namespace) -> None:
    """Print it."""
    reader, items = read_items(options.path)
    stretches: list[Stretch] = []
    marks, predictions = [], 0
    for item in items:
        if isinstance(item, SampleBlock):
            extend(stretches, item, keep=False)
        elif isinstance(item, Mark):
            marks.append({"time": item.time_s, "text": item.text})
        else:
            predictions += 1
    report = {
        **{key: reader.head.get(key) for key in ("started", "port", "model")},
        "stretches": [
            {
                "segment": stretch.segment,
                "rate_hz": float(stretch.rate_hz),
                "first_index": stretch.first_index,
                "seconds": round(float(stretch.length / stretch.rate_hz), 3),
            }
            for stretch in stretches
        ],
        "samples": sum(stretch.length for stretch in stretches),
        "predictions": predictions,
        "damaged_frames": reader.damaged,
        "marks": marks,
    }
    if options.json:
        print(json.dumps(report))
        return
    print(f"from {report['started']} at {report['port']}, model {report['model']}")
    print(f"{report['samples']} samples, {predictions} predictions, {reader.damaged} damaged frames")
    for stretch in stretches:
        seconds, rate_hz = float(stretch.length / stretch.rate_hz), float(stretch.rate_hz)
        print(f"  segment {stretch.segment} from sample {stretch.first_index}: {seconds:.1f} s at {rate_hz:g} Hz")
    for mark in marks:
        print(f"  {mark['text']}")
