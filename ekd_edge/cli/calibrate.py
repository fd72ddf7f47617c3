"""`ekd-edge calibrate`: a wearer's baseline, guided."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from time import monotonic

from ekd_edge.cli.arguments import calibrate_parser, sensor_options
from ekd_edge.errors import EkdError
from ekd_edge.model.file import load_model_file
from ekd_edge.model.find import default_model
from ekd_edge.model.signature import read_trust, trust_from_environment
from ekd_edge.pipeline.baseline import baseline_file, save_baseline, take_baseline
from ekd_edge.pipeline.stream import check_sensor_signal
from ekd_edge.sinks.terminal import bar
from ekd_edge.sources.sensor import open_sensor
from firmware_bridge.serial_port.ports import find_port

__all__ = ["main"]

_RESTLESS = 0.1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: 0 once the baseline is kept, 130 on Ctrl-C, 2 for a fault."""
    options = calibrate_parser().parse_args(argv)
    try:
        baseline_file(options.wearer)
        trust = read_trust(options.trust) if options.trust else trust_from_environment()
        path = options.model or default_model(trust=trust)
        manifest = load_model_file(path, trust).manifest
        check_sensor_signal(manifest, path.name)
        with open_sensor(find_port(options.port), sensor_options(options)) as sensor:
            print(
                f"Sit comfortably, hands still, and breathe calmly for {options.seconds:g} s. "
                "The baseline is taken from the moments in which the signal is good.",
                file=sys.stderr,
            )
            line = _ProgressLine(options.seconds)
            blocks = sensor.blocks(notify=line.tell, silent_s=10)
            resting = take_baseline(blocks, manifest.signal, options.seconds, line.show)
            line.end()
            kept = save_baseline(options.wearer, sensor.identity, manifest.signal, resting)
            identity = sensor.identity
    except EkdError as error:
        print(f"ekd-edge calibrate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    if abs(resting.drift) > _RESTLESS:
        print(
            f"ekd-edge calibrate: the level has {'risen' if resting.drift > 0 else 'fallen'} by "
            f"{abs(resting.drift):.0%} meanwhile: a few more minutes of rest make a better baseline",
            file=sys.stderr,
        )
    if options.json:
        print(json.dumps({"wearer": options.wearer, "sensor": identity, **asdict(resting), "file": str(kept)}))
    else:
        print(f"{options.wearer} at rest: {resting.level_us:.2f} uS with {identity}; kept in {kept}")
    return 0


class _ProgressLine:
    """How far it is, redrawn in place on a terminal, and what is wrong with the signal."""

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

    def tell(self, sentence: str) -> None:
        self.end()
        print(f"ekd-edge calibrate: {sentence}", file=sys.stderr)

    def end(self) -> None:
        if self._able:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
