"""Names of columns: which one is the time, which one is skin conductance or EEG, and the unit that the name states."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from firmware_bridge.errors import FormatError, SignalError
from firmware_bridge.tables.declared import shortened
from firmware_bridge.units import UnitKind, parse_unit

__all__ = ["Columns", "Time", "Value", "columns_of", "names_value", "time_named", "value_named"]

_VALUE_WORDS = (
    *("gsr", "eda", "conductance", "sc", "scl", "us", "µs", "microsiemens", "resistance", "value", "reading", "adc"),
    *("ohm", "kohm", "mohm", "kω", "siemens"),
)
"""Words that name a reading of skin conductance, in order of preference."""

_UNIT_WORDS = ("us", "µs", "microsiemens", "adc", "ohm", "kohm", "mohm", "kω", "siemens")
"""Words that name the column by its unit only."""

_NEUTRAL = frozenset(
    (
        *("raw", "cal", "calibrated", "signal", "data", "value", "values", "level", "skin", "sensor", "galvanic"),
        *("avg", "average", "mean", "response"),
    )
)
"""Words of a name that say nothing of its unit."""

_DERIVED = frozenset(
    (
        *("tonic", "phasic", "peak", "peaks", "event", "events", "amplitude", "label", "quality", "scr", "onset"),
        *("onsets", "rating"),
    )
)
"""Words of columns that are computed from the signal."""

_TIME_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millis", "milliseconds", "millisecond"), 1e-3),
    **dict.fromkeys(("us", "µs", "usec", "micros", "microseconds", "microsecond"), 1e-6),
    **dict.fromkeys(("ns", "nsec", "nanos", "nanoseconds"), 1e-9),
}
_TIME_WORDS = ("time", "timestamp", "timestamps", "times", "datetime", "t", "epoch", "unix", "elapsed", "clock", "date")
_TIME_ALONE = (
    *("millis", "ms", "milliseconds", "msec", "micros", "microseconds", "usec", "seconds", "sec", "secs", "nanos"),
)
_TIME_FIRST = ("millis", "ms", "time_ms", "milliseconds", "micros", "time_us", "microseconds", "time_s", "time")
"""Names of the time column that are preferred to others, in this order."""

_BRACKETS = re.compile(r"(.*?)[\s_]*(?:\[([^\]]*)\]|\(([^)]*)\)|/\s*(\S+))\s*")
_WORDS = re.compile(r"[\s_.:\-]+")
_MAX_NAMES = 8


@dataclass(frozen=True, slots=True)
class Value:
    """A column of readings. rank: the smaller, the more likely it is the wanted one. unit: as stated, or None."""

    rank: int
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Time:
    """A column of times. tick_s: its unit in seconds, or None where the name does not state it."""

    rank: int
    tick_s: float | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table.

    names: of all columns, as written; empty without a header. value, time: column numbers. unit: that the header
    states. tick_s: unit of the time column in seconds, None if its name does not state it. eeg: column numbers by the
    name of the channel.
    """

    names: tuple[str, ...]
    value: int
    time: int | None
    unit: str | None
    tick_s: float | None
    eeg: dict[str, int]

    @property
    def value_name(self) -> str:
        """The name of the value column, or its number from 1."""
        return shortened(self.names[self.value]) if self.names else str(self.value + 1)

    @property
    def time_name(self) -> str:
        """The name of the time column, or its number from 1."""
        assert self.time is not None
        return repr(shortened(self.names[self.time])) if self.names else str(self.time + 1)


def value_named(name: str) -> Value | None:
    """What a name says of a column of readings, or None if it is another column."""
    found = _value_named(name)
    return found if found is None or found.unit is None else Value(found.rank, _kind(found.unit))


def _value_named(name: str) -> Value | None:
    base, unit = _divided(name)
    words = [word for word in _WORDS.split(base.lower()) if word]
    if not words or words[0] == "eeg" or not _DERIVED.isdisjoint(words):
        return None
    if unit is None and len(words) == 1 and words[0] in _UNIT_WORDS:
        return Value(_VALUE_WORDS.index(words[0]), words[0])
    found = [_VALUE_WORDS.index(word) for word in words if word in _VALUE_WORDS and word not in _UNIT_WORDS]
    if not found:
        return None
    rank = 2 * min(found)
    if unit is not None:
        return Value(rank, unit if unit.strip() else None)
    others = [word for word in words if word not in _VALUE_WORDS and word not in _NEUTRAL and not word.isdigit()]
    if others and " " in base.strip():
        return None  # a sentence, such as the greeting of a sketch
    if words[-1] in _UNIT_WORDS or (others and words[-1] == others[-1]):
        last = _WORDS.split(base.strip())[-1]
        return Value(rank + (0 if _kind(last) in get_args(UnitKind) else 100), last)
    return Value(rank + (200 if others else 0))


def time_named(name: str) -> Time | None:
    """What a name says of a column of times, or None if it is another column."""
    base, unit = _divided(name)
    lower = base.strip().lower()
    words = [word for word in _WORDS.split(lower) if word]
    if not words or words[0] == "eeg":
        return None
    rank = _TIME_FIRST.index(lower) if lower in _TIME_FIRST else len(_TIME_FIRST)
    if len(words) == 1 and words[0] in _TIME_ALONE:
        return Time(rank, _TIME_UNITS[words[0]])
    if words[0] not in _TIME_WORDS and not {"time", "timestamp"} & set(words):
        return None
    if unit is not None:
        return Time(rank, _TIME_UNITS.get(unit.strip().lower()))
    if words[-1] in _TIME_UNITS:
        return Time(rank, _TIME_UNITS[words[-1]])
    return Time(rank, 1.0 if words == ["time"] else None)


def names_value(names: Sequence[str]) -> bool:
    """Whether one of the names is that of a column of readings."""
    return any(value_named(name) is not None for name in names)


def columns_of(names: Sequence[str], count: int, line: str) -> Columns:
    """The columns of a table by its header.

    Args:
        names: of the header, or none.
        count: number of columns of the rows.
        line: the first row, for messages.

    Returns:
        The columns. Without a header a single column is the value, and two are time and value.

    Raises:
        FormatError: the value column cannot be identified.
    """
    if names and len(names) != count and not names_value(names) and count <= 2:
        names = ()
    if names and len(names) != count:
        hint = ": correct the header"
        if count == 2 * len(names) or (len(names), count) == (1, 2):
            hint = ": write numbers with a point (4.81), or separate the columns by semicolons"
        raise FormatError(
            f"the header names {len(names)} columns but the lines have {count}, such as {shortened(line, 60)!r}{hint}"
        )
    known = "gsr, eda, gsr_us, value or adc"
    if not names or (count == 1 and not names_value(names)):
        if count > 2:
            raise FormatError(
                f"the lines have {count} columns, such as {shortened(line, 60)!r}, and no header: add one that names "
                f"the value column ({known})"
            )
        return Columns((), count - 1, 0 if count == 2 else None, None, None, {})
    eeg = {name.strip()[4:]: i for i, name in enumerate(names) if name.strip().lower().startswith("eeg_")}
    times = [(named.rank, i, named.tick_s) for i, name in enumerate(names) if (named := time_named(name)) is not None]
    _, time, tick_s = min(times, key=lambda each: each[:2], default=(0, None, None))
    values = [
        (found.rank, i, found.unit)
        for i, name in enumerate(names)
        if (found := value_named(name)) is not None and i != time
    ]
    if not values:
        shown = ", ".join(map(shortened, names[:_MAX_NAMES]))
        raise FormatError(f"none of the columns {shown} is skin conductance: rename its column to one of {known}")
    rank, value, unit = min(values, key=lambda each: each[:2])
    equal = [shortened(names[i]) for other, i, _ in values if other == rank]
    if len(equal) > 1:
        raise FormatError(
            f"the columns {equal[0]} and {equal[1]} could both be skin conductance: rename the one to use to gsr"
        )
    return Columns(tuple(names), value, time, unit, tick_s, eeg)


def _divided(name: str) -> tuple[str, str | None]:
    """A name without its unit in brackets or after a slash, and that unit, or None without brackets."""
    name = name.strip().strip("\"'").strip().replace("μ", "µ")
    match = _BRACKETS.fullmatch(name)
    if match is None or not match[1]:
        return name, None
    return match[1], next(group for group in match.groups()[1:] if group is not None)


def _kind(unit: str) -> str:
    """The kind of a unit, or the text as it is if it is not a unit."""
    try:
        return parse_unit(unit).kind
    except SignalError:
        return unit
