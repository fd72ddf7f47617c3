"""`ekd-firmware simulate`: an emulated device on a pseudo-terminal."""

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.cli.arguments import not_negative, rate_argument
from firmware_bridge.devices.csv.decoder import CsvDecoder
from firmware_bridge.devices.csv.emulator import CsvEmulator
from firmware_bridge.devices.emulator import Emulator
from firmware_bridge.devices.registry import BUILT_IN, find_format
from firmware_bridge.devices.stream import Declared, RawBlock
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.emulation.line_faults import FAULTS, parse_fault
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.errors import ConfigError, FormatError, PortError
from firmware_bridge.firmware.simulator import Rig
from firmware_bridge.firmware.toolchain import build
from firmware_bridge.synthesis import simulated_blocks
from firmware_bridge.units import Unit

__all__ = ["add_arguments", "interrupted_by_sigterm", "read_waveform", "run"]

_CHUNK_BYTES = 1 << 16
_BITALINO_FULL_SCALE_US, _SYNTHETIC_FULL_SCALE_US = 25.0, 50.0
_SYNTHETIC_HZ = Fraction(128)
_FIRMWARE_S = 3600.0
_BLOCK_SAMPLES = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `simulate`."""
    parser.description = (
        "Play a recording, or a simulated person, as a sensor on a pseudo-terminal. The node's path is the first line "
        "on stdout. Sending starts when a program opens the node and ends when that program has read everything."
    )
    parser.epilog = "faults: " + "; ".join(f"{kind}: {about}" for kind, about in FAULTS.items())
    parser.add_argument(
        "--waveform", metavar="FILE", type=Path, help="CSV: value, or time and value (default: a simulated person)"
    )
    parser.add_argument(
        "--rate", metavar="HZ", type=rate_argument, help="of the waveform, where the file does not tell it"
    )
    parser.add_argument("--unit", choices=["uS", "adc"], help="of the waveform, where the file does not tell it")
    parser.add_argument(
        "--adc-bits",
        metavar="N",
        type=int,
        choices=range(1, 17),
        help="of an adc waveform, or of the front end (16)",
    )
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="of the simulated person (1)")
    parser.add_argument(
        "--format", metavar="NAME", default="ekd", help=f"{', '.join(BUILT_IN)}, or another installed one (ekd)"
    )
    parser.add_argument(
        "--firmware",
        action="store_true",
        help="run ekd's own firmware, as it would be flashed, in a simulated ATmega328P instead of an emulated device",
    )
    parser.add_argument("--millis", action="store_true", help="csv lines carry the time in milliseconds")
    parser.add_argument("--link", metavar="PATH", type=Path, help="make a symbolic link to the node")
    parser.add_argument("--speed", metavar="X", type=not_negative, default=1.0, help="times real time, 0: flat out (1)")
    parser.add_argument("--paced", metavar="S", type=not_negative, help="go on flat out after S seconds of signal")
    parser.add_argument("--seconds", metavar="N", type=not_negative, help="stop after N seconds of signal")
    parser.add_argument(
        "--fault",
        metavar="KIND[=VALUE][@S]",
        action="append",
        default=[],
        help="something that goes wrong after S seconds of signal, see below; may be given again",
    )


def run(options: argparse.Namespace) -> None:
    """Emulate the device until its reader has read everything."""
    if options.firmware:
        _run_firmware(options)
        return
    faults = [parse_fault(text) for text in options.fault]
    emulator = _emulator(options, read_waveform(options))
    player = Player(emulator, options.speed, options.paced, faults)
    with interrupted_by_sigterm(), PtyDevice(player, options.link) as device:
        print(options.link or device.path, flush=True)
        device.wait()


def _run_firmware(options: argparse.Namespace) -> None:
    if options.fault or options.paced is not None or options.format != "ekd":
        raise ConfigError("--firmware goes with a waveform, --speed, --seconds and --link alone")
    if options.waveform is None and options.seconds is None:
        options.seconds = _FIRMWARE_S
    rig, elf = build("rig"), build("firmware")
    waveform = read_waveform(options)
    divider = Unit("divider", 13)
    counts = np.concatenate([divider.to_readings(block) for block in waveform.microsiemens()])
    with (
        interrupted_by_sigterm(),
        Rig(rig, elf, counts, float(waveform.rate_hz), options.speed, link=options.link) as device,
    ):
        print(options.link or device.path, flush=True)
        device.wait()


def _emulator(options: argparse.Namespace, waveform: Waveform) -> Emulator:
    if options.millis and options.format != "csv":
        raise ConfigError("--millis belongs to --format csv: leave one of them out")
    return CsvEmulator(waveform, millis=True) if options.millis else find_format(options.format).emulate(waveform)


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the body as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def read_waveform(options: argparse.Namespace) -> Waveform:
    """The recording, or the simulated person, that the options name.

    Raises PortError where the file cannot be read, FormatError where it is no recording or does not tell its unit.
    """
    if options.waveform is None:
        rate = options.rate or _SYNTHETIC_HZ
        values = simulated_blocks(float(rate), options.seed, _BLOCK_SAMPLES)
        return Waveform(_first(values, options.seconds, rate), rate, "uS", options.adc_bits or 16)
    blocks = _recording(options.waveform, options.rate)
    first = next(blocks)
    declared = first.declared or Declared()
    unit = options.unit or declared.unit
    if unit not in ("uS", "adc"):
        raise FormatError(f"{options.waveform} does not tell its unit: say --unit uS or --unit adc --adc-bits N")
    kind: Literal["uS", "adc"] = "uS" if unit == "uS" else "adc"
    bits = options.adc_bits or (declared.adc_bits if kind == "adc" else 16)
    if bits is None or not 1 <= bits <= 16:
        raise FormatError(f"{options.waveform} does not tell its resolution: say --adc-bits N, 1 to 16")
    readings = _first((block.values for block in chain([first], blocks)), options.seconds, first.rate_hz)
    full_scale_us = _SYNTHETIC_FULL_SCALE_US if kind == "uS" else _BITALINO_FULL_SCALE_US
    return Waveform(readings, first.rate_hz, kind, bits, full_scale_us)


def _recording(path: Path, rate_hz: Fraction | None) -> Iterator[RawBlock]:
    """The recording's readings; at least one block."""
    decoder = CsvDecoder(rate_hz, live=False, hint=f"{path} is no recording in CSV", strict=True)
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield from decoder.feed(chunk)
    except OSError as error:
        raise PortError(f"cannot read {path}: {error.strerror}; check --waveform") from error
    yield from decoder.finish()


def _first(
    blocks: Iterator[NDArray[np.float64]], seconds: float | None, rate_hz: Fraction
) -> Iterator[NDArray[np.float64]]:
    left = sys.maxsize if seconds is None else round(seconds * float(rate_hz))
    for block in blocks:
        yield block[:left]
        left -= len(block)
        if left <= 0:
            return
