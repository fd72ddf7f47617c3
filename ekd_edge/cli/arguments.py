"""Options that several `ekd-edge` commands share: the model, the trusted keys, the sensor."""

import argparse
from pathlib import Path
from typing import get_args

from ekd_edge.sources.sensor import SensorOptions
from firmware_bridge.cli.arguments import count, positive, rate_argument
from firmware_bridge.devices.registry import BUILT_IN
from firmware_bridge.units import BITALINO_FULL_SCALE_US, UnitKind, parse_unit

__all__ = [
    "add_model_argument",
    "add_model_arguments",
    "add_signal_arguments",
    "add_trust_argument",
    "sensor_options",
]


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """`--model` and `--trust`."""
    parser.add_argument(
        "--model",
        metavar="FILE",
        type=Path,
        help="a model file, or demo (default: $EKD_MODEL, else the newest export here)",
    )
    add_trust_argument(parser)


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """`--model`."""
    parser.add_argument(
        "--model",
        metavar="FILE",
        type=Path,
        help="a model file, or demo (default: $EKD_MODEL, else the newest export here)",
    )


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """`--trust`."""
    parser.add_argument(
        "--trust",
        metavar="PUBKEY",
        type=Path,
        action="append",
        help="run only models signed by this key, or by one of several (default: $EKD_TRUST, else unsigned ones too)",
    )


def add_signal_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that describe the sensor."""
    signal_of = parser.add_argument_group("the sensor (ekd's own firmware states all of it)")
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
    signal_of.add_argument("--adc-bits", metavar="N", type=count, help="resolution, for adc and divider")
    signal_of.add_argument(
        "--full-scale-us", metavar="X", type=positive, help="uS at full scale, for adc (default: 25)"
    )
    signal_of.add_argument("--baud", metavar="N", type=count, help="default: the format's; auto tries 115200, 9600")


def sensor_options(options: argparse.Namespace) -> SensorOptions:
    """The sensor that the options of `add_signal_arguments` describe."""
    unit = None
    if options.unit is not None:
        full_scale_us = options.full_scale_us or BITALINO_FULL_SCALE_US
        unit = parse_unit(options.unit, options.adc_bits or 10, full_scale_us)
    return SensorOptions(format=options.format, rate_hz=options.rate, unit=unit, baud=options.baud)
