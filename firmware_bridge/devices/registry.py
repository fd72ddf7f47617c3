"""The registry of device formats: built-in formats, and formats that other packages add.

A package adds a format with an entry point of the group `ekd.formats` whose value is a `DeviceFormat`:

    [project.entry-points."ekd.formats"]
    mydevice = "mypackage.mydevice:FORMAT"
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from firmware_bridge.errors import ConfigError
from firmware_bridge.suggestions import did_you_mean

if TYPE_CHECKING:  # these load numpy, which `--help` does not need
    from importlib.metadata import EntryPoint

    from firmware_bridge.devices.emulator import Emulator
    from firmware_bridge.devices.stream import StreamDecoder, StreamOptions
    from firmware_bridge.devices.waveform import Waveform

__all__ = [
    "BUILT_IN",
    "ENTRY_POINTS",
    "DeviceFormat",
    "Probe",
    "ReceivedBytes",
    "check_settings",
    "find_format",
    "installed_formats",
    "parse_format",
]

ENTRY_POINTS = "ekd.formats"

BUILT_IN = {name: f"firmware_bridge.devices.{name}.decoder" for name in ("ekd", "csv", "grove", "shimmer3", "bitalino")}
"""Maps each built-in format to its module, which defines `FORMAT`. Probes are sent in this order."""


@dataclass(frozen=True, slots=True)
class ReceivedBytes:
    """The bytes that a device has sent so far.

    data: all bytes from the first one on. live: whether the stream may start in the middle of a line or frame.
    arrivals: after each read, the total number of bytes and the seconds since the first byte; empty for a recording.
    """

    data: bytes
    live: bool
    arrivals: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """A request that detects a device that sends nothing until it is asked.

    request: the bytes to send. They must have no harmful effect on other silent devices.
    is_answer: returns whether the bytes received since are this device's answer.
    """

    request: bytes
    is_answer: Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class DeviceFormat:
    """The format of one kind of sensor.

    name: the name in `--format NAME`. about: a short description of the device. baud: baud rate of its serial link.
    open: creates a decoder. recognises: returns whether the bytes are certainly in this format.
    emulate: creates an emulated device that measures the waveform.
    probe: the request that detects a device that is silent until asked, or None.
    settings: the keys of `--format NAME:key=value`, each with a short description.
    """

    name: str
    about: str
    baud: int
    open: "Callable[[StreamOptions], StreamDecoder]"
    recognises: Callable[[ReceivedBytes], bool]
    emulate: "Callable[[Waveform], Emulator]"
    probe: Probe | None = None
    settings: Mapping[str, str] | None = None


def find_format(name: str) -> DeviceFormat:
    """The format with this name. Raises ConfigError if it is unknown or cannot be loaded from its package."""
    if name in BUILT_IN:
        return _of_module(name)
    foreign = {entry.name: entry for entry in _foreign()}
    if name not in foreign:
        names = ", ".join(["auto", *BUILT_IN, *sorted(foreign)])
        known = did_you_mean(name, ["auto", *BUILT_IN, *foreign])
        raise ConfigError(f"unknown format {name!r}: choose one of {names}{known}")
    return _load(foreign[name])


def installed_formats() -> Iterator[DeviceFormat]:
    """All formats, the built-in ones first. Raises ConfigError if the format of a package cannot be loaded."""
    yield from map(_of_module, BUILT_IN)
    yield from map(_load, _foreign())


def parse_format(text: str) -> tuple[str, dict[str, str]]:
    """The name and the settings in `NAME` or `NAME:key=value,key=value`. Raises ConfigError for other texts."""
    name, colon, rest = text.partition(":")
    pairs = [part.partition("=") for part in rest.split(",")] if colon else []
    if not name or any(not (key and value) for key, _, value in pairs):
        raise ConfigError(f"{text!r} is not a format: write a name, or NAME:key=value,key=value")
    return name, {key.strip(): value.strip() for key, _, value in pairs}


def check_settings(name: str, settings: Mapping[str, str], known: Iterable[str] = ()) -> None:
    """Raise ConfigError if a setting is not one of the format's known settings."""
    if unknown := sorted(set(settings) - set(known)):
        offered = ", ".join(known) or "no settings"
        hint = did_you_mean(unknown[0], known)
        raise ConfigError(f"the format {name} has no setting {unknown[0]!r}: it has {offered}{hint}")


def _of_module(name: str) -> DeviceFormat:
    found: DeviceFormat = import_module(BUILT_IN[name]).FORMAT
    return found


def _foreign() -> "list[EntryPoint]":
    from importlib.metadata import entry_points  # takes 20 ms

    return sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name)


def _load(entry: "EntryPoint") -> DeviceFormat:
    try:
        found = entry.load()
    except Exception as error:
        raise ConfigError(f"the format {entry.name} ({entry.value}) cannot be loaded: {error}") from error
    if not isinstance(found, DeviceFormat) or found.name != entry.name or entry.name in BUILT_IN:
        raise ConfigError(f"{entry.value} is not a DeviceFormat named {entry.name!r}: correct its package")
    return found
