"""Sensor sessions: per port the connection, pipeline, recorder and counters; one classifier for all of them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ekd_edge.model.interpreter import Classifier
from ekd_edge.pipeline.stream import PendingWindows, SensorPipeline, predict
from ekd_edge.prediction import Prediction
from ekd_edge.recording.recorder import Recorder
from ekd_edge.service.reader_threads import Sensors
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sinks.sink_group import SinkGroup
from ekd_edge.sources.reconnect import Connection
from firmware_bridge.serial_port.device import Stop

__all__ = ["ModelWatcher", "SensorSession", "run_sessions"]


_PAUSE_S, _SHARE, _SOON_S = 0.15, 0.7, 0.02
"""Samples are read every 0.15 s at least, and as they come once a window is about to be complete: reading each as it
comes costs up to three times as much."""


@dataclass(slots=True)
class SensorSession:
    """One sensor of a station, and how it fares. name: the port, where there are several; else None."""

    name: str | None
    connection: Connection
    pipeline: SensorPipeline
    output: SinkGroup
    recorder: Recorder | None = None
    samples: int = 0
    last: Prediction | None = None
    predicted: int = 0
    withheld: int = 0

    def on_block(self, block: SampleBlock, arrived_s: float) -> list[PendingWindows]:
        """A block of this session's sensor: it is recorded, shown, and put through the chain."""
        self.samples += block.values.shape[-1]
        if self.recorder is not None:
            self.recorder.observe(block)
        self.output.observe(block)
        return list(self.pipeline.push(block, arrived_s))

    def idle_s(self) -> float:
        """For how long no window can be due."""
        left_s = self.pipeline.next_window_s
        return 0.0 if left_s < _SOON_S else min(_PAUSE_S, _SHARE * left_s)

    def on_prediction(self, prediction: Prediction) -> None:
        """A prediction of this session's sensor was made."""
        self.last = prediction
        self.predicted += 1
        self.withheld += prediction.withheld
        if self.recorder is not None:
            self.recorder.write(prediction if self.name is None else replace(prediction, source=None))

    def describe(self) -> dict[str, Any]:
        """How it fares, for a status file."""
        counts = self.connection.counts
        about: dict[str, Any] = {
            "port": self.connection.port,
            **asdict(self.connection.state),
            "samples": counts.samples,
            "dropped": counts.dropped,
            "rejected": counts.rejected,
            "predicted": self.predicted,
            "withheld": self.withheld,
            "last": None,
            "recording": None if self.recorder is None else self.recorder.describe(),
        }
        if (last := self.last) is not None:
            about["last"] = {
                "labels": dict(last.labels),
                "quality": round(last.quality.score, 3),
                "reason": last.quality.reason,
                "latency_ms": round(last.latency_ms, 3),
            }
        return about


def run_sessions(
    sessions: Sequence[SensorSession],
    classifier: Classifier,
    output: SinkGroup,
    notify: Callable[[str], None],
    stop: Stop | None = None,
) -> None:
    """Read all sensors until told to stop or until they have ended; what they send is predicted and put out.

    Windows of sensors that are due together are classified together. A sensor that fails leaves the others alone.
    Raises the EkdError of the last one that fails, and what `SinkGroup` raises.
    """
    by_name = {session.name: session for session in sessions}
    with Sensors([(session.connection, session) for session in sessions], notify) as sensors, output:
        for due in sensors.due(stop):
            for prediction in predict(due, classifier):
                by_name[prediction.source].on_prediction(prediction)
                output.write(prediction)


class ModelWatcher:
    """The file that a running model was read from; it is in memory as a whole, whatever becomes of the file."""

    def __init__(self, path: Path, notify: Callable[[str], None]) -> None:
        self._path, self._notify = path, notify
        self._known = self._identity()
        self.replaced = False

    def look(self) -> None:
        """Tell once that another file has taken its place."""
        if not self.replaced and self._identity() != self._known:
            self.replaced = True
            self._notify(f"{self._path} is not the file that runs any more: restart ekd-edge to run the new one")

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns
