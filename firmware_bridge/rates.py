"""Sampling rates: exact fractions of a hertz, within one range for every command and function."""

from fractions import Fraction

from firmware_bridge.errors import ConfigError

__all__ = ["MAX_RATE_HZ", "exact_rate", "rate_text"]

MAX_RATE_HZ = 100_000
"""Largest accepted sampling rate in Hz."""

_U32 = 1 << 32
_MAX_FLOAT_DENOMINATOR = 1_000_000


def exact_rate(value: str | float | Fraction, name: str) -> Fraction:
    """A sampling rate in Hz as an exact fraction.

    Args:
        value: a number, or a text such as "128", "19.5" or "1000/3". A float is rounded to the nearest fraction with a
            denominator of at most 1000000.
        name: the rate's name in the error message, such as "rate_hz".

    Returns:
        A fraction above 0 and at most `MAX_RATE_HZ`; numerator and denominator fit the u32 fields of a HELLO frame.

    Raises:
        ConfigError: the value is not a number or is out of range.
    """
    try:
        rate = Fraction(value)
        rate = rate.limit_denominator(_MAX_FLOAT_DENOMINATOR) if isinstance(value, float) else rate
    except (ValueError, OverflowError, TypeError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= MAX_RATE_HZ or rate.numerator >= _U32 or rate.denominator >= _U32:
        shown = repr(value) if isinstance(value, str) else value
        raise ConfigError(
            f"{name} is {shown}: give a number of Hz above 0 and at most {MAX_RATE_HZ}, such as 128, 19.5 or 1000/3"
        )
    return rate


def rate_text(rate_hz: Fraction) -> str:
    """A rate as a user writes it: "128", "19.5" or "1000/3"."""
    short = f"{float(rate_hz):.9g}"
    return short if Fraction(short) == rate_hz else str(rate_hz)
