"""Sensor sessions: each sensor of a running process with its connection, pipeline, recorder and counts."""

from dataclasses import asdict, dataclass, field, replace
from time import perf_counter
from typing import Any

from ekd_edge.pipeline.stream import HeldSamples, PendingWindows, SensorPipeline
from ekd_edge.prediction import Prediction
from ekd_edge.recording.recorder import Recorder
from ekd_edge.service.schedule import ReadSchedule
from ekd_edge.sinks.sink_group import SinkGroup
from ekd_edge.sources.reconnect import Connection

__all__ = ["SensorSession"]


@dataclass(slots=True, eq=False)
class SensorSession:
    """One sensor of a running process, with its counts.

    name: of the sensor, as its predictions state it: the name of its --port, else the port where the process reads
    several sensors, else None.
    failure: why the port has ended; None while it is read.
    wake_s: when the port must be read next, on the clock of `monotonic`.
    armed: whether arriving bytes should start a read before that time.
    """

    name: str | None
    connection: Connection
    pipeline: SensorPipeline
    output: SinkGroup
    recorder: Recorder | None = None
    samples: int = 0
    last: Prediction | None = None
    predicted: int = 0
    withheld: int = 0
    failure: str | None = None
    wake_s: float = 0.0
    armed: bool = False
    _received: int = field(default=0, init=False)
    _samples_read: int = field(default=0, init=False)
    _openings: int = field(default=0, init=False)
    _schedule: ReadSchedule | None = field(default=None, init=False)

    def read(self) -> tuple[list[PendingWindows], HeldSamples | None]:
        """Read the port without waiting; record, show and preprocess the samples that have arrived.

        Returns the windows that are complete, and the samples that may complete further ones by `windows_of`. Raises
        as `Connection.step` and `SensorPipeline.push`.
        """
        arrived_s = perf_counter()
        blocks = self.connection.step()
        for block in blocks:
            self.samples += block.values.shape[-1]
            if self.recorder is not None:
                self.recorder.observe(block)
            self.output.observe(block, self.name)
        windows: list[PendingWindows] = []
        for block in blocks[:-1]:
            windows += self.pipeline.push(block, arrived_s)
        held = self.pipeline.hold(blocks[-1], arrived_s) if blocks else None
        self._samples_read = sum(block.values.shape[-1] for block in blocks)
        return windows, held

    def plan(self, now_s: float, complete: bool) -> None:
        """Set `wake_s` and `armed` after a read.

        now_s: when the port was read, on the clock of `monotonic`. complete: whether it completed a window.
        """
        connection, pipeline = self.connection, self.pipeline
        if self._schedule is None or connection.openings != self._openings:
            self._openings, self._received = connection.openings, 0
            self._schedule = ReadSchedule(now_s, connection.descriptor is not None, pipeline.hop_s)
        if not connection.connected:
            self.wake_s, self.armed = connection.next_s, False
            return
        before, self._received = self._received, connection.received_bytes
        received_s = self._samples_read / pipeline.rate_hz
        self._schedule.after_read(now_s, self._received - before, received_s, pipeline.next_window_s, complete)
        self.wake_s, self.armed = self._schedule.wake_s, self._schedule.armed

    def on_prediction(self, prediction: Prediction) -> None:
        """Count and record a prediction of this session's sensor."""
        self.last = prediction
        self.predicted += 1
        self.withheld += prediction.withheld
        if self.recorder is not None:
            self.recorder.write(prediction if self.name is None else replace(prediction, source=None))

    def describe(self) -> dict[str, Any]:
        """State and counts for the status file, JSON-ready."""
        counts = self.connection.counts
        about: dict[str, Any] = {
            "port": self.connection.port,
            "name": self.name,
            **asdict(self.connection.state),
            "samples": counts.samples,
            "dropped": counts.dropped,
            "rejected": counts.rejected,
            "predicted": self.predicted,
            "withheld": self.withheld,
            "input": None if (counter := self.pipeline.input_range) is None else counter.statistics().to_json(),
            "last": None,
            "recording": None if self.recorder is None else self.recorder.describe(),
        }
        if self.failure is not None:
            about["message"] = self.failure
        if (last := self.last) is not None:
            about["last"] = {
                "labels": dict(last.labels),
                "quality": round(last.quality.score, 3),
                "reason": last.quality.reason,
                "latency_ms": round(last.latency_ms, 3),
            }
        return about
