"""The options of one sensor: those of its `--port` first, then the global ones as defaults."""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from ekd_edge.errors import ConfigError
from firmware_bridge.cli.port_options import PortOptions, escaped, parse_file, parse_port

if TYPE_CHECKING:
    from ekd_edge.sources.stated import SensorOptions
    from firmware_bridge.units import Unit

__all__ = [
    "FILE_KEYS",
    "SENSOR_KEYS",
    "PortOptions",
    "check_ports",
    "escaped",
    "parse_file",
    "parse_port",
    "sensor_argument",
    "sensor_options",
    "with_wearers",
]

SENSOR_KEYS = ("format", "rate", "unit", "adc-bits", "full-scale-us", "baud")
"""The keys of a `--port` that describe a sensor."""
FILE_KEYS = SENSOR_KEYS[:-1]
"""The keys of a `--replay`."""


def sensor_argument(text: str) -> PortOptions:
    """The port in the text of a `--port` that accepts the keys of a sensor only; see `parse_port`."""
    return parse_port(text, SENSOR_KEYS)


def sensor_options(options: argparse.Namespace, port: PortOptions) -> "SensorOptions":
    """The options of one sensor.

    What the port states overrides the device; what `add_sensor_arguments` states is used where neither states anything.
    """
    from ekd_edge.sources.stated import SensorOptions

    return SensorOptions(
        format=port.format or options.format,
        rate_hz=port.rate_hz,
        unit=_unit(port.unit, port.adc_bits, port.full_scale_us),
        baud=port.baud or options.baud,
        default_rate_hz=options.rate,
        default_unit=_unit(options.unit, options.adc_bits, options.full_scale_us),
    )


def check_ports(ports: list[PortOptions]) -> None:
    """Raise ConfigError where two ports are the same, or two sensors have one name."""
    for what, remedy, found in (
        ("the same --port", "name each port once", [port.url for port in ports]),
        ("the same sensor name", "give each --port another name=", [port.label for port in ports]),
    ):
        if again := [each for number, each in enumerate(found) if each in found[:number]]:
            raise ConfigError(f"{what} is given twice, {again[0]}: {remedy}")


def with_wearers(ports: list[PortOptions], wearers: list[str] | None) -> list[PortOptions]:
    """The ports with the wearers of `--wearer`, in order.

    Raises ConfigError where their numbers differ, or where a port states another wearer itself.
    """
    if wearers is None:
        return ports
    if any(port.wearer is not None for port in ports):
        raise ConfigError("state wearers by --wearer or in each --port, not both: remove --wearer")
    if len(wearers) != len(ports):
        raise ConfigError("name one --wearer for each --port, in the same order, or write --port 'PORT,wearer=NAME'")
    return [replace(port, wearer=wearer) for port, wearer in zip(ports, wearers, strict=True)]


def _unit(kind: str | None, adc_bits: int | None, full_scale_us: float | None) -> "Unit | None":
    from firmware_bridge.units import BITALINO_FULL_SCALE_US, parse_unit

    return None if kind is None else parse_unit(kind, adc_bits or 10, full_scale_us or BITALINO_FULL_SCALE_US)
