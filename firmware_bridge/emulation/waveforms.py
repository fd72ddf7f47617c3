"""Waveforms for emulated devices: a recording in CSV, or a simulated person."""

import sys
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.devices.csv.decoder import CsvDecoder
from firmware_bridge.devices.stream import Declared, RawBlock
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.errors import FormatError, PortError
from firmware_bridge.synthesis import simulated_blocks
from firmware_bridge.units import BITALINO_FULL_SCALE_US

__all__ = ["person_waveform", "recorded_waveform"]

_CHUNK_BYTES = 1 << 16
_BLOCK_SAMPLES = 64
_SYNTHETIC_FULL_SCALE_US = 50.0


def person_waveform(rate_hz: Fraction, seed: int = 1, seconds: float | None = None, adc_bits: int = 16) -> Waveform:
    """The skin conductance of a simulated person (synthetic).

    Args:
        rate_hz: sampling rate.
        seed: seed of the simulated person.
        seconds: duration; None for an endless waveform.
        adc_bits: resolution of the emulated converter.
    """
    values = simulated_blocks(float(rate_hz), seed, _BLOCK_SAMPLES)
    return Waveform(_first(values, seconds, rate_hz), rate_hz, "uS", adc_bits)


def recorded_waveform(
    path: Path,
    rate_hz: Fraction | None = None,
    unit: str | None = None,
    adc_bits: int | None = None,
    seconds: float | None = None,
) -> Waveform:
    """The waveform of a CSV recording with a value, or a time and a value, on each line.

    Args:
        path: the file.
        rate_hz: sampling rate; None for the rate that the file states.
        unit: "uS" or "adc"; None for the unit that the file states.
        adc_bits: resolution, 1 to 16 bits; None for the resolution that the file states.
        seconds: duration to read; None for the whole recording.

    Raises:
        PortError: the file cannot be read.
        FormatError: the file is not a recording, or does not state its rate, unit or resolution.
    """
    blocks = _recording(path, rate_hz)
    first = next(blocks)
    declared = first.declared or Declared()
    found = unit or declared.unit
    if found not in ("uS", "adc"):
        raise FormatError(
            f"{path} does not state its unit, uS or adc: give it, or add the line '# unit: uS' to the file"
        )
    kind: Literal["uS", "adc"] = "uS" if found == "uS" else "adc"
    bits = adc_bits or (declared.adc_bits if kind == "adc" else 16)
    if bits is None or not 1 <= bits <= 16:
        raise FormatError(
            f"{path} does not state its resolution, 1 to 16 bits: give it, or add the line '# adc_bits: 10' to the file"
        )
    readings = _first((block.values for block in chain([first], blocks)), seconds, first.rate_hz)
    full_scale_us = _SYNTHETIC_FULL_SCALE_US if kind == "uS" else BITALINO_FULL_SCALE_US
    return Waveform(readings, first.rate_hz, kind, bits, full_scale_us)


def _recording(path: Path, rate_hz: Fraction | None) -> Iterator[RawBlock]:
    """The recording's readings, in at least one block."""
    decoder = CsvDecoder(rate_hz, live=False, hint=f"{path} is not a recording in CSV", strict=True)
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield from decoder.feed(chunk)
    except OSError as error:
        raise PortError(f"cannot read {path}: {error.strerror}; check the path") from error
    yield from decoder.finish()


def _first(
    blocks: Iterable[NDArray[np.float64]], seconds: float | None, rate_hz: Fraction
) -> Iterator[NDArray[np.float64]]:
    left = sys.maxsize if seconds is None else round(seconds * float(rate_hz))
    for block in blocks:
        yield block[:left]
        left -= len(block)
        if left <= 0:
            return
