"""Sensor sessions: each sensor with its connection, pipeline and recorder; and the loop that runs them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ekd_edge.model.interpreter import Classifier
from ekd_edge.pipeline.stream import PendingWindows, SensorPipeline, predict
from ekd_edge.prediction import Prediction
from ekd_edge.recording.recorder import Recorder
from ekd_edge.service.reader_threads import ReaderThreads
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sinks.sink_group import SinkGroup
from ekd_edge.sources.reconnect import Connection
from firmware_bridge.serial_port.device import Stop

__all__ = ["SensorSession", "run_sessions"]


_MAX_IDLE_S, _IDLE_SHARE, _NEXT_WINDOW_S = 0.15, 0.7, 0.02
"""Samples are read at least every 0.15 s, and without a pause when a window is nearly complete. Reading each sample as
it arrives costs up to three times as much CPU."""


@dataclass(slots=True)
class SensorSession:
    """One sensor of a running process, with its counts.

    name: the port, where the process reads several sensors; else None.
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

    def on_block(self, block: SampleBlock, arrived_s: float) -> list[PendingWindows]:
        """Record a block, show it to the sinks and preprocess it.

        Args:
            block: of this session's sensor.
            arrived_s: when it arrived, on the clock of `perf_counter`.

        Returns:
            The windows that are complete.
        """
        self.samples += block.values.shape[-1]
        if self.recorder is not None:
            self.recorder.observe(block)
        self.output.observe(block, self.name)
        return list(self.pipeline.push(block, arrived_s))

    def idle_s(self) -> float:
        """Seconds for which the reader may pause: no window can be complete before."""
        left_s = self.pipeline.next_window_s
        return 0.0 if left_s < _NEXT_WINDOW_S else min(_MAX_IDLE_S, _IDLE_SHARE * left_s)

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
    """Read all sensors, classify complete windows and write predictions, until stopped or until all sensors ended.

    Windows that are complete at the same time are classified together. A sensor that fails does not end the others.

    Args:
        sessions: with unique names.
        classifier: of the model.
        output: where predictions are written.
        notify: called with one sentence for each sensor that fails while others are left.
        stop: ends the loop.

    Raises:
        EkdError: of the last sensor that failed, and of `output`.
        ReaderGoneError: of `output`.
    """
    by_name = {session.name: session for session in sessions}
    with ReaderThreads([(session.connection, session) for session in sessions], notify) as readers, output:
        for pending in readers.pending(stop):
            for prediction in predict(pending, classifier):
                by_name[prediction.source].on_prediction(prediction)
                output.write(prediction)
