"""`ekd-recording info`: shows the contents of a recording."""

import argparse
import json

from ekd_edge.formatting import utc_text
from ekd_edge.recording.contents import read_contents, recordings_at
from firmware_bridge.cli.arguments import path_argument
from firmware_bridge.printable import printable

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ekd-recording info`."""
    parser.add_argument("path", metavar="PATH", type=path_argument, help="a recording, or a folder of them")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> None:
    """Print stretches of samples, counts and marks."""
    contents = read_contents(recordings_at(options.path))
    stretches = contents.stretches
    about = {
        **{key: contents.head.get(key) for key in ("started", "port", "model")},
        "models": [{"model": name, "sha256": digest} for name, digest in contents.models],
        "stretches": [
            {
                "segment": stretch.segment,
                "rate_hz": float(stretch.rate_hz),
                "first_index": stretch.first_index,
                "seconds": round(stretch.seconds, 3),
                "utc": utc_text(stretch.start_utc_s),
            }
            for stretch in stretches
        ],
        "samples": sum(stretch.length for stretch in stretches),
        "predictions": contents.predictions,
        "damaged_frames": contents.damaged,
        "marks": [{"time": mark.time_s, "text": mark.text} for mark in contents.marks],
    }
    if options.json:
        print(json.dumps(about))
        return
    started, port, model = (printable(str(about[key] or "unknown")) for key in ("started", "port", "model"))
    if len(contents.models) > 1:
        model = ", then ".join(printable(f"{name} (SHA-256 {digest[:12]})") for name, digest in contents.models)
    print(f"from {started} at {port}, model {model}")
    print(f"{about['samples']} samples, {contents.predictions} predictions, {contents.damaged} damaged frames")
    for stretch in stretches:
        begin = "" if stretch.start_utc_s is None else f", from {utc_text(stretch.start_utc_s)}"
        print(
            f"  segment {stretch.segment} from sample {stretch.first_index}: {stretch.seconds:.1f} s at "
            f"{float(stretch.rate_hz):g} Hz{begin}"
        )
    for mark in contents.marks:
        print(f"  {printable(mark.text)}")
