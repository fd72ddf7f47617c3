"""The contents of recordings in constant memory: stretches without a gap, marks, counts."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from ekd_edge.errors import FormatError, PortError
from ekd_edge.recording.format import Mark, PredictionLine
from ekd_edge.recording.metadata import LAST_SECOND
from ekd_edge.recording.reader import Reader
from ekd_edge.recording.replay import find_recordings, read_recordings
from ekd_edge.signal.blocks import SampleBlock
from firmware_bridge.printable import printable

__all__ = [
    "Contents",
    "Placed",
    "Stretch",
    "annotation_of",
    "onset_of",
    "placed",
    "read_contents",
    "recordings_at",
]

_MAX_ANNOTATION = 80


@dataclass(slots=True)
class Stretch:
    """Samples without a gap.

    segment, rate_hz, first_index: of its first sample. length: samples. low, high: least and greatest value in
    microsiemens. start_utc_s: wall-clock time of the first sample in seconds since 1970; None where it is unknown.
    """

    segment: int
    rate_hz: Fraction
    first_index: int
    length: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    start_utc_s: float | None = None

    @property
    def seconds(self) -> float:
        """Its duration."""
        return float(self.length / self.rate_hz)


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a recording, or in a folder of them.

    head: of the latest file. damaged: frames that could not be read. predictions: their number.
    models: name and SHA-256 of each model that ran, by the heads, in order; a model that ran again is there again.
    """

    head: Mapping[str, Any]
    damaged: int
    stretches: Sequence[Stretch]
    marks: Sequence[Mark]
    predictions: int
    models: Sequence[tuple[str, str]]


class Placed(NamedTuple):
    """An item with its place.

    stretch: from 0, or -1 before the first. onset_s: since the start of the stretch, by the samples before the item.
    item: the item. segment, start_s: of the stretch's first sample, on the sensor's own clock.
    """

    stretch: int
    onset_s: float
    item: SampleBlock | Mark | PredictionLine
    segment: int
    start_s: float


def recordings_at(path: Path) -> list[Path]:
    """The recordings at a path. Raises PortError where it cannot be read, FormatError where there are none."""
    try:
        exists = path.exists()
    except OSError as error:
        raise PortError(f"cannot read {path}: {error.strerror}; check its name and permissions") from error
    if not exists:
        raise PortError(f"{path} does not exist: name a recording, or a folder of them")
    files = find_recordings(path)
    if files is None:
        raise FormatError(f"{path} is not a recording: name one that ekd-edge --record made")
    return files


def placed(items: Iterable[SampleBlock | Mark | PredictionLine]) -> Iterator[Placed]:
    """The items of `read_recordings` with the stretch that each is in; a gap, a segment or a rate begins another."""
    stretch, following, elapsed = -1, None, Fraction(0)
    segment, start_s = 0, 0.0
    for item in items:
        if isinstance(item, SampleBlock):
            if following != (item.segment, item.rate_hz, item.first_index):
                stretch, elapsed = stretch + 1, Fraction(0)
                segment, start_s = item.segment, float(item.first_index / item.rate_hz)
            yield Placed(stretch, float(elapsed), item, segment, start_s)
            length = item.values.shape[-1]
            following = (item.segment, item.rate_hz, item.first_index + length)
            elapsed += length / item.rate_hz
        else:
            yield Placed(stretch, float(elapsed), item, segment, start_s)


def onset_of(each: Placed) -> float:
    """When an item happened, in seconds since the start of its stretch.

    A prediction is written up to a second after the end of its window, and states that end. A mark states the wall
    clock, which may jump, and is where it was written.
    """
    if not isinstance(each.item, PredictionLine):
        return each.onset_s
    try:
        line = json.loads(each.item.text)
        segment, time_s = line["segment"], float(line["time"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return each.onset_s
    if segment != each.segment or not isfinite(time_s):
        return each.onset_s
    return min(max(time_s - each.start_s, 0.0), each.onset_s)


def read_contents(files: Sequence[Path]) -> Contents:
    """Read recordings. Raises PortError where one cannot be read, FormatError for a later version of the format."""
    reader = Reader()
    stretches: list[Stretch] = []
    marks: list[Mark] = []
    predictions = 0
    models: list[tuple[str, str]] = []
    for number, _, item, *_ in placed(read_recordings(list(files), reader)):
        named = reader.head.get("model"), reader.head.get("model_sha256")
        model = str(named[0]), str(named[1])
        if named != (None, None) and model not in models[-1:]:
            models.append(model)
        if isinstance(item, SampleBlock):
            if number == len(stretches):
                stretches.append(Stretch(item.segment, item.rate_hz, item.first_index))
            _extend(stretches[-1], item)
        elif isinstance(item, Mark):
            marks.append(item)
        else:
            predictions += 1
    return Contents(reader.head, reader.damaged, stretches, marks, predictions, models)


def annotation_of(item: Mark | PredictionLine) -> str | None:
    """A printable text of at most 80 characters: the mark, or the labels of the prediction; None if it has none."""
    if isinstance(item, Mark):
        return printable(item.text)[:_MAX_ANNOTATION] or None
    try:
        targets = json.loads(item.text)["targets"]
        labels = ", ".join(f"{name} {target['label'] or 'withheld'}" for name, target in targets.items())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return printable(labels)[:_MAX_ANNOTATION] or None


def _extend(stretch: Stretch, block: SampleBlock) -> None:
    stretch.length += block.values.shape[-1]
    stretch.low = min(stretch.low, float(block.values.min()))
    stretch.high = max(stretch.high, float(block.values.max()))
    if stretch.start_utc_s is None and (anchor := block.anchor) is not None:
        start_utc_s = anchor.utc_s + float((stretch.first_index - anchor.index) / block.rate_hz)
        stretch.start_utc_s = start_utc_s if 0 <= start_utc_s <= LAST_SECOND else None
