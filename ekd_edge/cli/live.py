"""`ekd-edge --port`: connects sensors, recorders, sinks and the status file, and runs them."""

import argparse
import math
import os
import secrets
import sys
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

from ekd_edge.cli.messages import banner, clipped_input, closing_line, notify
from ekd_edge.cli.port_options import PortOptions, sensor_options
from ekd_edge.cli.shutdown import Stopping
from ekd_edge.errors import EkdError
from ekd_edge.model.file import ModelFile
from ekd_edge.model.interpreter import Classifier
from ekd_edge.model.manifest import Manifest
from ekd_edge.pipeline.baseline import baseline_lookup
from ekd_edge.pipeline.smoothing import Smoothing
from ekd_edge.pipeline.stream import SensorPipeline
from ekd_edge.recording.files import recording_folder
from ekd_edge.recording.recorder import Recorder
from ekd_edge.recording.retention import Retention
from ekd_edge.service.loop import SensorLoop, Timer
from ekd_edge.service.model_watcher import ModelWatcher
from ekd_edge.service.session import SensorSession
from ekd_edge.service.status_file import STATUS_EVERY_S, StatusFile, status_folder
from ekd_edge.service.worker import Worker
from ekd_edge.sinks.jsonl import JsonLinesSink
from ekd_edge.sinks.plain_text import TextSink
from ekd_edge.sinks.queued import QueuedSink
from ekd_edge.sinks.sink import Sink
from ekd_edge.sinks.sink_group import ReaderGoneError, SinkGroup
from ekd_edge.sinks.terminal import LiveView, WaitingLine
from ekd_edge.sources.reconnect import Connection, ReconnectPolicy

__all__ = ["run_ports"]

_RECORD_EVERY_S, _TIMER_MARGIN_S = 1.0, 0.1


def run_ports(
    options: argparse.Namespace,
    model_file: ModelFile,
    classifier: Classifier,
    smoothing: Smoothing,
    stop: Stopping,
    model_watcher: ModelWatcher,
) -> None:
    """Predict from sensors until the process is stopped or the last sensor ends.

    Args:
        options: of `ekd-edge predict`.
        model_file: the model that is run.
        classifier: the same, opened.
        smoothing: of the predictions of each sensor.
        stop: set by signals; its deadline is set here, from --seconds.
        model_watcher: reports in the status file whether the model file was replaced.

    Raises:
        EkdError: no sensor is left that can be read, or predictions cannot be written.
    """
    manifest = model_file.manifest
    with ExitStack() as stack:
        sinks = [QueuedSink(sink, notify) for sink in _sinks(options, manifest)]
        output = SinkGroup(sinks, sys.stdout)
        sessions: list[SensorSession] = []
        try:
            for port in options.port:
                sessions.append(_session(options, port, model_file, smoothing, output))
                stack.callback(sessions[-1].connection.close)
        except EkdError:
            for session in sessions:
                if session.recorder is not None:
                    session.recorder.finish()
            raise
        recorders = [session.recorder for session in sessions if session.recorder is not None]
        recording = stack.enter_context(Worker("recorder", recorders, notify))
        timers = [Timer(_RECORD_EVERY_S, recording.wake)] if recorders else []

        def describe() -> dict[str, object]:
            model_watcher.look()
            model = {"file": str(model_file.path), "sha256": manifest.sha256, "replaced": model_watcher.replaced}
            dropped = sum(sink.dropped for sink in sinks)
            faults = {name: fault for worker in (recording, reporting) for name, fault in worker.faults.items()}
            return {
                "model": model,
                "dropped_predictions": dropped,
                "ports": [session.describe() for session in sessions],
                "workers": {name: {"faults": each.count, "message": each.message} for name, each in faults.items()},
            }

        status_file = StatusFile(status_folder(), describe, notify)
        reporting = stack.enter_context(Worker("status", [status_file], notify))
        timers.append(Timer(STATUS_EVERY_S + _TIMER_MARGIN_S, reporting.wake))

        print(banner(model_file, ", ".join(port.label for port in options.port)), file=sys.stderr)
        stop.deadline = monotonic() + (options.seconds or math.inf)
        try:
            with output, SensorLoop(sessions, classifier, output, notify, timers) as loop:
                stop.on_change = loop.wake
                loop.run(stop.check, stop.deadline)
        except ReaderGoneError:
            pass
        finally:
            stop.on_change = None
            recording.close()
            output.samples = sum(session.samples for session in sessions)
            counts = [session.connection.counts for session in sessions]
            dropped, rejected = sum(count.dropped for count in counts), sum(count.rejected for count in counts)
            line = closing_line(dropped, rejected, output, manifest)
            if recorders:
                recorded, lost = sum(r.recorded_samples for r in recorders), sum(r.lost_samples for r in recorders)
                line += f"; {recorded} samples recorded, {lost} not"
            if unprinted := sum(sink.dropped for sink in sinks):
                line += f"; {unprinted} predictions dropped, as the reader of stdout is too slow"
            line += clipped_input(session.pipeline for session in sessions)
            print(line, file=sys.stderr)


def _session(
    options: argparse.Namespace,
    port: PortOptions,
    model_file: ModelFile,
    smoothing: Smoothing,
    output: SinkGroup,
) -> SensorSession:
    several = len(options.port) > 1
    recorder: Recorder | None = None

    def notify_and_mark(message: str) -> None:
        notify(message)
        if recorder is not None:
            recorder.mark(message)

    wearer = port.wearer
    if options.record is not None:
        folder = recording_folder(options.record, port.label) if several else options.record
        recorder = _recorder(options, folder, port.url, wearer, model_file)
    name = port.label if several else None
    pipeline = SensorPipeline(
        model_file.manifest, smoothing, name, lambda problem: notify_and_mark(f"{port.label}: {problem}")
    )
    baseline = None if wearer is None else baseline_lookup(wearer, model_file.manifest.signal, notify_and_mark)
    policy = ReconnectPolicy(reconnect=not options.once, wait=options.wait)
    try:
        connection = Connection(port.url, sensor_options(options, port), notify_and_mark, policy, baseline)
    except EkdError:
        if recorder is not None:
            recorder.finish()
        raise
    return SensorSession(name, connection, pipeline, output, recorder)


def _recorder(
    options: argparse.Namespace, folder: Path, port: str, wearer: str | None, model_file: ModelFile
) -> Recorder:
    about = {
        "run": secrets.token_hex(8),
        "port": port,
        "wearer": wearer,
        "model": model_file.path.name,
        "model_sha256": model_file.manifest.sha256,
        "smooth_s": options.smooth or 0.0,
        "margin": options.hysteresis or 0.0,
    }
    return Recorder(folder, about, notify, Retention(free_bytes=options.record_free))


def _sinks(options: argparse.Namespace, manifest: Manifest) -> list[Sink]:
    needed_s, synthetic = manifest.signal.settle_s + manifest.signal.window_s, manifest.training.synthetic
    labels = {target.name: target.labels for target in manifest.targets}
    redrawable = os.environ.get("TERM", "dumb") != "dumb"
    if not options.json and redrawable and sys.stdout.isatty():
        sources = [port.label for port in options.port] if len(options.port) > 1 else [None]
        return [LiveView(sys.stdout, needed_s, labels, sources, synthetic)]
    sinks: list[Sink] = [JsonLinesSink(sys.stdout) if options.json else TextSink(sys.stdout, labels, synthetic)]
    if redrawable and len(options.port) == 1 and sys.stderr.isatty():
        sinks.append(WaitingLine(sys.stderr, needed_s))
    return sinks
