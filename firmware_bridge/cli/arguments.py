"""What the commands' arguments have in common."""

import argparse
from fractions import Fraction

__all__ = ["at_least_zero", "rate_argument"]

_U32 = 1 << 32


def rate_argument(text: str) -> Fraction:
    """A sampling rate in Hz, exact: "128", "19.5" or "1000/3".

    Raises argparse.ArgumentTypeError for what is none, or does not fit the two u32 of a HELLO frame.
    """
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no rate: write 128, 19.5 or 1000/3") from None
    if not 0 < rate.numerator < _U32 or rate.denominator >= _U32:
        raise argparse.ArgumentTypeError("a rate must be above zero, and a simple fraction")
    return rate


def at_least_zero(text: str) -> float:
    """A finite number of zero or more. Raises argparse.ArgumentTypeError for anything else."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} must be zero or a number above it")
    return number
