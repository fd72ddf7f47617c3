"""Recordings as CSV and EDF+: their samples as stretches without a gap."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import FormatError, PortError
from ekd_edge.recording.format import Mark, PredictionLine, Reader
from ekd_edge.recording.replay import find_recordings, read_recordings
from ekd_edge.signal.blocks import SampleBlock

__all__ = ["Stretch", "extend", "read_items", "write_csv", "write_edf"]


@dataclass
class Stretch:
    """Samples without a gap, in microsiemens, from first_index on. texts: (seconds since the first sample, text)."""

    segment: int
    rate_hz: Fraction
    first_index: int
    parts: list[NDArray[np.float64]] = field(default_factory=list)
    texts: list[tuple[float, str]] = field(default_factory=list)

    @property
    def length(self) -> int:
        """The number of samples."""
        return sum(map(len, self.parts))

    @property
    def values(self) -> NDArray[np.float64]:
        """The samples, shape (length,)."""
        return np.concatenate(self.parts)


def read_items(path: Path) -> tuple[Reader, Iterator[SampleBlock | Mark | PredictionLine]]:
    """A reader, and the blocks, marks and predictions of a recording or of a folder of them.

    Raises PortError where the path cannot be read, FormatError where it is not a recording.
    """
    if not path.exists():
        raise PortError(f"{path} does not exist: name a recording, or a folder of them")
    found = find_recordings(path)
    if found is None:
        raise FormatError(f"{path} is not a recording: name one that ekd-edge --record made")
    reader = Reader()
    return reader, read_recordings(found, reader)


def extend(stretches: list[Stretch], block: SampleBlock, keep: bool = True) -> None:
    """Append a block to the last stretch, or start a new one after a gap.

    keep: store the values, not only their number.
    """
    last = stretches[-1] if stretches else None
    if (
        last is None
        or (last.segment, last.rate_hz) != (block.segment, block.rate_hz)
        or last.first_index + last.length != block.first_index
    ):
        last = Stretch(block.segment, block.rate_hz, block.first_index)
        stretches.append(last)
    last.parts.append(block.values if keep else np.broadcast_to(0.0, block.values.shape))


def write_csv(path: Path, stretches: list[Stretch]) -> None:
    """Write segment, index, time in seconds and microsiemens of every sample. Raises OSError."""
    with path.open("w", encoding="utf-8") as file:
        file.write("segment,index,time_s,gsr_us\n")
        for stretch in stretches:
            for i, value in enumerate(stretch.values.tolist(), start=stretch.first_index):
                file.write(f"{stretch.segment},{i},{float(i / stretch.rate_hz):.6f},{value!r}\n")


def write_edf(path: Path, stretch: Stretch) -> None:
    """Write one stretch as EDF+ with its texts as annotations. Raises OSError."""
    from edfio import Edf, EdfAnnotation, EdfSignal

    values = stretch.values
    low, high = float(values.min()), float(values.max())
    bounds = (float(np.floor(low * 1000) / 1000), float(np.ceil(high * 1000 + 1) / 1000))
    signal = EdfSignal(values, float(stretch.rate_hz), label="EDA", physical_dimension="uS", physical_range=bounds)
    annotations = [EdfAnnotation(onset, None, text[:80]) for onset, text in stretch.texts]
    Edf([signal], annotations=annotations).write(path)
