"""`ekd-edge`: predictions from skin-conductance sensors, or from a recording of one.

Exit status: 0 at the end of a recording, after --seconds, on SIGTERM and when the reader of stdout goes away;
130 on Ctrl-C; 2 for a fault, which is told in one sentence on stderr.
"""

import argparse
import math
import os
import re
import resource
import secrets
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from time import monotonic
from types import FrameType

from ekd_edge.artefact import Artefact, load_artefact
from ekd_edge.baseline import baseline_of
from ekd_edge.classify import Classifier, open_classifier
from ekd_edge.connection import Connection, Persistence
from ekd_edge.errors import EkdError, SignalError
from ekd_edge.live import Stream, check_sensor_signal, run
from ekd_edge.manifest import Manifest
from ekd_edge.models import default_model, describe_signoff
from ekd_edge.options import edge_parser, sensor_options
from ekd_edge.replay import RunReplay, recordings_of
from ekd_edge.sensor import Replay, open_replay
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.preprocessor import Preprocessor
from ekd_edge.sinks.jsonl import JsonLines
from ekd_edge.sinks.output import Output, ReaderGoneError
from ekd_edge.sinks.queued import Queued
from ekd_edge.sinks.recorder import Recorder, Retention
from ekd_edge.sinks.sink import Sink
from ekd_edge.sinks.terminal import LiveLine, TextLines, Waiting
from ekd_edge.station import ModelFile, Place, attend
from ekd_edge.status import StatusFile, status_folder
from ekd_edge.steady import Steadiness
from ekd_edge.trust import read_trust, trust_from_environment
from firmware_bridge.ports import check_port, find_port, port_names

__all__ = ["main"]

_FILES_A_PORT = 5  # pyserial's, with its pipes


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring for the status returned."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["status"]:
        from ekd_edge.status_cli import main as status

        return status(arguments[1:])
    if arguments[:1] == ["calibrate"]:
        from ekd_edge.calibrate_cli import main as calibrate

        return calibrate(arguments[1:])
    options = _options(arguments)
    with _stop_on_signals() as stop:
        try:
            _predict(options, stop)
        except EkdError as error:
            print(f"ekd-edge: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            stop.interrupted = True
    return 130 if stop.interrupted else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = edge_parser()
    options = parser.parse_args(arguments)
    if options.port is None and options.replay is None:
        parser.error(f"name a sensor with --port or a recording with --replay; {_ports_here()}")
    for what, given in (("--record", options.record), ("--wearer", options.wearer)):
        if given is not None and options.port is None:
            parser.error(f"{what} is about what a sensor sends: it goes with --port")
    if len(set(options.port or ())) < len(options.port or ()):
        parser.error("the same --port is named twice")
    if options.wearer is not None and len(options.wearer) != len(options.port):
        parser.error("name one --wearer for each --port, in the same order")
    if options.unit in ("adc", "divider") and options.adc_bits is None:
        parser.error(f"--unit {options.unit} needs the converter's resolution, such as --adc-bits 10")
    return options


def _ports_here() -> str:
    names = port_names()
    return f"ports here: {', '.join(names)}" if names else "no serial port is here, but sim:// simulates one"


class _Stop:
    """Whether and why to stop; `check` is asked by whoever waits for bytes."""

    def __init__(self) -> None:
        self.interrupted = False
        self.event = threading.Event()
        self.deadline = math.inf

    def check(self) -> bool:
        return self.event.is_set() or monotonic() >= self.deadline


@contextmanager
def _stop_on_signals() -> Iterator[_Stop]:
    """The first SIGINT or SIGTERM asks for a clean stop, a further one raises KeyboardInterrupt."""
    stop = _Stop()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if stop.event.is_set():
            raise KeyboardInterrupt
        stop.interrupted = number == signal.SIGINT
        stop.event.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _predict(options: argparse.Namespace, stop: _Stop) -> None:
    if options.port is not None:
        _allow_files(_FILES_A_PORT * len(options.port))
    if options.port is not None and not options.wait:
        for port in options.port:
            check_port(find_port(port))
    trust = read_trust(options.trust) if options.trust else trust_from_environment()
    path = options.model or default_model(trust=trust)
    model_file = ModelFile(path, _notify)
    artefact = load_artefact(path, trust)
    check_sensor_signal(artefact.manifest, path.name)
    classifier = open_classifier(artefact, options.threads)
    import scipy.signal  # noqa: F401  (a second of import, while no sensor waits to be read)

    steadiness = Steadiness(options.smooth, options.margin)
    if options.port is None:
        _replay(options, artefact, classifier, steadiness, stop)
    else:
        _attend(options, artefact, classifier, steadiness, stop, model_file)


def _allow_files(more: int) -> None:
    """Raise the limit of open files as far as it may be raised, where many ports need it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = more + 100
    if soft not in (resource.RLIM_INFINITY,) and soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


def _replay(
    options: argparse.Namespace, artefact: Artefact, classifier: Classifier, steadiness: Steadiness, stop: _Stop
) -> None:
    manifest = artefact.manifest
    sink = (JsonLines if options.json else TextLines)(sys.stdout, flush_each=False)
    with _recorded(options) as source:
        print(_banner(artefact, options, str(options.replay)), file=sys.stderr)
        output = Output([sink], sys.stdout)
        blocks = output.following(_first_seconds(source.blocks(stop.check), options.seconds or math.inf))
        reason = None
        try:
            with output:
                for prediction in run(blocks, Preprocessor(manifest.signal), classifier, manifest, steadiness):
                    output.write(prediction)
                    reason = prediction.quality.reason
                    if stop.event.is_set():
                        break
        except ReaderGoneError:
            pass
        finally:
            counts = source.counts
            print(_closing_line(counts.dropped, counts.rejected, output, manifest), file=sys.stderr)
        if 0 < output.predicted == output.withheld:
            raise SignalError(
                f"no window of {options.replay} could be believed (the last: {reason}): check --unit, --adc-bits and "
                "how the electrodes sat"
            )


def _recorded(options: argparse.Namespace) -> Replay | RunReplay:
    if options.replay.exists() and (recordings := recordings_of(options.replay)) is not None:
        return RunReplay(recordings)
    return open_replay(options.replay, sensor_options(options))


def _first_seconds(blocks: Iterable[SampleBlock], seconds: float) -> Iterator[SampleBlock]:
    """The blocks up to so many seconds of samples."""
    if math.isinf(seconds):
        yield from blocks
        return
    left_s = Fraction(seconds)
    for block in blocks:
        samples = math.ceil(left_s * block.rate_hz)
        readings = None if block.readings is None else block.readings[:samples]
        yield replace(block, values=block.values[:samples], readings=readings)
        left_s -= len(block.values) / block.rate_hz
        if left_s <= 0:
            return


def _attend(
    options: argparse.Namespace,
    artefact: Artefact,
    classifier: Classifier,
    steadiness: Steadiness,
    stop: _Stop,
    model_file: ModelFile,
) -> None:
    manifest = artefact.manifest
    with ExitStack() as open_things:
        sinks = [Queued(sink, _notify) for sink in _sinks(options, manifest)]
        output = Output(sinks, sys.stdout)
        places: list[Place] = []
        for number, port in enumerate(options.port):
            places.append(_place(options, number, port, artefact, steadiness, output))
            if (recorder := places[-1].recorder) is not None:
                open_things.callback(recorder.close)
            open_things.callback(places[-1].connection.close)

        def describe() -> dict[str, object]:
            model_file.look()
            model = {"file": str(artefact.path), "sha256": manifest.sha256, "replaced": model_file.replaced}
            unwritten = sum(sink.dropped for sink in sinks)
            return {"model": model, "unwritten": unwritten, "ports": [place.describe() for place in places]}

        print(_banner(artefact, options, ", ".join(options.port)), file=sys.stderr)
        open_things.enter_context(StatusFile(status_folder(), describe, _notify))
        stop.deadline = monotonic() + (options.seconds or math.inf)
        try:
            attend(places, classifier, output, _notify, stop.check)
        except ReaderGoneError:
            pass
        finally:
            for place in places:
                if place.recorder is not None:
                    place.recorder.close()
            output.samples = sum(place.samples for place in places)
            counts = [place.connection.counts for place in places]
            dropped, rejected = sum(count.dropped for count in counts), sum(count.rejected for count in counts)
            line = _closing_line(dropped, rejected, output, manifest)
            recorders = [place.recorder for place in places if place.recorder is not None]
            if recorders:
                recorded, lost = sum(r.recorded_samples for r in recorders), sum(r.lost_samples for r in recorders)
                line += f"; {recorded} samples recorded, {lost} not"
            if unwritten := sum(sink.dropped for sink in sinks):
                line += f"; {unwritten} predictions were not printed, for nobody took them"
            print(line, file=sys.stderr)


def _place(
    options: argparse.Namespace, number: int, port: str, artefact: Artefact, steadiness: Steadiness, output: Output
) -> Place:
    several = len(options.port) > 1
    recorder: Recorder | None = None

    def notify(told: str) -> None:
        _notify(told)
        if recorder is not None:
            recorder.mark(told)

    wearer = options.wearer[number] if options.wearer else None
    if options.record is not None:
        folder = options.record / re.sub(r"[^\w.-]+", "-", port).strip("-") if several else options.record
        recorder = _recorder(options, folder, port, wearer, artefact)
    name = port if several else None
    stream = Stream(artefact.manifest, steadiness, name)
    baseline = None if wearer is None else baseline_of(wearer, artefact.manifest.signal, notify)
    persistence = Persistence(reconnect=not options.once, wait=options.wait)
    try:
        connection = Connection(port, sensor_options(options), notify, persistence, baseline)
    except EkdError:
        if recorder is not None:
            recorder.close()
        raise
    return Place(name, connection, stream, output, recorder)


def _recorder(options: argparse.Namespace, folder: Path, port: str, wearer: str | None, artefact: Artefact) -> Recorder:
    about = {
        "run": secrets.token_hex(8),
        "port": port,
        "wearer": wearer,
        "model": artefact.path.name,
        "model_sha256": artefact.manifest.sha256,
        "smooth_s": options.smooth,
        "margin": options.margin,
    }
    return Recorder(folder, about, _notify, Retention(free_bytes=options.record_free))


def _sinks(options: argparse.Namespace, manifest: Manifest) -> list[Sink]:
    needed_s = manifest.signal.settle_s + manifest.signal.window_s
    able = os.environ.get("TERM", "dumb") != "dumb" and len(options.port) == 1
    if not options.json and able and sys.stdout.isatty():
        return [LiveLine(sys.stdout, needed_s)]
    sinks: list[Sink] = [(JsonLines if options.json else TextLines)(sys.stdout, flush_each=True)]
    if able and sys.stderr.isatty():
        sinks.append(Waiting(sys.stderr, needed_s))
    return sinks


def _notify(told: str) -> None:
    wipe = "\r\x1b[K" if sys.stderr.isatty() else ""
    print(f"{wipe}ekd-edge: {told}", file=sys.stderr, flush=True)


def _banner(artefact: Artefact, options: argparse.Namespace, source: str) -> str:
    manifest = artefact.manifest
    spec = manifest.signal
    data = f"{manifest.training.dataset} (synthetic: no person was recorded)"
    about = ", ".join(filter(None, (manifest.kind, describe_signoff(manifest))))
    return (
        f"ekd-edge: {artefact.path} ({about}) predicts {', '.join(t.name for t in manifest.targets)} "
        f"every {spec.hop_s:g} s from {spec.window_s:g} s at {float(spec.rate_hz):g} Hz; "
        f"trained on {data if manifest.training.synthetic else manifest.training.dataset}; "
        f"reading {source}"
    )


def _closing_line(dropped: int, rejected: int, output: Output, manifest: Manifest) -> str:
    line = (
        f"ekd-edge: {output.samples} samples received, {dropped} dropped, {rejected} rejected; "
        f"{output.predicted} windows predicted, {output.withheld} withheld"
    )
    if output.samples and not output.predicted:
        needed_s = manifest.signal.settle_s + manifest.signal.window_s
        line += f": the first window takes {needed_s:g} s of uninterrupted signal"
    return line


if __name__ == "__main__":
    sys.exit(main())
