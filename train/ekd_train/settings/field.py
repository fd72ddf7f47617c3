"""Settings: dataclass fields with a help sentence and a range.

A configuration class declares its fields with `setting` and calls `check_settings` in `__post_init__`, so that a value
out of range raises an error when the configuration is created, before data is read.
"""

import dataclasses
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from ekd_edge.errors import ConfigError

__all__ = ["SettingInfo", "check_settings", "check_value", "setting", "settings_of_class"]

_BOUNDS: Mapping[str, tuple[str, Callable[[float, float], bool]]] = {
    "at_least": ("at least", operator.ge),
    "above": ("above", operator.gt),
    "below": ("below", operator.lt),
    "at_most": ("at most", operator.le),
}


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """One setting, for a listing.

    key: dotted, as for `--set`. kind: its type in a few words. default: JSON-ready. about: its help sentence.
    """

    key: str
    kind: str
    default: Any
    about: str


def setting(default: Any, about: str, **bounds: float) -> Any:
    """Declare a dataclass field with a help sentence and a range.

    Args:
        default: the default value.
        about: one sentence (or a few words) for `ekd-train config`.
        bounds: any of at_least, above, below, at_most; a number must also be finite.

    Returns:
        The field.
    """
    unknown = set(bounds) - set(_BOUNDS)
    assert not unknown, unknown
    return dataclasses.field(default=default, metadata={"about": about, "bounds": bounds})


def check_settings(config: Any, section: str) -> None:
    """Check every number of a configuration against its range.

    Raises ConfigError, which names the setting, its value and its range.
    """
    for field in dataclasses.fields(config):
        check_value(field, getattr(config, field.name), f"{section}.{field.name}")


def check_value(field: "dataclasses.Field[Any]", value: Any, key: str) -> None:
    """Check one value against the range of its field. Raises ConfigError, which names `key`."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    bounds: Mapping[str, float] = field.metadata.get("bounds", {})
    if not math.isfinite(value) or any(not _BOUNDS[name][1](value, bound) for name, bound in bounds.items()):
        ranges = " and ".join(f"{_BOUNDS[name][0]} {bound:g}" for name, bound in bounds.items()) or "finite"
        raise ConfigError(f"{key} = {value}: it must be {ranges}")


def settings_of_class(cls: type[Any], prefix: str = "") -> Iterator[SettingInfo]:
    """All settings of a configuration class, those of nested classes included, in the order of declaration."""
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from settings_of_class(hint, f"{prefix}{field.name}.")
            continue
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        yield SettingInfo(f"{prefix}{field.name}", _kind(hint), default, field.metadata.get("about", ""))


def _kind(hint: Any) -> str:
    choices = getattr(hint, "__args__", ())
    if choices and all(isinstance(choice, str) for choice in choices):
        return "|".join(choices)
    return "list of names" if choices else str(hint.__name__)
