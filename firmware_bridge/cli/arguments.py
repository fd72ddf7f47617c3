"""Argument types and shared options of all ekd commands.

A type converts the text of an option to a checked value, or raises argparse.ArgumentTypeError with a sentence that
states the accepted values.
"""

import argparse
import math
from fractions import Fraction
from pathlib import Path

from firmware_bridge.errors import ConfigError
from firmware_bridge.home import expanded
from firmware_bridge.rates import exact_rate

__all__ = [
    "adc_bits",
    "add_port_argument",
    "count",
    "not_negative",
    "path_argument",
    "port_of",
    "positive",
    "rate_argument",
    "share",
    "size_bytes",
    "thread_count",
]


_MAX_ADC_BITS, _MAX_THREADS = 32, 1024
_MAX_DIGITS = 18
_SIZE_FACTORS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def rate_argument(text: str) -> Fraction:
    """An exact sampling rate in Hz, such as "128", "19.5" or "1000/3"; see `firmware_bridge.rates.exact_rate`."""
    try:
        return exact_rate(text, "the sampling rate")
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def path_argument(text: str) -> Path:
    """A path, see `firmware_bridge.home.expanded`."""
    try:
        return Path(expanded(text))
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> float:
    """A finite positive number."""
    number = _number(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above zero")
    return number


def not_negative(text: str) -> float:
    """A finite number that is zero or positive."""
    number = _number(text)
    if not number >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be zero or a positive number")
    return number


def share(text: str) -> float:
    """A number that is at least 0 and below 1."""
    number = _number(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a share from 0 to below 1, such as 0.2")
    return number


def count(text: str) -> int:
    """A whole number above zero."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number above zero")
    return int(text)


def thread_count(text: str) -> int:
    """A number of threads, 1 to 1024."""
    threads = count(text)
    if threads > _MAX_THREADS:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of threads, 1 to {_MAX_THREADS}")
    return threads


def adc_bits(text: str) -> int:
    """The resolution of a converter, 1 to 32 bits."""
    bits = count(text)
    if bits > _MAX_ADC_BITS:
        raise argparse.ArgumentTypeError(f"{text!r} must be the converter's resolution, 1 to {_MAX_ADC_BITS} bits")
    return bits


def size_bytes(text: str) -> int:
    """The number of bytes in a size such as "500M" or "2G"; K, M and G are powers of 1024."""
    number, factor = text[:-1], _SIZE_FACTORS.get(text[-1:].upper())
    if factor is None or not (number.isascii() and number.isdecimal() and len(number) <= _MAX_DIGITS):
        raise argparse.ArgumentTypeError(f"{text!r} must be a size such as 500M or 2G")
    return int(number) * factor


def add_port_argument(parser: argparse.ArgumentParser, about: str) -> None:
    """Add `--port PORT` and the positional argument PORT, which means the same; see `port_of`."""
    parser.add_argument("port_positional", metavar="PORT", nargs="?", help=about)
    parser.add_argument("--port", metavar="PORT", action="append", default=[], help="the same, as an option")


def port_of(options: argparse.Namespace) -> str:
    """The port that the options name. Raises ConfigError unless they name exactly one."""
    named = [port for port in (options.port_positional, *options.port) if port is not None]
    if len(named) != 1:
        raise ConfigError("name one port, such as --port /dev/ttyUSB0")
    return str(named[0])


def _number(text: str) -> float:
    """The finite number in a text, or NaN for any other text: NaN fails every comparison."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
