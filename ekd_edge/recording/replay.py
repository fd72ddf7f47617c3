"""Replay of recordings: their blocks, marks and predictions, read like the sensor itself."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ekd_edge.errors import FormatError, PortError
from ekd_edge.pipeline.smoothing import Smoothing
from ekd_edge.recording.files import SUFFIX, in_order
from ekd_edge.recording.format import Mark, PredictionLine, Reader, is_recording
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sources.closable import Closable
from ekd_edge.sources.sensor import SensorFileReplay, SensorOptions, open_replay
from firmware_bridge.devices.stream import StreamCounts
from firmware_bridge.serial_port.device import Stop, as_function

__all__ = ["RecordingReplay", "choose_smoothing", "find_recordings", "open_recording", "read_recordings"]

_CHUNK_BYTES = 1 << 18
_BEGINNING_BYTES = 4096


def find_recordings(path: Path) -> list[Path] | None:
    """The recordings at a path: the file, or those in a folder in the order of recording; None for any other file.

    Raises PortError where the path cannot be read, FormatError for a folder without recordings.
    """
    if path.is_dir():
        found = in_order(path)
        if not found:
            raise FormatError(f"{path} holds no recordings (*{SUFFIX}): name another folder")
        return found
    try:
        with path.open("rb") as file:
            return [path] if is_recording(file.read(_BEGINNING_BYTES)) else None
    except OSError as error:
        raise PortError(f"cannot read {path}: {error.strerror}; check its name and permissions") from error


def read_recordings(paths: list[Path], reader: Reader) -> Iterator[SampleBlock | Mark | PredictionLine]:
    """All items of these files, in order. Segment numbers of a later run continue those of the run before."""
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
            # A torn frame at the end must not continue into the next file.
            yield from reader.feed(b"\0")
    except OSError as error:
        raise PortError(f"cannot read {path}: {error.strerror}; check its name and permissions") from error


class RecordingReplay(Closable):
    """The blocks of one or several recordings, as `ekd_edge.sources.sensor.SensorFileReplay` reads a sensor's bytes."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._reader = Reader()
        self._samples = self._dropped = 0

    def __iter__(self) -> Iterator[SampleBlock]:
        return self.blocks()

    @property
    def smoothing(self) -> Smoothing:
        """The smoothing during the recording of the first run. Raises as `blocks` does."""
        reader = Reader()
        for _ in _of_file(self._paths[0], reader):
            break
        try:
            return Smoothing(float(reader.head.get("smooth_s", 0.0)), float(reader.head.get("margin", 0.0)))
        except (TypeError, ValueError) as error:
            raise FormatError(
                f"the smoothing in {self._paths[0]} is invalid ({reader.head}): name another recording"
            ) from error

    @property
    def counts(self) -> StreamCounts:
        """dropped: gaps between the samples; rejected: frames of the files that were damaged."""
        return StreamCounts(self._samples, self._dropped, self._reader.damaged)

    def blocks(self, stop: Stop | None = None) -> Iterator[SampleBlock]:
        """The blocks as received, as fast as they can be read. Raises FormatError where there are no samples."""
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


def open_recording(path: Path, options: SensorOptions | None = None) -> RecordingReplay | SensorFileReplay:
    """Open recordings of `ekd-edge --record`, or a file of a sensor's bytes such as CSV.

    Args:
        path: a recording, a folder of recordings, or any file in a device format.
        options: properties of the sensor, for a file in a device format.

    Raises:
        PortError: there is no such file, or it cannot be read.
        FormatError: the folder has no recordings in it.
        ConfigError: the format is unknown.
    """
    if path.exists() and (recordings := find_recordings(path)) is not None:
        return RecordingReplay(recordings)
    return open_replay(path, options)


def choose_smoothing(source: object, smooth_s: float | None, hysteresis: float | None) -> Smoothing:
    """The smoothing for a source; None takes the value that a recording was made with, else 0."""
    recorded = source.smoothing if isinstance(source, RecordingReplay) else Smoothing()
    return Smoothing(
        recorded.smooth_s if smooth_s is None else smooth_s,
        recorded.hysteresis if hysteresis is None else hysteresis,
    )
