"""The text of `--port`: a port and the options that hold for this port only.

    /dev/ttyUSB0,format=grove,wearer=anna
    /dev/rfcomm0,format=bitalino:channel=A2,rate=1000
    socket://10.0.0.7:4000,unit=adc,adc-bits=12,name=left hand

A comma begins an option. `\\,` is a comma of the port's name or of a value, and `\\\\` is a backslash.
"""

import argparse
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

from firmware_bridge.cli.arguments import adc_bits, count, positive, rate_argument
from firmware_bridge.errors import ConfigError
from firmware_bridge.home import expanded
from firmware_bridge.suggestions import did_you_mean

__all__ = ["KEYS", "PORT_OPTIONS_HELP", "PortOptions", "escaped", "parse_file", "parse_port"]

PORT_OPTIONS_HELP = (
    "PORT may end in options of this port only, which override what the device states: "
    "'/dev/ttyUSB0,format=grove,rate=19.5'; \\, is a comma of a name"
)
_SPLIT = re.compile(r"(?<!\\)((?:\\\\)*),")
_ESCAPED = re.compile(r"\\([\\,])")
_UNIT_KEYS = ("adc-bits", "full-scale-us")


@dataclass(frozen=True, slots=True)
class PortOptions:
    """A port, and the options that its `--port` states; None for an option that it does not state.

    url: the port as `find_port` reads it. format: name of a device format, with its settings if any. rate_hz: the true
    sampling rate. unit: kind of the readings, see `UnitKind`. adc_bits, full_scale_us: of the units adc and divider.
    baud: of a serial line. wearer: whose baseline is used. name: of this sensor in predictions and recordings.
    """

    url: str
    format: str | None = None
    rate_hz: Fraction | None = None
    unit: str | None = None
    adc_bits: int | None = None
    full_scale_us: float | None = None
    baud: int | None = None
    wearer: str | None = None
    name: str | None = None

    @property
    def label(self) -> str:
        """The name of this sensor in predictions, recordings and messages: `name`, else the port."""
        return self.url if self.name is None else self.name


def parse_port(text: str, keys: Collection[str] | None = None) -> PortOptions:
    """The port and the options in the text of `--port`; the module's docstring has the syntax.

    Args:
        text: such as "/dev/ttyUSB0,format=grove,rate=19.5".
        keys: the options that the command has; None for all of `KEYS`.

    Returns:
        The port and its options.

    Raises:
        ConfigError: an option is unknown, given twice, without a value or with a wrong value; or options do not go
            together.
    """
    url, *parts = (_ESCAPED.sub(r"\1", part) for part in _split(text))
    if not url.strip():
        raise ConfigError(f"--port {text!r} names no port: write '/dev/ttyUSB0,format=grove', for example")
    if "\0" in text:
        raise ConfigError("the name of a port cannot have a NUL character: name a port such as /dev/ttyUSB0")
    known = [key for key in KEYS if keys is None or key in keys]
    found: dict[str, Any] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals:
            raise ConfigError(
                f"{part!r} in --port {text!r} is not KEY=VALUE: write \\, for a comma that belongs to a name"
            )
        if key not in known:
            offered = ", ".join(known)
            hint = did_you_mean(key, known)
            raise ConfigError(f"--port {text!r} has the unknown option {key!r}: it may have {offered}{hint}")
        if key in found:
            raise ConfigError(f"--port {text!r} states {key} twice: state it once")
        found[key] = _value(text, key, value.strip())
    _check_unit(text, found)
    fields = {KEYS[key][0]: value for key, value in found.items()}
    return PortOptions(expanded(url), **fields)


def parse_file(text: str, keys: Collection[str]) -> PortOptions:
    """The file and the options in the text of `--replay`. A file that exists under the whole text has no options.

    Raises ConfigError as `parse_port` does.
    """
    whole = expanded(text) if text.startswith("~/") else text
    try:
        exists = Path(whole).exists()
    except (OSError, ValueError):
        exists = False
    return PortOptions(whole) if exists else parse_port(text, keys)


def escaped(name: str) -> str:
    """The name of a port as `parse_port` reads it."""
    return name.replace("\\", "\\\\").replace(",", "\\,") if "," in name else name


def _split(text: str) -> list[str]:
    """The parts between commas, still escaped."""
    *pieces, last = _SPLIT.split(text)
    return [piece + slashes for piece, slashes in zip(pieces[::2], pieces[1::2], strict=True)] + [last]


def _value(text: str, key: str, value: str) -> Any:
    if not value:
        raise ConfigError(f"--port {text!r} states no value of {key}: write {key}=VALUE, or leave {key} out")
    try:
        return KEYS[key][1](value)
    except argparse.ArgumentTypeError as error:
        raise ConfigError(f"{key} in --port {text!r} is wrong: {error}") from None


def _check_unit(text: str, found: dict[str, Any]) -> None:
    unit = found.get("unit")
    if unit in ("adc", "divider") and "adc-bits" not in found:
        raise ConfigError(
            f"unit={unit} in --port {text!r} needs the converter's resolution: add adc-bits=10, for example"
        )
    for key in _UNIT_KEYS:
        units = ("adc",) if key == "full-scale-us" else ("adc", "divider")
        if key in found and unit not in units:
            raise ConfigError(
                f"{key} in --port {text!r} belongs to a unit of counts: add unit={' or unit='.join(units)}"
            )


def _unit(value: str) -> str:
    from firmware_bridge.unit_kinds import UnitKind

    if value not in (kinds := get_args(UnitKind)):
        raise argparse.ArgumentTypeError(
            f"unknown unit {value!r}: choose one of {', '.join(kinds)}{did_you_mean(value, kinds)}"
        )
    return value


KEYS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "format": ("format", str),
    "rate": ("rate_hz", rate_argument),
    "unit": ("unit", _unit),
    "adc-bits": ("adc_bits", adc_bits),
    "full-scale-us": ("full_scale_us", positive),
    "baud": ("baud", count),
    "wearer": ("wearer", str),
    "name": ("name", str),
}
"""Maps each key to its field in `PortOptions` and the function that checks its value."""
