"""`ekd-edge calibrate`: takes the baseline of a wearer at rest.

Exit status: 0 when the baseline is saved, 130 on Ctrl-C, 2 for a fault, with one sentence on stderr.
"""

import argparse
import json
import sys
from dataclasses import asdict
from time import monotonic

from ekd_edge.cli.arguments import (
    add_model_arguments,
    add_sensor_arguments,
    check_sensor_arguments,
    trust_of,
)
from ekd_edge.cli.port_options import sensor_argument, sensor_options
from ekd_edge.model.file import load_model_file
from ekd_edge.model.find import default_model, find_model
from ekd_edge.pipeline.baseline import check_baseline_storage, save_baseline, take_baseline
from ekd_edge.pipeline.model_checks import check_sensor_signal
from ekd_edge.sinks.pieces import bar
from ekd_edge.sources.sensor import open_sensor
from firmware_bridge.cli.arguments import positive
from firmware_bridge.printable import printable
from firmware_bridge.serial_port.ports import find_port

__all__ = ["add_arguments", "run"]

_MAX_DRIFT = 0.1
_MAX_SILENCE_S = 10
_REDRAW_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ekd-edge calibrate`."""
    parser.description = "Take the baseline of a wearer at rest; `ekd-edge --wearer NAME` starts from it."
    parser.add_argument(
        "--port",
        metavar="PORT[,KEY=VALUE]",
        required=True,
        type=sensor_argument,
        help="the sensor, as for ekd-edge; it may end in options of a sensor",
    )
    parser.add_argument("--wearer", metavar="NAME", required=True, help="letters, digits, . _ - (at most 64)")
    parser.add_argument("--seconds", metavar="N", type=positive, default=60.0, help="of rest (default: 60)")
    parser.add_argument("--json", action="store_true", help="print the baseline as one JSON object")
    add_model_arguments(parser)
    add_sensor_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Take and save the baseline; see the module's docstring for the exit status."""
    check_sensor_arguments(options)
    check_baseline_storage(options.wearer)
    trust = trust_of(options)
    path = find_model(options.model) if options.model else default_model(trust=trust)
    manifest = load_model_file(path, trust).manifest
    check_sensor_signal(manifest, path.name)
    line = _ProgressLine(options.seconds)
    with open_sensor(find_port(options.port.url), sensor_options(options, options.port)) as sensor:
        print(
            f"Sit comfortably, hands still, and breathe calmly for {options.seconds:g} s. "
            "Only moments with a good signal count.",
            file=sys.stderr,
        )
        try:
            blocks = sensor.blocks(notify=line.notify, silent_s=_MAX_SILENCE_S)
            resting = take_baseline(blocks, manifest.signal, options.seconds, line.show)
        finally:
            line.end()
        saved = save_baseline(options.wearer, sensor.identity, manifest.signal, resting)
        identity = sensor.identity
    if abs(resting.drift) > _MAX_DRIFT:
        direction = "rose" if resting.drift > 0 else "fell"
        line.notify(
            f"the level {direction} by {abs(resting.drift):.0%} during the calibration: rest for a few more minutes "
            "and take it again for a better baseline"
        )
    if options.json:
        print(json.dumps({"wearer": options.wearer, "sensor": identity, **asdict(resting), "file": str(saved)}))
    else:
        print(printable(f"{options.wearer} at rest: {resting.level_us:.2f} uS with {identity}; saved in {saved}"))


class _ProgressLine:
    """A progress bar, redrawn in place on a terminal, and notices about the signal."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._on_terminal = sys.stderr.isatty()
        self._drawn_s = 0.0

    def show(self, have_s: float, reason: str | None) -> None:
        if not self._on_terminal or monotonic() - self._drawn_s < _REDRAW_S:
            return
        self._drawn_s = monotonic()
        done = min(1.0, have_s / self._seconds)
        text = f"{bar(done, 30, unicode=False)} {min(have_s, self._seconds):3.0f} of {self._seconds:g} s"
        print(f"\r{text}{f'  {reason}' if reason else ''}\x1b[K", end="", file=sys.stderr, flush=True)

    def notify(self, message: str) -> None:
        self.end()
        print(f"ekd-edge calibrate: {printable(message)}", file=sys.stderr)

    def end(self) -> None:
        if self._on_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
