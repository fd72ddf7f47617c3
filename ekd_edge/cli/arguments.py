"""Groups of options that several subcommands of `ekd-edge` share.

Nothing here imports numpy before an option needs it: `ekd-edge doctor` runs where numpy does not load.
"""

import argparse
from typing import TYPE_CHECKING, get_args

from firmware_bridge.cli.arguments import adc_bits, count, path_argument, positive, rate_argument
from firmware_bridge.errors import ConfigError

if TYPE_CHECKING:
    from ekd_edge.model.signature import Trust

__all__ = [
    "add_model_argument",
    "add_model_arguments",
    "add_sensor_arguments",
    "add_trust_argument",
    "check_sensor_arguments",
    "trust_of",
]


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """`--model` and `--trust`."""
    add_model_argument(parser)
    add_trust_argument(parser)


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """`--model`."""
    parser.add_argument(
        "--model",
        metavar="FILE",
        type=path_argument,
        help="a model file, or demo (default: $EKD_MODEL, else the newest export here)",
    )


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """`--trust`; see `trust_of`."""
    parser.add_argument(
        "--trust",
        metavar="PUBKEY",
        type=path_argument,
        action="append",
        help="run only models signed by this key; may be given several times (default: $EKD_TRUST, else run unsigned "
        "models too)",
    )


def trust_of(options: argparse.Namespace) -> "Trust | None":
    """The keys that models must be signed by; None where unsigned models may run too.

    Raises ConfigError where a key cannot be read.
    """
    from ekd_edge.model.signature import read_trust, trust_from_environment

    return read_trust(options.trust) if options.trust else trust_from_environment()


def add_sensor_arguments(parser: argparse.ArgumentParser) -> None:
    """Format, rate, unit and baud rate of a sensor; see `ekd_edge.cli.port_options.sensor_options`."""
    from firmware_bridge.devices.registry import BUILT_IN
    from firmware_bridge.unit_kinds import UnitKind

    sensor = parser.add_argument_group(
        "sensor options, used where a device states nothing itself (--port 'PORT,rate=HZ' overrides the device)"
    )
    sensor.add_argument(
        "--format",
        metavar="NAME",
        default="auto",
        help=f"auto, {', '.join(BUILT_IN)}, or an installed format; NAME:key=value sets an option of the format "
        "(default: auto)",
    )
    sensor.add_argument(
        "--rate",
        metavar="HZ",
        type=rate_argument,
        help="sampling rate: 128, 19.5 or 1000/3; some devices are set to it",
    )
    sensor.add_argument("--unit", choices=get_args(UnitKind), help="unit of CSV values")
    sensor.add_argument(
        "--adc-bits", metavar="N", type=adc_bits, help="resolution of the converter, for adc and divider"
    )
    sensor.add_argument("--full-scale-us", metavar="X", type=positive, help="uS at full scale, for adc (default: 25)")
    sensor.add_argument("--baud", metavar="N", type=count, help="default: the format's; auto tries 115200, 9600")


def check_sensor_arguments(options: argparse.Namespace) -> None:
    """Raise ConfigError where the options of a sensor do not go together."""
    if options.unit in ("adc", "divider") and options.adc_bits is None:
        raise ConfigError(f"--unit {options.unit} needs the converter's resolution: add --adc-bits 10, for example")
    if options.adc_bits is not None and options.unit not in ("adc", "divider"):
        what = "no unit is given" if options.unit is None else f"the unit is {options.unit}"
        raise ConfigError(
            f"--adc-bits is the resolution of counts, but {what}: add --unit adc or --unit divider, or leave it out"
        )
    if options.full_scale_us is not None and options.unit != "adc":
        raise ConfigError("--full-scale-us belongs to --unit adc: add that unit, or leave it out")
