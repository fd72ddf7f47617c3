"""`ekd-recording info`: shows the contents of a recording."""

import argparse
import json
from pathlib import Path

from ekd_edge.recording.export import read_contents

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ekd-recording info`."""
    parser.add_argument("path", metavar="PATH", type=Path, help="a recording, or a folder of them")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> None:
    """Print stretches of samples, counts and marks."""
    contents = read_contents(options.path, keep_samples=False)
    stretches = contents.stretches
    about = {
        **{key: contents.head.get(key) for key in ("started", "port", "model")},
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
        "predictions": len(contents.predictions),
        "damaged_frames": contents.damaged,
        "marks": [{"time": mark.time_s, "text": mark.text} for mark in contents.marks],
    }
    if options.json:
        print(json.dumps(about))
        return
    print(f"from {about['started']} at {about['port']}, model {about['model']}")
    print(f"{about['samples']} samples, {about['predictions']} predictions, {contents.damaged} damaged frames")
    for stretch in stretches:
        seconds, rate_hz = float(stretch.length / stretch.rate_hz), float(stretch.rate_hz)
        print(f"  segment {stretch.segment} from sample {stretch.first_index}: {seconds:.1f} s at {rate_hz:g} Hz")
    for mark in contents.marks:
        print(f"  {mark.text}")
