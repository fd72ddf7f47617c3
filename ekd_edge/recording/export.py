"""The contents of recordings as CSV, EDF+ and JSON lines."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import FormatError, PortError
from ekd_edge.recording.format import Mark, PredictionLine
from ekd_edge.recording.reader import Reader
from ekd_edge.recording.replay import find_recordings, read_recordings
from ekd_edge.signal.blocks import SampleBlock

__all__ = ["Contents", "Stretch", "read_contents", "write_csv", "write_edf", "write_predictions"]

_MAX_ANNOTATION = 80


@dataclass
class Stretch:
    """Samples without a gap, in microsiemens, from first_index on.

    annotations: (seconds since the start of the stretch, text).
    """

    segment: int
    rate_hz: Fraction
    first_index: int
    parts: list[NDArray[np.float64]] = field(default_factory=list)
    annotations: list[tuple[float, str]] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Samples."""
        return sum(map(len, self.parts))

    @property
    def values(self) -> NDArray[np.float64]:
        """All samples, shape (length,)."""
        return np.concatenate(self.parts)


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything in a recording, or in a folder of them.

    head: of the latest recording. damaged: frames that could not be read. predictions: JSON lines, in order.
    """

    head: Mapping[str, Any]
    damaged: int
    stretches: Sequence[Stretch]
    marks: Sequence[Mark]
    predictions: Sequence[str]


def read_contents(path: Path, *, keep_samples: bool = True) -> Contents:
    """Read a recording, or a folder of them.

    Args:
        path: the recording or the folder.
        keep_samples: False keeps only the number of samples in memory; their values are zero.

    Returns:
        The contents.

    Raises:
        PortError: nothing is at `path`, or it cannot be read.
        FormatError: `path` is not a recording, or the folder has none.
    """
    if not path.exists():
        raise PortError(f"{path} does not exist: name a recording, or a folder of them")
    files = find_recordings(path)
    if files is None:
        raise FormatError(f"{path} is not a recording: name one that ekd-edge --record made")
    reader = Reader()
    stretches: list[Stretch] = []
    marks: list[Mark] = []
    predictions: list[str] = []
    for item in read_recordings(files, reader):
        if isinstance(item, SampleBlock):
            _extend(stretches, item, keep_samples)
            continue
        if isinstance(item, PredictionLine):
            predictions.append(item.text)
            text = _annotation(item.text)
        else:
            marks.append(item)
            text = item.text
        if stretches:
            last = stretches[-1]
            last.annotations.append((float(last.length / last.rate_hz), text))
    return Contents(reader.head, reader.damaged, stretches, marks, predictions)


def write_predictions(path: Path, contents: Contents) -> None:
    """Write one JSON object a line. Raises PortError where the file cannot be written."""
    with _named_faults():
        path.write_text("".join(f"{line}\n" for line in contents.predictions))


def write_csv(path: Path, stretches: Sequence[Stretch]) -> None:
    """Write segment, index, time in s and uS of every sample. Raises PortError where the file cannot be written."""
    with _named_faults(), path.open("w", encoding="utf-8") as file:
        file.write("segment,index,time_s,gsr_us\n")
        for stretch in stretches:
            for i, value in enumerate(stretch.values.tolist(), start=stretch.first_index):
                file.write(f"{stretch.segment},{i},{float(i / stretch.rate_hz):.6f},{value!r}\n")


def write_edf(path: Path, stretches: Sequence[Stretch]) -> Iterator[Path]:
    """Write one EDF+ file for each stretch: `path`, then `path` with -2, -3, ... after its stem.

    Yields the path of each file when it is written. Needs edfio. Raises PortError where a file cannot be written.
    """
    from edfio import Edf, EdfAnnotation, EdfSignal

    for number, stretch in enumerate(stretches, start=1):
        file = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        values = stretch.values
        low, high = float(values.min()), float(values.max())
        bounds = (float(np.floor(low * 1000) / 1000), float(np.ceil(high * 1000 + 1) / 1000))
        signal = EdfSignal(values, float(stretch.rate_hz), label="EDA", physical_dimension="uS", physical_range=bounds)
        annotations = [EdfAnnotation(onset, None, text[:_MAX_ANNOTATION]) for onset, text in stretch.annotations]
        with _named_faults():
            Edf([signal], annotations=annotations).write(file)
        yield file


def _extend(stretches: list[Stretch], block: SampleBlock, keep_samples: bool) -> None:
    last = stretches[-1] if stretches else None
    if (
        last is None
        or (last.segment, last.rate_hz) != (block.segment, block.rate_hz)
        or last.first_index + last.length != block.first_index
    ):
        last = Stretch(block.segment, block.rate_hz, block.first_index)
        stretches.append(last)
    last.parts.append(block.values if keep_samples else np.broadcast_to(0.0, block.values.shape))


def _annotation(line: str) -> str:
    """The labels of a prediction, in short."""
    prediction = json.loads(line)
    return ", ".join(f"{name} {target['label'] or 'withheld'}" for name, target in prediction["targets"].items())


@contextmanager
def _named_faults() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PortError(f"cannot write {error.filename}: {error.strerror}") from error
