"""The columns of a text stream, the declarations in its comments, and the sampling rate of its time column."""

import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.devices.stream import Declared
from firmware_bridge.errors import FormatError
from firmware_bridge.rates import parse_rate

__all__ = [
    "JITTER_S",
    "LARGEST_TIME_S",
    "TIME_COLUMNS",
    "VALUE_COLUMNS",
    "Layout",
    "columns_of",
    "declared_by",
    "estimate_rate",
    "is_number",
    "layout_of",
    "majority",
    "names_value",
]

VALUE_COLUMNS = ("gsr", "gsr_us", "eda", "us", "µs", "microsiemens", "value", "adc")
"""Names of the value column, in order of preference; case is ignored."""

TIME_COLUMNS = {
    **dict.fromkeys(("millis", "ms", "time_ms", "milliseconds"), 1e-3),
    **dict.fromkeys(("micros", "time_us", "microseconds"), 1e-6),
    **dict.fromkeys(("time_s", "time", "seconds"), 1.0),
}
"""Names of the time column, in order of preference, with their unit in seconds."""

LARGEST_TIME_S = 1e15
"""Largest magnitude of a time; a line with a larger one is rejected. Times since 1970 in nanoseconds are smaller."""

JITTER_S = 0.0025
"""Jitter of a microcontroller's millisecond clock; a shorter delay is not a gap."""

_UNITS = {"gsr_us": "uS", "us": "uS", "µs": "uS", "microsiemens": "uS", "adc": "adc"}
_NUMBER = re.compile(rb"[ \t\r]*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[ \t\r]*")
_COMMENT = re.compile(r"#\s*(rate_hz|sampling rate \(hz\)|unit|adc_bits|resolution)\s*:\s*=?\s*(\S+)\s*", re.IGNORECASE)
_LONGEST_NAME, _MAX_NAMES = 32, 8
_FINEST_DENOMINATOR = 1 << 20
_SHORT_SPAN = 0.2
"""Largest tolerance of a rate that is rounded, for times of a short span."""
_USUAL_RATES = (
    *(
        1,
        2,
        4,
        5,
        8,
        10,
        15,
        16,
        20,
        24,
        25,
        30,
        32,
        40,
        50,
        60,
        64,
        75,
        80,
        100,
        120,
        125,
        128,
        150,
        200,
        240,
    ),
    *(250, 256, 300, 400, 480, 500, 512, 600, 750, 800, 860, 1000, 1024, 1200, 2000, 2048, 4000, 4096),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a line.

    columns: number of fields. value, time: index of the value and the time column. tick_s: unit of the time column in
    seconds. unit_named: whether a header names this unit.
    """

    columns: int
    value: int
    time: int | None = None
    tick_s: float = 1e-3
    unit_named: bool = False


def is_number(field: bytes) -> bool:
    """Whether a field is a plain decimal number, which "nan", "inf", "1_000" and "0x10" are not."""
    return _NUMBER.fullmatch(field) is not None


def columns_of(header: bytes) -> list[str]:
    """The names in a header line, in lower case, without quotes and surrounding spaces."""
    text = header.decode("utf-8", errors="replace").replace("μ", "µ")
    return [name.strip().strip("\"'").strip().lower() for name in text.split(",")]


def names_value(line: bytes) -> bool:
    """Whether a line is a header that names a value column."""
    return not set(VALUE_COLUMNS).isdisjoint(columns_of(line))


def layout_of(header: bytes | None, columns: int) -> tuple[Layout, str | None]:
    """The layout of lines with this number of fields, and the unit that the header names, or None.

    Without a header, lines are `value` or `millis,value`. Raises FormatError if the value column cannot be identified.
    """
    names = columns_of(header) if header is not None else []
    value = next((n for n in VALUE_COLUMNS if n in names), None)
    if value is not None:
        if len(names) != columns:
            raise FormatError(f"the header names {len(names)} columns but the lines have {columns}: correct the header")
        time = next((n for n in TIME_COLUMNS if n in names and n != value), None)
        if time is None:
            return Layout(columns, names.index(value)), _UNITS.get(value)
        return Layout(columns, names.index(value), names.index(time), TIME_COLUMNS[time], True), _UNITS.get(value)
    if columns == 1:
        return Layout(1, 0), None
    known = ", ".join(VALUE_COLUMNS)
    if len(names) == columns:
        shown = ", ".join(map(_printable, names[:_MAX_NAMES]))
        raise FormatError(f"none of the columns {shown} is skin conductance: rename its column to one of {known}")
    if columns == 2:
        return Layout(2, 1, 0), None
    raise FormatError(f"the lines have {columns} columns and no header: add one that names the value column ({known})")


def declared_by(comment: bytes, so_far: Declared) -> Declared:
    """Add the declaration of a comment line such as `# rate_hz: 128`. The first declaration of a property is kept.

    Raises FormatError if a declaration is invalid.
    """
    match = _COMMENT.fullmatch(comment.decode("utf-8", errors="replace"))
    if match is None:
        return so_far
    key, text = match[1].lower(), match[2]
    shown = _printable(match[0].strip())
    if key == "unit":
        return replace(so_far, unit=so_far.unit or _printable(text))
    if key in ("adc_bits", "resolution"):
        if not re.fullmatch("[0-9]{1,2}", text):
            raise FormatError(f"the comment {shown!r} is invalid: state the ADC's bits, such as 12")
        unit = so_far.unit or ("adc" if key == "resolution" else None)
        return replace(so_far, adc_bits=so_far.adc_bits or int(text), unit=unit)
    try:
        rate = parse_rate(text)
    except ValueError:
        raise FormatError(f"the comment {shown!r} is invalid: state the rate in Hz, such as 128") from None
    return replace(so_far, rate_hz=so_far.rate_hz or rate)


def majority(columns: list[int]) -> int:
    """The most frequent number of columns; on a tie, the one that occurs first."""
    return Counter(columns).most_common(1)[0][0]


def estimate_rate(times_s: NDArray[np.float64]) -> Fraction | None:
    """Estimate the sampling rate from times in seconds, shape (n,); None if the times do not increase.

    Gaps and steps backwards are ignored. The rate is rounded to a usual rate if the clock's resolution allows it, else
    to a whole number or a simple fraction of Hz. A rate below a millionth of a hertz is None.
    """
    steps = np.diff(times_s)
    steps = steps[steps >= 0]
    if len(steps) == 0 or (span := float(steps.sum())) <= 0:
        return None
    changes = np.flatnonzero(steps)
    if 1 < len(changes) < len(steps):
        # The clock is coarse: only the readings between two of its changes are complete.
        steps = steps[changes[0] + 1 : changes[-1] + 1]
        span = float(steps.sum())
    intervals = float(len(steps))
    steps = steps[steps > 0]
    median = float(np.median(steps))
    gaps = steps[steps > max(1.5 * median, median + JITTER_S)]
    with np.errstate(over="ignore"):
        intervals += float(np.sum(np.rint(gaps / median) - 1)) * round(intervals / len(steps))
    rate = intervals / span
    if not math.isfinite(rate):
        return None
    tolerance = rate * max(2e-3, min(_SHORT_SPAN, JITTER_S / span))
    usual = min(_USUAL_RATES, key=lambda r: abs(r - rate))
    if abs(usual - rate) <= tolerance:
        return Fraction(usual)
    if round(rate) >= 1 and abs(round(rate) - rate) <= tolerance / 4:
        return Fraction(round(rate))
    denominator = 1
    while abs((simple := Fraction(rate).limit_denominator(denominator)) - rate) > tolerance / 4 or simple <= 0:
        if denominator >= _FINEST_DENOMINATOR:
            return None
        denominator *= 2
    return simple


def _printable(text: str) -> str:
    """The text for a message, shortened, without control characters that a terminal would obey."""
    short = text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}..."
    return "".join(character if character.isprintable() else "?" for character in short)
