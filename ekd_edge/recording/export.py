"""The contents of recordings as CSV, EDF+ and JSON lines, in constant memory."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ekd_edge.atomic_files import pending_file
from ekd_edge.errors import ConfigError, PortError
from ekd_edge.recording.contents import Contents, placed
from ekd_edge.recording.edf import EdfFile, annotations
from ekd_edge.recording.files import SUFFIX
from ekd_edge.recording.format import PredictionLine
from ekd_edge.recording.metadata import LAST_SECOND
from ekd_edge.recording.reader import Reader
from ekd_edge.recording.replay import read_recordings
from ekd_edge.signal.blocks import SampleBlock, TimeAnchor
from firmware_bridge.errors import cannot_write

__all__ = ["check_outputs", "edf_names", "write_csv", "write_edf", "write_file", "write_predictions"]

_ROWS = 1 << 14


def check_outputs(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Raise ConfigError where a file that is to be written is an input, another output, or has the name of one."""
    for number, path in enumerate(outputs):
        if os.path.isdir(path):  # noqa: PTH112  Path.is_dir raises for names that are too long
            raise ConfigError(f"{path} is a folder: name a file in it")
        if not os.path.isdir(path.parent):  # noqa: PTH112
            raise ConfigError(f"cannot write {path}: the folder does not exist: make it, or choose another one")
        if path.suffix == SUFFIX or any(_same(path, file) for file in inputs):
            raise ConfigError(f"{path} is a recording, which is never overwritten: choose another file")
        if any(path.name == other.name and _same(path.parent, other.parent) for other in outputs[:number]):
            raise ConfigError(f"{path} is named twice: choose another file")


def write_predictions(path: Path, files: Sequence[Path]) -> None:
    """Write the predictions, one JSON object a line. Raises PortError where a file cannot be read or written."""

    def write(out: BinaryIO) -> None:
        for item in read_recordings(list(files), Reader()):
            if isinstance(item, PredictionLine):
                out.write(f"{item.text}\n".encode("utf-8", "replace"))

    write_file(path, write)


def write_csv(path: Path, files: Sequence[Path], *, utc: bool) -> None:
    """Write segment, index, time in s and uS of every sample.

    Args:
        path: the file.
        files: recordings.
        utc: a fifth column has the wall-clock time in ISO 8601, empty where it is unknown.

    Raises:
        PortError: a file cannot be read or written.
    """

    def write(out: BinaryIO) -> None:
        out.write(b"segment,index,time_s,gsr_us,utc\n" if utc else b"segment,index,time_s,gsr_us\n")
        for item in read_recordings(list(files), Reader(texts=False)):
            if isinstance(item, SampleBlock):
                for start in range(0, len(item.values), _ROWS):
                    out.write(_rows(item, start, utc).encode())

    write_file(path, write)


def edf_names(path: Path, count: int) -> list[Path]:
    """The files of so many stretches: `path`, then `path` with -2, -3, ... after its stem."""
    return [path if number == 1 else path.with_stem(f"{path.stem}-{number}") for number in range(1, count + 1)]


def write_edf(path: Path, files: Sequence[Path], contents: Contents) -> Iterator[tuple[Path, EdfFile]]:
    """Write one EDF+ file for each stretch, with predictions and marks as annotations.

    Args:
        path: of the first file, see `edf_names`.
        files: recordings.
        contents: of these recordings.

    Yields:
        The path of each file when it is written, and its properties.

    Raises:
        PortError: a file cannot be read or written.
        FormatError: samples were removed after `contents` was read.
    """
    sizes = annotations(files, len(contents.stretches))
    blocks = groupby(placed(read_recordings(list(files), Reader(texts=False))), lambda each: each.stretch)
    texts = (each for each in placed(read_recordings(list(files), Reader())) if each.stretch >= 0)
    notes = groupby(texts, lambda each: each.stretch)
    for target, stretch, size in zip(edf_names(path, len(contents.stretches)), contents.stretches, sizes, strict=True):
        edf = EdfFile(stretch, size)
        values = (each.item.values for each in next(blocks, (0, ()))[1] if isinstance(each.item, SampleBlock))
        write_file(target, partial(edf.write, values=values, notes=next(notes, (0, ()))[1]))
        yield target, edf


def _rows(block: SampleBlock, start: int, utc: bool) -> str:
    """The rows of up to 16384 samples of a block."""
    values = block.values[start : start + _ROWS]
    first = block.first_index + start
    indices = np.arange(first, first + len(values))
    unique, place = np.unique(values, return_inverse=True)
    texts = list(map(repr, unique.tolist()))
    numerator, denominator = block.rate_hz.as_integer_ratio()
    columns: list[Iterable[object]] = [
        indices.tolist(),
        (indices * float(denominator) / numerator).tolist(),
        map(texts.__getitem__, place.tolist()),
    ]
    row = f"{block.segment},%d,%.6f,%s"
    if utc and block.anchor is not None:
        columns.append(_times(block.anchor, block.rate_hz, indices))
        row += ",%sZ"
    elif utc:
        row += ","
    return "".join(map(f"{row}\n".__mod__, zip(*columns, strict=True)))


def _times(anchor: TimeAnchor, rate_hz: Fraction, indices: NDArray[np.int64]) -> list[str]:
    """Wall-clock times of samples in ISO 8601 without zone, to the microsecond."""
    numerator, denominator = rate_hz.as_integer_ratio()
    seconds = anchor.utc_s + (indices - anchor.index) * float(denominator) / numerator
    stamps = np.rint(np.clip(seconds, 0.0, LAST_SECOND) * 1e6).astype(np.int64).astype("datetime64[us]")
    texts: list[str] = np.datetime_as_string(stamps, unit="us").tolist()
    return texts


def write_file(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a file of the user only, as a whole or not at all; a pipe or a device is written directly."""

    def private(out: BinaryIO) -> None:
        os.fchmod(out.fileno(), 0o600)
        write(out)

    with _named_faults(path):
        if path.exists() and not path.is_file():
            with path.open("wb") as out:
                write(out)
            return
        with pending_file(path.resolve(), private) as commit:
            commit()


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


@contextmanager
def _named_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PortError(cannot_write(str(path), error)) from error
