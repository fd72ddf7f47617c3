"""`ekd-firmware simulate` runs an emulated device on a pseudo-terminal."""

import argparse
from fractions import Fraction

import numpy as np

from firmware_bridge.cli.arguments import not_negative, path_argument, rate_argument
from firmware_bridge.devices.csv.emulator import CsvEmulator
from firmware_bridge.devices.emulator import Emulator
from firmware_bridge.devices.registry import BUILT_IN, find_format
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.emulation.line_faults import FAULTS, parse_fault
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.emulation.waveforms import person_waveform, recorded_waveform
from firmware_bridge.errors import ConfigError
from firmware_bridge.firmware.simulator import FirmwareSimulator
from firmware_bridge.firmware.toolchain import build
from firmware_bridge.units import Unit

__all__ = ["add_arguments", "read_waveform", "run"]

_SYNTHETIC_HZ = Fraction(128)
_FIRMWARE_S = 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `simulate`."""
    parser.description = (
        "Play a recording, or a simulated person, as a sensor on a pseudo-terminal. The first line on stdout is the "
        "path of the pseudo-terminal. The sensor starts when a program opens the path and ends when the program has "
        "read everything."
    )
    parser.epilog = "faults: " + "; ".join(f"{kind}: {about}" for kind, about in FAULTS.items())
    parser.add_argument(
        "--waveform",
        metavar="FILE",
        type=path_argument,
        help="CSV file with a value, or a time and a value, on each line (default: a simulated person)",
    )
    parser.add_argument(
        "--rate", metavar="HZ", type=rate_argument, help="sampling rate of the waveform, if the file does not state it"
    )
    parser.add_argument("--unit", choices=["uS", "adc"], help="unit of the waveform, if the file does not state it")
    parser.add_argument(
        "--adc-bits",
        metavar="N",
        type=int,
        choices=range(1, 17),
        help="resolution of a waveform in adc, or of the emulated front end (default: 16)",
    )
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="seed of the simulated person (default: 1)")
    parser.add_argument(
        "--format", metavar="NAME", default="ekd", help=f"{', '.join(BUILT_IN)}, or an installed format (default: ekd)"
    )
    parser.add_argument(
        "--firmware",
        action="store_true",
        help="run ekd's firmware in a simulated ATmega328P instead of an emulated device",
    )
    parser.add_argument("--millis", action="store_true", help="put the time in milliseconds before each value of csv")
    parser.add_argument(
        "--link", metavar="PATH", type=path_argument, help="create a symbolic link to the pseudo-terminal"
    )
    parser.add_argument(
        "--speed",
        metavar="X",
        type=not_negative,
        default=1.0,
        help="playback speed relative to real time; 0 sends as fast as the reader reads (default: 1)",
    )
    parser.add_argument(
        "--paced", metavar="S", type=not_negative, help="continue at full speed after S seconds of signal"
    )
    parser.add_argument("--seconds", metavar="N", type=not_negative, help="stop after N seconds of signal")
    parser.add_argument(
        "--fault",
        metavar="KIND[=VALUE][@S]",
        action="append",
        default=[],
        help="a fault after S seconds of signal, see below; may be given several times",
    )


def run(options: argparse.Namespace) -> None:
    """Emulate the device until its reader has read everything."""
    if options.firmware:
        _run_firmware(options)
        return
    faults = [parse_fault(text) for text in options.fault]
    emulator = _emulator(options, read_waveform(options))
    player = Player(emulator, options.speed, options.paced, faults)
    with PtyDevice(player, options.link) as device:
        print(options.link or device.path, flush=True)
        device.wait()


def _run_firmware(options: argparse.Namespace) -> None:
    if options.fault or options.paced is not None or options.format != "ekd":
        raise ConfigError("--firmware accepts only a waveform, --speed, --seconds and --link: remove other options")
    if options.waveform is None and options.seconds is None:
        options.seconds = _FIRMWARE_S
    simulator, elf = build("simulator"), build("firmware")
    waveform = read_waveform(options)
    divider = Unit("divider", 13)
    counts = np.concatenate([divider.to_readings(block) for block in waveform.microsiemens()])
    rate_hz = float(waveform.rate_hz)
    with FirmwareSimulator(simulator, elf, counts, rate_hz, options.speed, link=options.link) as device:
        print(options.link or device.path, flush=True)
        device.wait()


def _emulator(options: argparse.Namespace, waveform: Waveform) -> Emulator:
    if options.millis and options.format != "csv":
        raise ConfigError("--millis requires --format csv: add it, or remove --millis")
    return CsvEmulator(waveform, millis=True) if options.millis else find_format(options.format).emulate(waveform)


def read_waveform(options: argparse.Namespace) -> Waveform:
    """The waveform that the options name: a recording or a simulated person.

    Raises PortError if the file cannot be read, FormatError if it is not a recording or does not state its unit.
    """
    if options.waveform is None:
        return person_waveform(options.rate or _SYNTHETIC_HZ, options.seed, options.seconds, options.adc_bits or 16)
    return recorded_waveform(options.waveform, options.rate, options.unit, options.adc_bits, options.seconds)
