"""`ekd-firmware monitor` shows a device's format and id, its true sampling rate, its losses and a live trace."""

import argparse
import json
import math
import os
import shutil
import sys
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from time import monotonic
from typing import TextIO

import numpy as np

from firmware_bridge.cli.arguments import add_port_argument, count, not_negative, port_of, rate_argument
from firmware_bridge.cli.port_options import escaped, parse_port
from firmware_bridge.devices.registry import BUILT_IN
from firmware_bridge.devices.stated_unit import unit_of
from firmware_bridge.devices.stream import RawBlock, StreamCounts, StreamOptions
from firmware_bridge.errors import FormatError, SignalError
from firmware_bridge.printable import printable
from firmware_bridge.rates import rate_text
from firmware_bridge.serial_port.clock import ClockRate
from firmware_bridge.serial_port.device import Device, identity_of, open_device
from firmware_bridge.serial_port.ports import find_port

__all__ = ["Reading", "add_arguments", "run"]

_EVERY_S = 1.0
_REDRAW_S = 0.25
_TRACE = "▁▂▃▄▅▆▇█"
_TRACE_POINTS = 240
_PORT_KEYS = ("format", "rate", "baud")


@dataclass(frozen=True, slots=True)
class Reading:
    """The state of a device at one moment.

    port: the port's name. format: name of the device format. device: the device's id, or None. stated_hz: the rate that
    the device states. clock: its measured rate, or None in the first seconds. counts: counts of the stream. level_us:
    the latest level in uS, or NaN if the unit is unknown. raw: the latest raw reading.
    """

    port: str
    format: str
    device: str | None
    stated_hz: float
    clock: ClockRate | None
    counts: StreamCounts
    level_us: float
    raw: float

    def as_json(self) -> str:
        """One line of JSON; unknown values are null."""
        clock, status = self.clock, self.counts.status
        known = {
            "port": self.port,
            "format": self.format,
            "device": self.device,
            "stated_hz": self.stated_hz,
            "rate_hz": None if clock is None else round(clock.rate_hz, 4),
            "ppm": None if clock is None else round(clock.ppm, 1),
            "ppm_error": None if clock is None else round(clock.error_ppm, 1),
            "samples": self.counts.samples,
            "dropped": self.counts.dropped,
            "rejected": self.counts.rejected,
            "overruns": None if status is None else status.overruns,
            "saturated": None if status is None else status.saturated,
            "lead_off": None if status is None else status.lead_off,
            "level_us": None if math.isnan(self.level_us) else round(self.level_us, 4),
            "raw": self.raw,
        }
        return json.dumps(known)

    def as_text(self) -> str:
        """One line of text."""
        clock, counts, status = self.clock, self.counts, self.counts.status
        name = self.format if self.device is None else f"{self.format} {self.device}"
        rate = f"{self.stated_hz:.6g} Hz"
        if clock is not None:
            rate = f"{clock.rate_hz:.6g} Hz ({clock.ppm:+.0f} ± {clock.error_ppm:.0f} ppm)"
        level = f"raw {self.raw:g}" if math.isnan(self.level_us) else f"{self.level_us:.3f} uS (raw {self.raw:g})"
        parts = [name, rate, f"{counts.dropped} dropped, {counts.rejected} rejected", level]
        if status is not None and status.overruns:
            parts.append(f"{status.overruns} overruns")
        if status is not None and status.saturated:
            parts.append(f"{status.saturated} saturated")
        if status is not None and status.lead_off:
            parts.append("ELECTRODE OFF")
        return printable("  ".join(parts))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `monitor`."""
    parser.description = (
        "Show a sensor's format and id, its true rate, the error of its clock in parts per million against this "
        "computer's clock, the lost samples, the level and, in a terminal, a live trace."
    )
    add_port_argument(parser, "/dev/ttyUSB0, auto, usb:VID:PID[:SERIAL], sim:// ...; it may end in ,rate=HZ ...")
    parser.add_argument(
        "--format",
        metavar="NAME",
        default="auto",
        help=f"auto, {', '.join(BUILT_IN)}, or an installed format (default: auto)",
    )
    parser.add_argument(
        "--rate", metavar="HZ", type=rate_argument, help="sampling rate, for a device that does not state it"
    )
    parser.add_argument("--baud", metavar="N", type=count, help="default: the format's; auto tries 115200, 9600")
    parser.add_argument("--seconds", metavar="N", type=not_negative, help="stop after N seconds")
    parser.add_argument("--json", action="store_true", help="print one JSON object per second")


def run(options: argparse.Namespace) -> None:
    """Read the port until `--seconds` have passed or the device is disconnected."""
    port = parse_port(port_of(options), _PORT_KEYS)
    end = monotonic() + (math.inf if options.seconds is None else options.seconds)
    live = not options.json and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    view = _Trace(sys.stdout) if live else _Lines(sys.stdout, options.json)
    stream = StreamOptions(port.rate_hz, default_rate_hz=options.rate)
    format, baud = port.format or options.format, port.baud or options.baud
    with open_device(find_port(port.url), format, baud, stream) as device:
        level, first = _Level(), True
        try:
            for block in device.blocks(lambda: monotonic() >= end, view.notify):
                if first and options.rate not in (None, block.rate_hz) and port.rate_hz is None:
                    view.notify(_unused_rate(device.url, block.rate_hz, options.rate))
                first = False
                view.show(_reading(port.url, device, block, level(block)), level.recent)
        finally:
            view.close()
    if device.counts.samples == 0:
        raise FormatError(f"no readable data came from {port.url}: check the device, --format and --baud")


def _unused_rate(port: str, stated: Fraction, given: Fraction) -> str:
    return (
        f"{port} states {rate_text(stated)} Hz: --rate {rate_text(given)} is not used for it; write --port "
        f"'{escaped(port)},rate={rate_text(given)}' to override"
    )


def _reading(port: str, device: Device, block: RawBlock, level_us: float) -> Reading:
    return Reading(
        port,
        device.format_name or "unknown",
        identity_of(block.hello),
        float(block.rate_hz),
        device.clock,
        device.counts,
        level_us,
        float(block.values[-1]),
    )


class _Level:
    """Computes the level of each block in uS, and means over time for the trace."""

    def __init__(self) -> None:
        self.recent: deque[float] = deque(maxlen=_TRACE_POINTS)
        self._sum, self._count, self._since = 0.0, 0, monotonic()

    def __call__(self, block: RawBlock) -> float:
        try:
            unit = unit_of(block)
            readings = unit.to_microsiemens(block.values[unit.in_range(block.values)])
        except (FormatError, SignalError):
            readings = np.empty(0)
        level = float(readings[-1]) if len(readings) else math.nan
        self._sum += float(readings.sum()) if len(readings) else float(block.values.sum())
        self._count += len(readings) or len(block.values)
        if monotonic() - self._since >= _REDRAW_S:
            self.recent.append(self._sum / self._count)
            self._sum, self._count, self._since = 0.0, 0, monotonic()
        return level


class _Lines:
    """Prints one line per second."""

    def __init__(self, stream: TextIO, as_json: bool) -> None:
        self._stream, self._json = stream, as_json
        self._shown_s = -math.inf
        self._latest: Reading | None = None

    def show(self, reading: Reading, recent: deque[float]) -> None:
        self._latest = reading
        if monotonic() - self._shown_s >= _EVERY_S:
            self._print()

    def notify(self, message: str) -> None:
        print(f"ekd-firmware: {printable(message)}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._latest is not None:
            self._print()

    def _print(self) -> None:
        assert self._latest is not None
        print(self._latest.as_json() if self._json else self._latest.as_text(), file=self._stream, flush=True)
        self._shown_s, self._latest = monotonic(), None


class _Trace:
    """Shows a line of text with a trace below it, and overwrites both in place."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn_s = -math.inf
        self._drawn = False

    def show(self, reading: Reading, recent: deque[float]) -> None:
        if monotonic() - self._drawn_s < _REDRAW_S:
            return
        self._drawn_s = monotonic()
        width = shutil.get_terminal_size().columns - 1
        self._wipe()
        print(reading.as_text()[:width], _trace(list(recent)[-width:]), sep="\n", file=self._stream, flush=True)
        self._drawn = True

    def notify(self, message: str) -> None:
        self._wipe()
        print(f"ekd-firmware: {printable(message)}", file=self._stream, flush=True)

    def close(self) -> None:
        """Leave the last line and trace on the terminal."""

    def _wipe(self) -> None:
        if self._drawn:
            self._stream.write("\x1b[2A\x1b[J")
            self._drawn = False


def _trace(levels: list[float]) -> str:
    """Levels as a row of bars, scaled from their minimum to their maximum."""
    if not levels:
        return ""
    low, high = min(levels), max(levels)
    span = high - low or 1.0
    return "".join(_TRACE[min(int((level - low) / span * len(_TRACE)), len(_TRACE) - 1)] for level in levels)
