"""`ekd-edge calibrate`: record a wearer's baseline at rest."""

import argparse
import json
import sys
from dataclasses import asdict
from time import monotonic

from ekd_edge.cli.arguments import add_model_arguments, add_signal_arguments, sensor_options
from ekd_edge.model.file import load_model_file
from ekd_edge.model.find import default_model
from ekd_edge.model.signature import read_trust, trust_from_environment
from ekd_edge.pipeline.baseline import baseline_file, save_baseline, take_baseline
from ekd_edge.pipeline.stream import check_sensor_signal
from ekd_edge.sinks.terminal import bar
from ekd_edge.sources.sensor import open_sensor
from firmware_bridge.cli.arguments import positive
from firmware_bridge.serial_port.ports import find_port

__all__ = ["add_arguments", "run"]

_RESTLESS = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `calibrate`."""
    parser.description = "Record the baseline of a wearer at rest; `ekd-edge --wearer NAME` starts from it."
    parser.add_argument("--port", metavar="PORT", required=True, help="the sensor, as for ekd-edge")
    parser.add_argument("--wearer", metavar="NAME", required=True, help="letters, digits, . _ - (64 at most)")
    parser.add_argument("--seconds", metavar="N", type=positive, default=60.0, help="of rest (default: 60)")
    parser.add_argument("--json", action="store_true", help="the baseline as one JSON object")
    add_model_arguments(parser)
    add_signal_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command: 0 once the baseline is saved, 130 on Ctrl-C, 2 for a fault."""
    baseline_file(options.wearer)
    trust = read_trust(options.trust) if options.trust else trust_from_environment()
    path = options.model or default_model(trust=trust)
    manifest = load_model_file(path, trust).manifest
    check_sensor_signal(manifest, path.name)
    line = _ProgressLine(options.seconds)
    try:
        with open_sensor(find_port(options.port), sensor_options(options)) as sensor:
            print(
                f"Sit comfortably, hands still, and breathe calmly for {options.seconds:g} s. "
                "The baseline is taken from the moments in which the signal is good.",
                file=sys.stderr,
            )
            blocks = sensor.blocks(notify=line.notify, silent_s=10)
            resting = take_baseline(blocks, manifest.signal, options.seconds, line.show)
            identity = sensor.identity
    finally:
        line.end()
    saved = save_baseline(options.wearer, identity, manifest.signal, resting)
    if abs(resting.drift) > _RESTLESS:
        print(
            f"ekd-edge calibrate: the level {'rose' if resting.drift > 0 else 'fell'} by {abs(resting.drift):.0%} "
            "during the recording: rest a few minutes longer for a better baseline",
            file=sys.stderr,
        )
    if options.json:
        print(json.dumps({"wearer": options.wearer, "sensor": identity, **asdict(resting), "file": str(saved)}))
    else:
        print(f"{options.wearer} at rest: {resting.level_us:.2f} uS with {identity}; saved in {saved}")
    return 0


class _ProgressLine:
    """Progress, redrawn in place on a terminal, with the reason where the signal is rejected."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._able = sys.stderr.isatty()
        self._drawn = 0.0

    def show(self, have_s: float, reason: str | None) -> None:
        if not self._able or monotonic() - self._drawn < 0.2:
            return
        self._drawn = monotonic()
        done = min(1.0, have_s / self._seconds)
        text = f"{bar(done, 30, unicode=False)} {min(have_s, self._seconds):3.0f} of {self._seconds:g} s"
        print(f"\r{text}{f'  {reason}' if reason else ''}\x1b[K", end="", file=sys.stderr, flush=True)

    def notify(self, message: str) -> None:
        self.end()
        print(f"ekd-edge calibrate: {message}", file=sys.stderr)

    def end(self) -> None:
        if self._able:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
