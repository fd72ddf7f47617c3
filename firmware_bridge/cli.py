"""`ekd-firmware`: tools for the device's side of the wire.

Exit status: 0 when all was sent and read, 130 on Ctrl-C or SIGTERM, 2 for a fault, told in one sentence on stderr.
"""

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.arguments import rate_argument
from firmware_bridge.errors import EkdError, FormatError, PortError
from firmware_bridge.formats.csv import CsvDecoder
from firmware_bridge.formats.stream import Declared, RawBlock
from firmware_bridge.frame import Hello
from firmware_bridge.simulate import PtyDevice, frame_bursts, line_bursts, linear_hello, pace, to_counts

__all__ = ["main"]

_CHUNK_BYTES = 1 << 16
_BITALINO_FULL_SCALE_US = 25.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring for the status returned."""
    options = _parser().parse_args(argv)
    try:
        _simulate(options)
    except EkdError as error:
        print(f"ekd-firmware: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ekd-firmware", description="Tools for the device's side of the wire.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    simulate = commands.add_parser(
        "simulate",
        help="a simulated device on a pseudo-terminal",
        description="Play a recording as a sensor on a pseudo-terminal. The node's path is the first line on "
        "stdout; sending starts when a program opens it and ends when it has read everything.",
    )
    simulate.add_argument("--waveform", metavar="FILE", type=Path, required=True, help="CSV: value, or time and value")
    simulate.add_argument(
        "--rate", metavar="HZ", type=rate_argument, help="of the waveform, where the file does not tell it"
    )
    simulate.add_argument("--unit", choices=["uS", "adc"], help="of the waveform, where the file does not tell it")
    simulate.add_argument(
        "--adc-bits",
        metavar="N",
        type=int,
        choices=range(1, 17),
        help="of an adc waveform, or of the front end (16)",
    )
    simulate.add_argument("--format", choices=["ekd", "csv"], default="ekd", help="default: ekd")
    simulate.add_argument("--millis", action="store_true", help="csv lines carry the time in milliseconds")
    simulate.add_argument("--link", metavar="PATH", type=Path, help="make a symbolic link to the node")
    simulate.add_argument("--speed", metavar="X", type=_speed, default=1.0, help="times real time, 0: flat out (1)")
    simulate.add_argument("--paced", metavar="S", type=_speed, help="go on flat out after S seconds of signal")
    simulate.add_argument("--seconds", metavar="S", type=_speed, help="stop after S seconds of signal")
    return parser


def _speed(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} must be zero or a number above it")
    return number


def _simulate(options: argparse.Namespace) -> None:
    blocks = _waveform(options.waveform, options.rate)
    first = next(blocks)
    declared = first.declared or Declared()
    unit = options.unit or declared.unit
    if unit not in ("uS", "adc"):
        raise FormatError(f"{options.waveform} does not tell its unit: say --unit uS or --unit adc --adc-bits N")
    bits = options.adc_bits or (declared.adc_bits if unit == "adc" else 16)
    if bits is None or not 1 <= bits <= 16:
        raise FormatError(f"{options.waveform} does not tell its resolution: say --adc-bits N, 1 to 16")
    hello = linear_hello(first.rate_hz, bits, 50.0 if unit == "uS" else _BITALINO_FULL_SCALE_US)
    values = _values(chain([first], blocks), options.seconds)
    if options.format == "csv":
        bursts = line_bursts(values, hello.rate_hz, unit, bits if unit == "adc" else None, options.millis)
    else:
        bursts = frame_bursts(_counts(values, unit, hello, options.waveform), hello)
    timed = pace(bursts, hello.rate_hz, options.speed, options.paced)
    asked = hello if options.format == "ekd" else None
    with _interrupted_by_sigterm(), PtyDevice(timed, asked, options.link) as device:
        print(options.link or device.path, flush=True)
        device.wait()


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _waveform(path: Path, rate_hz: Fraction | None) -> Iterator[RawBlock]:
    """The recording's readings; at least one block."""
    decoder = CsvDecoder(rate_hz, live=False, hint=f"{path} is no recording in CSV", strict=True)
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield from decoder.feed(chunk)
    except OSError as error:
        raise PortError(f"cannot read {path}: {error.strerror}; check --waveform") from error
    yield from decoder.finish()


def _values(blocks: Iterator[RawBlock], seconds: float | None) -> Iterator[NDArray[np.float64]]:
    left = None
    for block in blocks:
        if left is None:
            left = sys.maxsize if seconds is None else round(seconds * float(block.rate_hz))
        yield block.values[:left]
        left -= len(block.values)
        if left <= 0:
            return


def _counts(values: Iterator[NDArray[np.float64]], unit: str, hello: Hello, path: Path) -> Iterator[NDArray[np.uint16]]:
    for block in values:
        if unit == "uS":
            yield to_counts(block, hello)
            continue
        if block.size and not 0 <= block.min() <= block.max() < 2**hello.adc_bits:
            raise FormatError(f"{path} holds readings beyond {hello.adc_bits} bits: correct --adc-bits or --unit")
        yield np.rint(block).astype(np.uint16)


if __name__ == "__main__":
    sys.exit(main())
