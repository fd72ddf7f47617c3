"""Replay of recordings: their blocks, marks and predictions, read like the sensor itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ekd_edge.errors import FormatError, PortError
from ekd_edge.pipeline.smoothing import Smoothing
from ekd_edge.recording.files import SUFFIX, in_order
from ekd_edge.recording.format import Mark, PredictionLine
from ekd_edge.recording.frames import is_recording
from ekd_edge.recording.reader import Reader
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sources.closable import Closable
from ekd_edge.sources.sensor import SensorFileReplay, SensorOptions, open_replay
from firmware_bridge.devices.ekd.frame import DELIMITER
from firmware_bridge.devices.stream import StreamCounts
from firmware_bridge.serial_port.device import Stop, as_function

__all__ = ["RecordingReplay", "choose_smoothing", "find_recordings", "open_recording", "read_recordings"]

_CHUNK_BYTES = 1 << 18
_BEGINNING_BYTES = 1 << 16


def find_recordings(path: Path) -> list[Path] | None:
    """The recordings at a path: the file, or those in a folder in the order of recording; None for any other file.

    Raises PortError where the path cannot be read, FormatError for a folder without recordings.
    """
    try:
        if path.is_dir():
            found = [each for each in in_order(path) if each.is_file()]
            if not found:
                raise FormatError(f"{path} holds no recordings (*{SUFFIX}): name another folder")
            return found
        with path.open("rb") as file:
            return [path] if is_recording(file.read(_BEGINNING_BYTES)) else None
    except OSError as error:
        raise _unreadable(path, error) from error


def read_recordings(paths: list[Path], reader: Reader) -> Iterator[SampleBlock | Mark | PredictionLine]:
    """All items of these files, in order. Segment numbers of a later run continue those of the run before."""
    for path in paths:
        yield from _of_file(path, reader)


def _of_file(path: Path, reader: Reader) -> Iterator[SampleBlock | Mark | PredictionLine]:
    reader.begin_file()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield from reader.feed(chunk)
    except OSError as error:
        raise _unreadable(path, error) from error
    yield from reader.feed(DELIMITER)


def _unreadable(path: Path, error: OSError) -> PortError:
    return PortError(f"cannot read {path}: {error.strerror}; check its name and permissions")


class RecordingReplay(Closable):
    """The blocks of one or several recordings, as `ekd_edge.sources.sensor.SensorFileReplay` reads a sensor's bytes."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._reader = Reader(texts=False)
        self._samples = self._dropped = 0

    def __iter__(self) -> Iterator[SampleBlock]:
        return self.blocks()

    @property
    def smoothing(self) -> Smoothing:
        """The smoothing during the recording of the first run, by the first of its files that has a head."""
        reader = Reader(texts=False)
        run: str | None = None
        for path in self._paths:
            for _ in _of_file(path, reader):
                run = run or reader.run
                if reader.head:
                    break
            if reader.head and (run is None or reader.head.get("run") == run):
                return Smoothing(float(reader.head.get("smooth_s", 0.0)), float(reader.head.get("margin", 0.0)))
        return Smoothing()

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
    try:
        exists = path.exists()
    except OSError as error:
        raise _unreadable(path, error) from error
    if exists and (recordings := find_recordings(path)) is not None:
        return RecordingReplay(recordings)
    return open_replay(path, options)


def choose_smoothing(source: object, smooth_s: float | None, hysteresis: float | None) -> Smoothing:
    """The smoothing for a source; None takes the value that a recording was made with, else 0."""
    recorded = source.smoothing if isinstance(source, RecordingReplay) else Smoothing()
    return Smoothing(
        recorded.smooth_s if smooth_s is None else smooth_s,
        recorded.hysteresis if hysteresis is None else hysteresis,
    )
