"""`ekd-recording`: what recordings hold, and their way to other programs.

Exit status: 0, or 2 for a fault, told in one sentence on stderr.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import ConfigError, EkdError, FormatError, PortError
from ekd_edge.recording.format import Mark, PredictionLine, Reader
from ekd_edge.recording.replay import find_recordings, read_recordings
from ekd_edge.signal.blocks import SampleBlock

__all__ = ["main"]


@dataclass
class _Stretch:
    """Samples without a gap: microsiemens from first_index on; texts: (seconds since its start, text)."""

    segment: int
    rate_hz: Fraction
    first_index: int
    parts: list[NDArray[np.float64]] = field(default_factory=list)
    texts: list[tuple[float, str]] = field(default_factory=list)

    @property
    def length(self) -> int:
        return sum(map(len, self.parts))

    @property
    def values(self) -> NDArray[np.float64]:
        return np.concatenate(self.parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring for the status returned."""
    options = _parser().parse_args(argv)
    try:
        options.run(options)
    except EkdError as error:
        print(f"ekd-recording: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ekd-recording", description="Recordings that ekd-edge --record made: what they hold, and export."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    info = commands.add_parser("info", help="what a recording holds", description="What a recording holds.")
    info.add_argument("path", metavar="PATH", type=Path, help="a recording, or a folder of them")
    info.add_argument("--json", action="store_true", help="as one JSON object")
    info.set_defaults(run=_info)
    export = commands.add_parser(
        "export",
        help="samples and predictions for other programs",
        description="Samples as CSV or EDF+, predictions as JSON lines. An EDF file has no gaps: each stretch of "
        "samples without one becomes a file of its own, with predictions and marks as annotations.",
    )
    export.add_argument("path", metavar="PATH", type=Path, help="a recording, or a folder of them")
    export.add_argument("--csv", metavar="FILE", type=Path, help="segment, index, time in s and uS of every sample")
    export.add_argument("--edf", metavar="FILE", type=Path, help="EDF+; further stretches go to FILE-2.edf, ...")
    export.add_argument("--predictions", metavar="FILE", type=Path, help="one JSON object a line")
    export.set_defaults(run=_export)
    return parser


def _items(path: Path) -> tuple[Reader, Iterator[SampleBlock | Mark | PredictionLine]]:
    if not path.exists():
        raise PortError(f"{path} does not exist: name a recording, or a folder of them")
    found = find_recordings(path)
    if found is None:
        raise FormatError(f"{path} is no recording: name one that ekd-edge --record made")
    reader = Reader()
    return reader, read_recordings(found, reader)


def _info(options: argparse.Namespace) -> None:
    reader, items = _items(options.path)
    stretches: list[_Stretch] = []
    marks, predictions = [], 0
    for item in items:
        if isinstance(item, SampleBlock):
            _extend(stretches, item, keep=False)
        elif isinstance(item, Mark):
            marks.append({"time": item.time_s, "text": item.text})
        else:
            predictions += 1
    told = {
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
        print(json.dumps(told))
        return
    print(f"from {told['started']} at {told['port']}, model {told['model']}")
    print(f"{told['samples']} samples, {predictions} predictions, {reader.damaged} damaged frames")
    for stretch in stretches:
        seconds, rate_hz = float(stretch.length / stretch.rate_hz), float(stretch.rate_hz)
        print(f"  segment {stretch.segment} from sample {stretch.first_index}: {seconds:.1f} s at {rate_hz:g} Hz")
    for mark in marks:
        print(f"  {mark['text']}")


def _export(options: argparse.Namespace) -> None:
    if not (options.csv or options.edf or options.predictions):
        raise ConfigError("say what to write: --csv FILE, --edf FILE or --predictions FILE")
    _, items = _items(options.path)
    stretches: list[_Stretch] = []
    lines: list[str] = []
    for item in items:
        if isinstance(item, SampleBlock):
            _extend(stretches, item)
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
            _write_csv(options.csv, stretches)
            print(options.csv)
        if options.edf:
            for number, stretch in enumerate(stretches, start=1):
                path = options.edf if number == 1 else options.edf.with_stem(f"{options.edf.stem}-{number}")
                _write_edf(path, stretch)
                print(path)
    except OSError as error:
        raise PortError(f"cannot write {error.filename}: {error.strerror}") from error


def _extend(stretches: list[_Stretch], block: SampleBlock, keep: bool = True) -> None:
    last = stretches[-1] if stretches else None
    if (
        last is None
        or (last.segment, last.rate_hz) != (block.segment, block.rate_hz)
        or last.first_index + last.length != block.first_index
    ):
        last = _Stretch(block.segment, block.rate_hz, block.first_index)
        stretches.append(last)
    last.parts.append(block.values if keep else np.broadcast_to(0.0, block.values.shape))


def _label(line: str) -> str:
    """A prediction in a word or two, for an annotation."""
    told = json.loads(line)
    return ", ".join(f"{name} {target['label'] or 'withheld'}" for name, target in told["targets"].items())


def _write_csv(path: Path, stretches: list[_Stretch]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("segment,index,time_s,gsr_us\n")
        for stretch in stretches:
            for i, value in enumerate(stretch.values.tolist(), start=stretch.first_index):
                file.write(f"{stretch.segment},{i},{float(i / stretch.rate_hz):.6f},{value!r}\n")


def _write_edf(path: Path, stretch: _Stretch) -> None:
    try:
        from edfio import Edf, EdfAnnotation, EdfSignal
    except ImportError as error:
        raise ConfigError('edfio is missing: pip install "ekd[edf]"') from error
    values = stretch.values
    low, high = float(values.min()), float(values.max())
    bounds = (float(np.floor(low * 1000) / 1000), float(np.ceil(high * 1000 + 1) / 1000))
    signal = EdfSignal(values, float(stretch.rate_hz), label="EDA", physical_dimension="uS", physical_range=bounds)
    annotations = [EdfAnnotation(onset, None, text[:80]) for onset, text in stretch.texts]
    Edf([signal], annotations=annotations).write(path)


if __name__ == "__main__":
    sys.exit(main())
