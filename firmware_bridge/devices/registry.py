"""The device formats: one module each, named in one table, and those that other packages bring.

A package adds a format with an entry point of the group `ekd.formats` whose value is a `DeviceFormat`:

    [project.entry-points."ekd.formats"]
    mydevice = "mypackage.mydevice:FORMAT"
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from firmware_bridge.devices.emulator import Emulator
from firmware_bridge.devices.stream import StreamDecoder, StreamOptions
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.errors import ConfigError
from firmware_bridge.suggestions import did_you_mean

__all__ = [
    "BUILT_IN",
    "ENTRY_POINTS",
    "DeviceFormat",
    "Heard",
    "Question",
    "check_settings",
    "find_format",
    "installed_formats",
    "parse_format",
]

ENTRY_POINTS = "ekd.formats"

BUILT_IN = {name: f"firmware_bridge.devices.{name}.decoder" for name in ("ekd", "csv", "grove", "shimmer3", "bitalino")}
"""The module of each format that ekd brings; each holds a `FORMAT`. Silent devices are asked in this order."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a device has sent so far, unasked or in answer to a question.

    data: from the first byte on. live: the stream was joined at any moment, so the first line or frame may be cut.
    arrivals: after each read, how many bytes had come and how many seconds after the first; empty for a recording.
    """

    data: bytes
    live: bool
    arrivals: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """How a device that speaks only when spoken to is found.

    ask: what to send. It must mean nothing, or nothing harmful, to the other devices that keep silent.
    answered: whether what was heard since is this device's answer.
    """

    ask: bytes
    answered: Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class DeviceFormat:
    """One kind of sensor on the wire.

    name: as after --format. about: the device, in a few words. baud: of its serial link, in bits a second.
    open: makes a decoder. recognises: whether these bytes are this device's beyond doubt.
    question: for devices that stay silent until asked, else None.
    emulate: a device of this kind that measures the waveform.
    settings: the names that `--format NAME:key=value` may set, each with a few words about it.
    """

    name: str
    about: str
    baud: int
    open: Callable[[StreamOptions], StreamDecoder]
    recognises: Callable[[Heard], bool]
    emulate: Callable[[Waveform], Emulator]
    question: Question | None = None
    settings: Mapping[str, str] | None = None


def find_format(name: str) -> DeviceFormat:
    """The format of that name. Raises ConfigError where there is none, or another package's does not load."""
    if name in BUILT_IN:
        return _of_module(name)
    foreign = {entry.name: entry for entry in _foreign()}
    if name not in foreign:
        names = ", ".join(["auto", *BUILT_IN, *sorted(foreign)])
        known = did_you_mean(name, ["auto", *BUILT_IN, *foreign])
        raise ConfigError(f"unknown format {name!r}: choose one of {names}{known}")
    return _load(foreign[name])


def installed_formats() -> Iterator[DeviceFormat]:
    """Every format there is, ekd's own first. Raises ConfigError where another package's does not load."""
    yield from map(_of_module, BUILT_IN)
    yield from map(_load, _foreign())


def parse_format(text: str) -> tuple[str, dict[str, str]]:
    """The name and the settings in `NAME` or `NAME:key=value,key=value`. Raises ConfigError for anything else."""
    name, colon, rest = text.partition(":")
    pairs = [part.partition("=") for part in rest.split(",")] if colon else []
    if not name or any(not (key and value) for key, _, value in pairs):
        raise ConfigError(f"{text!r} is not a format: write a name, or NAME:key=value,key=value")
    return name, {key.strip(): value.strip() for key, _, value in pairs}


def check_settings(name: str, settings: Mapping[str, str], known: Iterable[str] = ()) -> None:
    """Raise ConfigError for a setting that the format does not have."""
    if unknown := sorted(set(settings) - set(known)):
        offered = ", ".join(known) or "no settings"
        hint = did_you_mean(unknown[0], known)
        raise ConfigError(f"the format {name} has no setting {unknown[0]!r}: it has {offered}{hint}")


def _of_module(name: str) -> DeviceFormat:
    found: DeviceFormat = import_module(BUILT_IN[name]).FORMAT
    return found


def _foreign() -> list[EntryPoint]:
    return sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name)


def _load(entry: EntryPoint) -> DeviceFormat:
    try:
        found = entry.load()
    except Exception as error:
        raise ConfigError(f"the format {entry.name} ({entry.value}) does not load: {error}") from error
    if not isinstance(found, DeviceFormat) or found.name != entry.name or entry.name in BUILT_IN:
        raise ConfigError(f"{entry.value} is not a DeviceFormat named {entry.name!r}: correct its package")
    return found
