"""Recordings of a run, read like the sensor itself."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from ekd_edge.errors import FormatError, PortError
from ekd_edge.pipeline.smoothing import Smoothing
from ekd_edge.recording.format import SUFFIX, Mark, PredictionLine, Reader, is_recording
from ekd_edge.signal.blocks import SampleBlock
from firmware_bridge.devices.stream import StreamCounts
from firmware_bridge.serial_port.device import Stop, as_function

__all__ = ["RecordingReplay", "find_recordings", "read_recordings"]

_CHUNK_BYTES = 1 << 18
_BEGINNING_BYTES = 4096


def find_recordings(path: Path) -> list[Path] | None:
    """The recordings that a path stands for: itself, or those in a folder, oldest first; None where it is none.

    Raises PortError where it cannot be read, FormatError for a folder without any.
    """
    if path.is_dir():
        found = sorted(path.glob(f"*{SUFFIX}"))
        if not found:
            raise FormatError(f"{path} holds no recording (*{SUFFIX}): name another folder")
        return found
    try:
        with path.open("rb") as file:
            return [path] if is_recording(file.read(_BEGINNING_BYTES)) else None
    except OSError as error:
        raise PortError(f"cannot read {path}: {error.strerror}; check the name") from error


def read_recordings(paths: list[Path], reader: Reader) -> Iterator[SampleBlock | Mark | PredictionLine]:
    """Everything in these files, in order. The segments of a later run follow those of the earlier one."""
    run, base, highest = None, 0, -1
    for path in paths:
        for item in _of_file(path, reader):
            if not isinstance(item, SampleBlock):
                yield item
                continue
            if reader.head.get("run") != run:
                run, base = reader.head.get("run"), highest + 1
            highest = max(highest, base + item.segment)
            yield replace(item, segment=base + item.segment) if base else item


def _of_file(path: Path, reader: Reader) -> Iterator[SampleBlock | Mark | PredictionLine]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield from reader.feed(chunk)
            # A torn end must not run into the next file.
            yield from reader.feed(b"\0")
    except OSError as error:
        raise PortError(f"cannot read {path}: {error.strerror}; check the name") from error


class RecordingReplay:
    """The blocks of one or several recordings: see `ekd_edge.sources.sensor.SensorFileReplay`."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._reader = Reader()
        self._samples = self._dropped = 0

    def __enter__(self) -> "RecordingReplay":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close: a file is open only while it is read."""

    @property
    def smoothing(self) -> Smoothing:
        """How predictions were smoothed while the first of the runs was recorded. Raises as `blocks` does."""
        reader = Reader()
        for _ in _of_file(self._paths[0], reader):
            break
        try:
            return Smoothing(float(reader.head.get("smooth_s", 0.0)), float(reader.head.get("margin", 0.0)))
        except (TypeError, ValueError) as error:
            raise FormatError(f"{self._paths[0]} says what makes no sense of smoothing: {reader.head}") from error

    @property
    def counts(self) -> StreamCounts:
        """dropped: gaps between the samples; rejected: frames of the files that were damaged."""
        return StreamCounts(self._samples, self._dropped, self._reader.damaged)

    def blocks(self, stop: Stop | None = None) -> Iterator[SampleBlock]:
        """The blocks as they were received, as fast as they can be read."""
        stopped = as_function(stop)
        last: Any = None
        for item in read_recordings(self._paths, self._reader):
            if stopped():
                return
            if isinstance(item, SampleBlock):
                if last is not None and last[0] == item.segment:
                    self._dropped += max(0, item.first_index - last[1])
                last = item.segment, item.first_index + item.values.shape[-1]
                self._samples += item.values.shape[-1]
                yield item
        if not self._samples and not stopped():
            raise FormatError(f"{self._paths[0]} holds no samples: name another recording")
