"""The arguments of `ekd-edge` and of its subcommands."""

import argparse
import math
from pathlib import Path
from typing import get_args

from ekd_edge.sources.sensor import SensorOptions
from firmware_bridge.cli.arguments import rate_argument
from firmware_bridge.dependencies import version_line
from firmware_bridge.devices.registry import BUILT_IN
from firmware_bridge.units import BITALINO_FULL_SCALE_US, UnitKind, parse_unit

__all__ = [
    "add_model_arguments",
    "add_signal_arguments",
    "add_trust_argument",
    "calibrate_parser",
    "edge_parser",
    "sensor_options",
    "status_parser",
]

EXAMPLES = """\
examples:
  ekd-edge --port sim://                                   a simulated sensor, to look around
  ekd-edge --port /dev/ttyUSB0                             a sensor; which one, it finds out by itself
  ekd-edge --port /dev/rfcomm0 --format bitalino --rate 1000
  ekd-edge --port /dev/ttyACM0 --format csv --rate 19.5 --unit adc --adc-bits 10 --baud 9600
  ekd-edge --port /dev/ttyUSB0 --json >> predictions.jsonl
  ekd-edge --port /dev/ttyUSB0 --port /dev/ttyUSB1 --json  two sensors
  ekd-edge --replay recording.csv --rate 128 --unit uS --json

others, each with --help:
  ekd-edge doctor       what may keep ekd-edge from running here, and what to do about it
  ekd-edge status       how the running ones fare
  ekd-edge calibrate    take a wearer's baseline
  ekd-edge bench        how fast models are on this machine, and which to run
  ekd-edge bundle       one archive that installs on a Raspberry Pi without a network
"""


def edge_parser() -> argparse.ArgumentParser:
    """The arguments of `ekd-edge`."""
    parser = argparse.ArgumentParser(
        prog="ekd-edge",
        description="Predict emotion from a skin-conductance sensor, live, or from a recording of one.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version_line())
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--port",
        metavar="PORT",
        action="append",
        help="/dev/ttyUSB0, auto, usb:VID:PID[:SERIAL], sim://, socket://HOST:PORT; may be given several times",
    )
    source.add_argument(
        "--replay", metavar="FILE", type=Path, help="a recording, a folder of them, or a file of a sensor's bytes"
    )
    add_model_arguments(parser)
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
    parser.add_argument(
        "--wearer",
        metavar="NAME",
        action="append",
        help="who wears the sensor: begin with the baseline that `ekd-edge calibrate` took (one for each --port)",
    )
    parser.add_argument(
        "--smooth",
        metavar="S",
        type=_not_negative,
        help="mean of probabilities over about so many seconds (0, or as recorded)",
    )
    parser.add_argument(
        "--margin",
        metavar="SHARE",
        type=_share,
        help="a label gives way only to one that is more probable by so much, such as 0.2 (0, or as recorded)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a prediction on stdout")
    parser.add_argument("--seconds", metavar="N", type=_positive, help="stop after N s (of the recording)")
    parser.add_argument("--threads", metavar="N", type=_count, default=1, help="for inference (default: 1)")
    add_signal_arguments(parser)
    return parser


def calibrate_parser() -> argparse.ArgumentParser:
    """The arguments of `ekd-edge calibrate`."""
    parser = argparse.ArgumentParser(
        prog="ekd-edge calibrate",
        description="Take the baseline of a wearer at rest; ekd-edge --wearer NAME begins with it.",
    )
    parser.add_argument("--port", metavar="PORT", required=True, help="the sensor, as for ekd-edge")
    parser.add_argument("--wearer", metavar="NAME", required=True, help="letters, digits, . _ - (64 at most)")
    parser.add_argument("--seconds", metavar="N", type=_positive, default=60.0, help="of rest (default: 60)")
    parser.add_argument("--json", action="store_true", help="the baseline as one JSON object")
    add_model_arguments(parser)
    add_signal_arguments(parser)
    return parser


def status_parser() -> argparse.ArgumentParser:
    """The arguments of `ekd-edge status`."""
    parser = argparse.ArgumentParser(
        prog="ekd-edge status",
        description="How the running ekd-edge processes of this user fare.",
        epilog="Exit status: 0 where all is well, 1 where something needs looking after, 2 where none runs.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a process")
    return parser


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, and whom to trust."""
    parser.add_argument("--model", metavar="FILE", type=Path, help="default: $EKD_MODEL, else the newest export here")
    add_trust_argument(parser)


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Whose models to run."""
    parser.add_argument(
        "--trust",
        metavar="PUBKEY",
        type=Path,
        action="append",
        help="run only models signed by this key, or by one of several (default: $EKD_TRUST, else unsigned ones too)",
    )


def add_signal_arguments(parser: argparse.ArgumentParser) -> None:
    """What the sensor sends."""
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


def sensor_options(options: argparse.Namespace) -> SensorOptions:
    """What the arguments say of the sensor."""
    unit = None
    if options.unit is not None:
        full_scale_us = options.full_scale_us or BITALINO_FULL_SCALE_US
        unit = parse_unit(options.unit, options.adc_bits or 10, full_scale_us)
    return SensorOptions(format=options.format, rate_hz=options.rate, unit=unit, baud=options.baud)


def _share(text: str) -> float:
    number = _not_negative(text)
    if number >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a share below 1, such as 0.2")
    return number


def _not_negative(text: str) -> float:
    return 0.0 if text == "0" else _positive(text)


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
