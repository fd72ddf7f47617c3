"""`ekd-edge --port`: connects sensors, recorders, sinks and the status file, and runs them."""

import argparse
import math
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

from ekd_edge.cli.messages import banner, clipped_input, closing_line, notify
from ekd_edge.cli.port_options import PortOptions, sensor_options
from ekd_edge.cli.shutdown import Stopping
from ekd_edge.errors import EkdError
from ekd_edge.model.file import ModelFile
from ekd_edge.model.manifest import Manifest
from ekd_edge.pipeline.baseline import baseline_lookup
from ekd_edge.pipeline.model_checks import restart_warning
from ekd_edge.pipeline.smoothing import Smoothing
from ekd_edge.pipeline.stream import SensorPipeline
from ekd_edge.recording.files import recording_folder
from ekd_edge.recording.recorder import SYNC_S, Recorder
from ekd_edge.recording.retention import Retention
from ekd_edge.service.loop import SensorLoop, Timer
from ekd_edge.service.notices import Notices
from ekd_edge.service.running_model import RunningModel, reload_model
from ekd_edge.service.session import SensorSession
from ekd_edge.service.status_file import STATUS_EVERY_S, StatusFile, status_folder
from ekd_edge.service.worker import Worker
from ekd_edge.sinks.jsonl import JsonLinesSink
from ekd_edge.sinks.plain_text import TextSink
from ekd_edge.sinks.queued import QueuedSink
from ekd_edge.sinks.screen import same_terminal
from ekd_edge.sinks.sink import Sink
from ekd_edge.sinks.sink_group import ReaderGoneError, SinkGroup
from ekd_edge.sinks.terminal import LiveView, WaitingLine
from ekd_edge.sources.reconnect import Connection, ReconnectPolicy
from firmware_bridge.cli.streams import abandon

__all__ = ["run_ports"]

_SYNCS_PER_S = 16
"""Of many recordings, so many each second are synchronized with the disk in turn."""

_FIRST_LINE_S, _MESSAGES_CLOSE_S = 1.0, 2.0
"""How long the first and the last messages are awaited where stderr is blocked."""
_RECORD_EVERY_S, _TIMER_MARGIN_S = 0.25, 0.1


def run_ports(options: argparse.Namespace, model: RunningModel, smoothing: Smoothing, stop: Stopping) -> None:
    """Predict from sensors until the process is stopped or the last sensor ends.

    Args:
        options: of `ekd-edge predict`.
        model: the model to run; SIGHUP replaces it by the file that is then at its path.
        smoothing: of the predictions of each sensor.
        stop: set by signals; its deadline is set here, from --seconds.

    Raises:
        EkdError: no sensor is left that can be read, or predictions cannot be written.
    """
    with ExitStack() as stack:
        run = _Run(options, model, smoothing, stop, stack)
        stop.deadline = monotonic() + (options.seconds or math.inf)
        try:
            run.loop()
        except ReaderGoneError:
            pass
        finally:
            run.close()


class _Run:
    """Everything that a process with sensors runs: sessions, sinks, and the workers that write to disks."""

    def __init__(
        self,
        options: argparse.Namespace,
        model: RunningModel,
        smoothing: Smoothing,
        stop: Stopping,
        stack: ExitStack,
    ) -> None:
        self._options, self._model, self._stop = options, model, stop
        sinks = _sinks(options, model.file.manifest)
        self._notify = Notices(notify)
        self._messages = Worker("messages", [self._notify], notify, _MESSAGES_CLOSE_S)
        self._sinks: list[QueuedSink] = []
        stack.callback(self._abandon_blocked)
        stack.enter_context(self._messages)
        self._notify.on_message = self._messages.wake
        model.watcher.notify = self._notify
        self._sinks = [QueuedSink(sink, self._notify) for sink in sinks]
        self._output = SinkGroup(self._sinks, sys.stdout)
        self._sessions: list[SensorSession] = []
        try:
            for port in options.port:
                self._sessions.append(_session(options, port, model.file, smoothing, self._output, self._notify))
                stack.callback(self._sessions[-1].connection.close)
        except EkdError:
            for recorder in self._recorders:
                recorder.finish()
            for sink in self._sinks:
                sink.close()
            raise
        self._recording = stack.enter_context(Worker("recorder", self._recorders, self._notify))
        status_file = StatusFile(status_folder(), self._describe, self._notify)
        self._reporting = stack.enter_context(Worker("status", [status_file], self._notify))
        self._notify(banner(model.file, ", ".join(port.label for port in options.port)))
        if warning := restart_warning(model.file.manifest, model.file.path.name):
            self._notify(warning)
        # The first line is above a view. Where stderr is blocked, the buffers of the ports hold what arrives meanwhile.
        self._notify.wait(_FIRST_LINE_S)
        self._notify.show = _interrupting(sinks)

    def loop(self) -> None:
        """Run the selector loop; raises as `run_ports`."""
        timers = [Timer(STATUS_EVERY_S + _TIMER_MARGIN_S, self._reporting.wake)]
        if self._recorders:
            timers.append(Timer(_RECORD_EVERY_S, self._recording.wake))
        with (
            self._output,
            SensorLoop(self._sessions, self._model.classifier, self._output, self._notify, timers) as loop,
        ):
            self._stop.on_change = loop.wake
            try:
                loop.run(self._stop.check, self._stop.deadline, lambda: self._reload(loop))
            finally:
                self._stop.on_change = None

    def close(self) -> None:
        """Finish the recordings and show the last messages."""
        self._recording.close()
        self._notify(self._closing_line())
        self._messages.close()

    def _abandon_blocked(self) -> None:
        """Let the process end although stderr or stdout is blocked, by Ctrl-S or a pipe that is never read."""
        if self._messages.is_blocked or any(sink.is_blocked for sink in self._sinks[1:]):
            abandon("stderr")
        if any(sink.is_blocked for sink in self._sinks[:1]):
            abandon("stdout")

    def _closing_line(self) -> str:
        """The last message: counts of samples, predictions and losses."""
        self._output.samples = sum(session.samples for session in self._sessions)
        counts = [session.connection.counts for session in self._sessions]
        dropped, rejected = sum(count.dropped for count in counts), sum(count.rejected for count in counts)
        line = closing_line(dropped, rejected, self._output, self._model.file.manifest)
        if recorders := self._recorders:
            recorded, lost = sum(r.recorded_samples for r in recorders), sum(r.lost_samples for r in recorders)
            line += f"; {recorded} samples recorded, {lost} not"
        if unprinted := sum(sink.dropped for sink in self._sinks):
            line += f"; {unprinted} predictions dropped, as the reader of stdout is too slow"
        return line + clipped_input(session.pipeline for session in self._sessions)

    @property
    def _recorders(self) -> list[Recorder]:
        return [session.recorder for session in self._sessions if session.recorder is not None]

    def _describe(self) -> dict[str, object]:
        """The content of the status file."""
        file, watcher = self._model.file, self._model.watcher
        watcher.look()
        faults = {**self._recording.faults, **self._reporting.faults, **self._messages.faults}
        workers = {name: {"faults": fault.count, "message": fault.message} for name, fault in faults.items()}
        for number, sink in enumerate(self._sinks, start=1):
            workers[f"output {number}"] = {"faults": sink.faults, "message": sink.fault}
        return {
            "model": {"file": str(file.path), "sha256": file.manifest.sha256, "replaced": watcher.replaced},
            "dropped_predictions": sum(sink.dropped for sink in self._sinks),
            "ports": [session.describe() for session in self._sessions],
            "workers": workers,
        }

    def _reload(self, loop: SensorLoop) -> None:
        """After a SIGHUP: run the model that is now in the file, and look up the wearers' baselines again."""
        if not self._stop.reload.is_set():
            return
        self._stop.reload.clear()
        before, self._model = self._model, reload_model(self._model, self._sessions, self._notify_and_mark)
        loop.classifier = self._model.classifier
        if self._model is not before:
            for recorder in self._recorders:
                recorder.restate(_model_facts(self._model.file))
        for session, port in zip(self._sessions, self._options.port, strict=True):
            if port.wearer is not None:
                try:
                    lookup = baseline_lookup(port.wearer, self._model.file.manifest.signal, self._notify_and_mark)
                except EkdError as error:
                    self._notify(f"{port.label}: the present baseline of {port.wearer} is kept: {error}")
                else:
                    session.connection.baseline_lookup = lookup

    def _notify_and_mark(self, message: str) -> None:
        self._notify(message)
        for recorder in self._recorders:
            recorder.mark(message)


def _session(
    options: argparse.Namespace,
    port: PortOptions,
    model_file: ModelFile,
    smoothing: Smoothing,
    output: SinkGroup,
    notify: Callable[[str], None],
) -> SensorSession:
    several = len(options.port) > 1
    recorder: Recorder | None = None

    def notify_and_mark(message: str) -> None:
        message = message if port.name is None else f"{port.name}: {message}"
        notify(message)
        if recorder is not None:
            recorder.mark(message)

    wearer = port.wearer
    if options.record is not None:
        folder = recording_folder(options.record, port.label) if several else options.record
        recorder = _recorder(options, folder, port.url, wearer, model_file, notify)
    name = port.label if several or port.name is not None else None
    before = "" if port.name is not None else f"{port.url}: "
    pipeline = SensorPipeline(
        model_file.manifest, smoothing, name, lambda problem: notify_and_mark(f"{before}{problem}")
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
    options: argparse.Namespace,
    folder: Path,
    port: str,
    wearer: str | None,
    model_file: ModelFile,
    notify: Callable[[str], None],
) -> Recorder:
    about = {
        "run": secrets.token_hex(8),
        "port": port,
        "wearer": wearer,
        **_model_facts(model_file),
        "smooth_s": options.smooth or 0.0,
        "margin": options.hysteresis or 0.0,
    }
    sync_s = max(SYNC_S, len(options.port) / _SYNCS_PER_S)
    return Recorder(folder, about, notify, Retention(free_bytes=options.record_free), sync_s)


def _model_facts(model_file: ModelFile) -> dict[str, str]:
    """What the head of a recording states about the model."""
    return {"model": model_file.path.name, "model_sha256": model_file.manifest.sha256}


def _sinks(options: argparse.Namespace, manifest: Manifest) -> list[Sink]:
    signal, synthetic = manifest.signal, manifest.training.synthetic
    needed_s = signal.settle_s + signal.window_s
    labels = {target.name: target.labels for target in manifest.targets}
    redrawable = os.environ.get("TERM", "dumb") != "dumb"
    if not options.json and redrawable and sys.stdout.isatty():
        named = len(options.port) > 1 or options.port[0].name is not None
        sources = [port.label for port in options.port] if named else [None]
        return [LiveView(sys.stdout, needed_s, labels, sources, synthetic, bridge_s=signal.bridge_s)]
    sinks: list[Sink] = [JsonLinesSink(sys.stdout) if options.json else TextSink(sys.stdout, labels, synthetic)]
    if redrawable and len(options.port) == 1 and sys.stderr.isatty():
        sinks.append(WaitingLine(sys.stderr, needed_s, signal.bridge_s))
    return sinks


def _interrupting(sinks: Sequence[Sink]) -> Callable[[str], None]:
    """What shows a message: a view on the terminal of stderr makes room for it."""
    for sink in sinks:
        if isinstance(sink, WaitingLine) or (isinstance(sink, LiveView) and same_terminal(sys.stdout, sys.stderr)):
            interrupt = sink.interrupt
            return lambda message: interrupt(f"ekd-edge: {message}")
    return notify
