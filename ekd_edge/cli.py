"""`ekd-edge`: predictions from a skin-conductance sensor, or from a recording of one.

Exit status: 0 at the end of a recording, after --seconds, on SIGTERM and when the reader of stdout goes away;
130 on Ctrl-C; 2 for a fault, which is told in one sentence on stderr.
"""

import argparse
import math
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import get_args

from ekd_edge.artefact import Artefact, load_artefact
from ekd_edge.classify import open_classifier
from ekd_edge.connection import Connection, Persistence
from ekd_edge.errors import EkdError, SignalError
from ekd_edge.live import check_sensor_signal, run
from ekd_edge.models import default_model, describe_signoff
from ekd_edge.replay import RunReplay, recordings_of
from ekd_edge.sensor import Replay, SensorOptions, open_replay
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.preprocessor import Preprocessor
from ekd_edge.signal.spec import SignalSpec
from ekd_edge.sinks.jsonl import JsonLines
from ekd_edge.sinks.output import Output, ReaderGoneError
from ekd_edge.sinks.recorder import Recorder, Retention
from ekd_edge.sinks.sink import Sink
from ekd_edge.sinks.terminal import LiveLine, TextLines, Waiting
from ekd_edge.trust import read_trust, trust_from_environment
from firmware_bridge.arguments import rate_argument
from firmware_bridge.formats.device_format import BUILT_IN
from firmware_bridge.formats.stream import StreamCounts
from firmware_bridge.ports import check_port, find_port, port_names
from firmware_bridge.units import BITALINO_FULL_SCALE_US, UnitKind, parse_unit

__all__ = ["main"]

EXAMPLES = """\
examples:
  ekd-edge --port sim://                                   a simulated sensor, to look around
  ekd-edge --port /dev/ttyUSB0                             a sensor; which one, it finds out by itself
  ekd-edge --port /dev/rfcomm0 --format bitalino --rate 1000
  ekd-edge --port /dev/ttyACM0 --format csv --rate 19.5 --unit adc --adc-bits 10 --baud 9600
  ekd-edge --port /dev/ttyUSB0 --json >> predictions.jsonl
  ekd-edge --replay recording.csv --rate 128 --unit uS --json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring for the status returned."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.port is None and options.replay is None:
        parser.error(f"name a sensor with --port or a recording with --replay; {_ports_here()}")
    if options.record is not None and options.port is None:
        parser.error("--record keeps what a sensor sends: it goes with --port")
    if options.unit in ("adc", "divider") and options.adc_bits is None:
        parser.error(f"--unit {options.unit} needs the converter's resolution, such as --adc-bits 10")
    with _stop_on_signals() as stop:
        try:
            _predict(options, stop)
        except EkdError as error:
            print(f"ekd-edge: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            stop.interrupted = True
    return 130 if stop.interrupted else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ekd-edge",
        description="Predict emotion from a skin-conductance sensor, live, or from a recording of one.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--port", metavar="PORT", help="/dev/ttyUSB0, auto, usb:VID:PID[:SERIAL], sim://, socket://HOST:PORT"
    )
    source.add_argument(
        "--replay", metavar="FILE", type=Path, help="a recording, a folder of them, or a file of a sensor's bytes"
    )
    parser.add_argument("--model", metavar="FILE", type=Path, help="default: $EKD_MODEL, else the newest export here")
    parser.add_argument(
        "--trust",
        metavar="PUBKEY",
        type=Path,
        action="append",
        help="run only models signed by this key, or by one of several (default: $EKD_TRUST, else unsigned ones too)",
    )
    staying = parser.add_mutually_exclusive_group()
    staying.add_argument("--wait", action="store_true", help="begin even where the sensor is not there yet")
    staying.add_argument("--once", action="store_true", help="end when the sensor goes away (default: wait for it)")
    parser.add_argument(
        "--record", metavar="DIR", type=Path, help="keep every sample, prediction and event in this folder"
    )
    parser.add_argument(
        "--record-free",
        metavar="SIZE",
        type=_size,
        default=500 << 20,
        help="remove the oldest recordings there while less is free on the disk, such as 2G (500M)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a prediction on stdout")
    parser.add_argument("--seconds", metavar="N", type=_positive, help="stop after N s (of the recording)")
    parser.add_argument("--threads", metavar="N", type=_count, default=1, help="for inference (default: 1)")
    signal_of = parser.add_argument_group("what the sensor sends (frame v1 says it by itself)")
    signal_of.add_argument(
        "--format",
        metavar="NAME",
        default="auto",
        help=f"auto, {', '.join(BUILT_IN)}, or another installed one; NAME:key=value sets what is special to it (auto)",
    )
    signal_of.add_argument(
        "--rate",
        metavar="HZ",
        type=rate_argument,
        help="sampling rate: 128, 19.5 or 1000/3; some devices are set to it",
    )
    signal_of.add_argument("--unit", choices=get_args(UnitKind), help="unit of CSV values")
    signal_of.add_argument("--adc-bits", metavar="N", type=_count, help="resolution, for adc and divider")
    signal_of.add_argument(
        "--full-scale-us", metavar="X", type=_positive, help="uS at full scale, for adc (default: 25)"
    )
    signal_of.add_argument("--baud", metavar="N", type=_count, help="default: the format's; auto tries 115200, 9600")
    return parser


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above zero")
    return number


def _size(text: str) -> int:
    number, unit = text[:-1], text[-1:].upper()
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(unit)
    if factor is None or not (number.isascii() and number.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} must be a size such as 500M or 2G")
    return int(number) * factor


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number above zero")
    return int(text)


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
    sensor_options = _sensor_options(options)
    if options.port is not None and not options.wait:
        check_port(find_port(options.port))
    trust = read_trust(options.trust) if options.trust else trust_from_environment()
    path = options.model or default_model(trust=trust)
    artefact = load_artefact(path, trust)
    check_sensor_signal(artefact.manifest, path.name)
    classifier = open_classifier(artefact, options.threads)
    preprocessor = Preprocessor(artefact.manifest.signal)
    import scipy.signal  # noqa: F401  (a second of import, while no sensor waits to be read)

    sinks = _sinks(options, artefact.manifest.signal)
    recorder = _recorder(options, artefact)
    if recorder is not None:
        sinks.append(recorder)

    def notify(told: str) -> None:
        _notify(told)
        if recorder is not None:
            recorder.mark(told)

    with _source(options, sensor_options, notify) as source:
        print(_banner(artefact, options), file=sys.stderr)
        output = Output(sinks, sys.stdout)
        if isinstance(source, Connection):
            stop.deadline = monotonic() + (options.seconds or math.inf)
            blocks = source.blocks(stop.check)
        else:
            blocks = _first_seconds(source.blocks(stop.check), options.seconds or math.inf)
        reason = None
        try:
            with output:
                for prediction in run(output.following(blocks), preprocessor, classifier, artefact.manifest):
                    output.write(prediction)
                    reason = prediction.quality.reason
                    if stop.event.is_set():
                        break
        except ReaderGoneError:
            pass
        finally:
            print(_closing_line(source.counts, output, artefact.manifest.signal, recorder), file=sys.stderr)
        if options.replay is not None and 0 < output.predicted == output.withheld:
            raise SignalError(
                f"no window of {options.replay} could be believed (the last: {reason}): check --unit, --adc-bits and "
                "how the electrodes sat"
            )


def _sensor_options(options: argparse.Namespace) -> SensorOptions:
    unit = None
    if options.unit is not None:
        full_scale_us = options.full_scale_us or BITALINO_FULL_SCALE_US
        unit = parse_unit(options.unit, options.adc_bits or 10, full_scale_us)
    return SensorOptions(format=options.format, rate_hz=options.rate, unit=unit, baud=options.baud)


def _source(
    options: argparse.Namespace, sensor_options: SensorOptions, notify: Callable[[str], None]
) -> Connection | Replay | RunReplay:
    if options.port is not None:
        persistence = Persistence(reconnect=not options.once, wait=options.wait)
        return Connection(options.port, sensor_options, notify, persistence)
    if options.replay.exists() and (recordings := recordings_of(options.replay)) is not None:
        return RunReplay(recordings)
    return open_replay(options.replay, sensor_options)


def _recorder(options: argparse.Namespace, artefact: Artefact) -> Recorder | None:
    if options.record is None:
        return None
    about = {
        "run": secrets.token_hex(8),
        "port": options.port,
        "model": artefact.path.name,
        "model_sha256": artefact.manifest.sha256,
    }
    return Recorder(options.record, about, _notify, Retention(free_bytes=options.record_free))


def _sinks(options: argparse.Namespace, spec: SignalSpec) -> list[Sink]:
    live = options.port is not None
    needed_s = spec.settle_s + spec.window_s
    able = os.environ.get("TERM", "dumb") != "dumb"
    if not options.json and live and able and sys.stdout.isatty():
        return [LiveLine(sys.stdout, needed_s)]
    sinks: list[Sink] = [(JsonLines if options.json else TextLines)(sys.stdout, flush_each=live)]
    if live and able and sys.stderr.isatty():
        sinks.append(Waiting(sys.stderr, needed_s))
    return sinks


def _first_seconds(blocks: Iterable[SampleBlock], seconds: float) -> Iterator[SampleBlock]:
    """The blocks up to so many seconds of samples."""
    if math.isinf(seconds):
        yield from blocks
        return
    left_s = Fraction(seconds)
    for block in blocks:
        samples = math.ceil(left_s * block.rate_hz)
        yield replace(block, values=block.values[:samples], readings=None, unit=None)
        left_s -= len(block.values) / block.rate_hz
        if left_s <= 0:
            return


def _notify(told: str) -> None:
    wipe = "\r\x1b[K" if sys.stderr.isatty() else ""
    print(f"{wipe}ekd-edge: {told}", file=sys.stderr, flush=True)


def _banner(artefact: Artefact, options: argparse.Namespace) -> str:
    manifest = artefact.manifest
    spec = manifest.signal
    data = f"{manifest.training.dataset} (synthetic: no person was recorded)"
    about = ", ".join(filter(None, (manifest.kind, describe_signoff(manifest))))
    return (
        f"ekd-edge: {artefact.path} ({about}) predicts {', '.join(t.name for t in manifest.targets)} "
        f"every {spec.hop_s:g} s from {spec.window_s:g} s at {float(spec.rate_hz):g} Hz; "
        f"trained on {data if manifest.training.synthetic else manifest.training.dataset}; "
        f"reading {options.port or options.replay}"
    )


def _closing_line(counts: StreamCounts, output: Output, spec: SignalSpec, recorder: Recorder | None) -> str:
    line = (
        f"ekd-edge: {output.samples} samples received, {counts.dropped} dropped, {counts.rejected} rejected; "
        f"{output.predicted} windows predicted, {output.withheld} withheld"
    )
    if output.samples and not output.predicted:
        line += f": the first window takes {spec.settle_s + spec.window_s:g} s of uninterrupted signal"
    if recorder is not None:
        line += f"; {recorder.recorded_samples} samples recorded, {recorder.lost_samples} not"
    return line


if __name__ == "__main__":
    sys.exit(main())
