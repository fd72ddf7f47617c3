"""Sampling rates: exact fractions of a hertz, within one range for every command, file, device and function."""

import re
from fractions import Fraction
from typing import Final

from firmware_bridge.errors import ConfigError

__all__ = ["MAX_RATE_HZ", "MIN_RATE_HZ", "exact_rate", "in_rate_range", "parse_rate", "rate_text"]

MIN_RATE_HZ: Final = Fraction(1, 1000)
"""Smallest accepted sampling rate in Hz."""
MAX_RATE_HZ: Final = 100_000
"""Largest accepted sampling rate in Hz."""

_U32 = 1 << 32
_MAX_FLOAT_DENOMINATOR = 1_000_000
_MAX_TEXT = 40
_DECIMAL = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?")
_RATIO = re.compile(r"[0-9]+/[0-9]+")


def parse_rate(text: str) -> Fraction:
    """The sampling rate in a text of at most 40 characters, such as "128", "19.5", "1.28e2" or "1000/3".

    The work is bounded for any text: no number of more than a hundred digits is computed. Raises ValueError for a text
    that is not a number of Hz from `MIN_RATE_HZ` to `MAX_RATE_HZ`.
    """
    if len(text) > _MAX_TEXT or not (_DECIMAL.fullmatch(text) or _RATIO.fullmatch(text)):
        raise ValueError("not a sampling rate in Hz")
    try:
        rate = Fraction(text)
    except ZeroDivisionError:
        raise ValueError("not a sampling rate in Hz") from None
    if not in_rate_range(rate):
        raise ValueError(f"a sampling rate is a number of Hz from {float(MIN_RATE_HZ):g} to {MAX_RATE_HZ}")
    return rate


def in_rate_range(rate_hz: Fraction) -> bool:
    """Whether a sampling rate is from `MIN_RATE_HZ` to `MAX_RATE_HZ`."""
    return MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ


def exact_rate(value: str | float | Fraction, name: str) -> Fraction:
    """A sampling rate in Hz as an exact fraction.

    Args:
        value: a number, or a text such as "128", "19.5" or "1000/3"; see `parse_rate`. A float is rounded to the
            nearest fraction with a denominator of at most 1000000.
        name: the rate's name in the error message, such as "rate_hz".

    Returns:
        A fraction from `MIN_RATE_HZ` to `MAX_RATE_HZ`; numerator and denominator fit the u32 fields of a HELLO frame.

    Raises:
        ConfigError: the value is not a number or is out of range.
    """
    try:
        if isinstance(value, str):
            rate = parse_rate(value.strip())
        else:
            rate = Fraction(value)
            rate = rate.limit_denominator(_MAX_FLOAT_DENOMINATOR) if isinstance(value, float) else rate
    except (ValueError, OverflowError, TypeError):
        rate = Fraction(0)
    if not in_rate_range(rate) or rate.numerator >= _U32 or rate.denominator >= _U32:
        shown = repr(value[:_MAX_TEXT]) if isinstance(value, str) else value
        raise ConfigError(
            f"{name} is {shown}: give a number of Hz from {float(MIN_RATE_HZ):g} to {MAX_RATE_HZ}, such as 128, 19.5 "
            "or 1000/3"
        )
    return rate


def rate_text(rate_hz: Fraction) -> str:
    """A rate as a user writes it: "128", "19.5" or "1000/3"."""
    short = f"{float(rate_hz):.9g}"
    return short if Fraction(short) == rate_hz else str(rate_hz)
