"""Emulated faults of a serial line: resets, unplugging, stalls, flipped bits, lost bytes and clock errors."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from firmware_bridge.errors import ConfigError
from firmware_bridge.suggestions import did_you_mean

__all__ = ["FAULTS", "Fault", "FaultKind", "damage", "misread", "parse_fault"]

FaultKind = Literal["reset", "unplug", "stall", "flip", "drop", "ppm"]

FAULTS: dict[FaultKind, str] = {
    "reset": "the device restarts",
    "unplug": "the device is unplugged for VALUE seconds, or permanently without VALUE",
    "stall": "no bytes arrive for VALUE seconds, then all of them at once",
    "flip": "each later bit is flipped with probability VALUE",
    "drop": "each later byte is lost with probability VALUE",
    "ppm": "the device's clock is VALUE parts per million fast",
}

_SPELLING = re.compile(r"([a-z]+)(?:=([-+0-9.eE]+))?(?:@([0-9.eE+]+))?")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. kind: see `FAULTS`. value: its size; infinity means permanent. at_s: its time in seconds of signal."""

    kind: FaultKind
    value: float = float("inf")
    at_s: float = 0.0


def parse_fault(text: str) -> Fault:
    """Parse KIND, KIND=VALUE, KIND@SECONDS or KIND=VALUE@SECONDS. Raises ConfigError for other texts."""
    match = _SPELLING.fullmatch(text)
    kind = next((kind for kind in FAULTS if match is not None and kind == match[1]), None)
    if match is None or kind is None:
        hint = did_you_mean(re.split("[=@]", text)[0], FAULTS)
        raise ConfigError(
            f"{text!r} is not a fault: write KIND[=VALUE][@SECONDS], KIND one of {', '.join(FAULTS)}{hint}"
        )
    try:
        value = float(match[2] or "inf")
        at_s = float(match[3] or 0)
    except ValueError:
        raise ConfigError(f"{text!r} has an invalid number: write KIND[=VALUE][@SECONDS]") from None
    fits = {
        "reset": match[2] is None,
        "unplug": value > 0,
        "stall": 0 < value < float("inf"),
        "flip": 0 <= value <= 1,
        "drop": 0 <= value <= 1,
        "ppm": abs(value) < 1e6,
    }
    if not fits[kind]:
        raise ConfigError(f"the value of {text!r} is out of range: {kind} means that {FAULTS[kind]}")
    return Fault(kind, value, at_s)


def damage(data: bytes, faults: Sequence[Fault], random: np.random.Generator) -> bytes:
    """Apply the faults that flip bits or lose bytes to data; other kinds of faults are ignored."""
    for fault in faults:
        if fault.kind == "flip":
            bits = np.unpackbits(np.frombuffer(data, np.uint8))
            bits ^= random.random(len(bits)) < fault.value
            data = np.packbits(bits).tobytes()
        elif fault.kind == "drop":
            data = bytes(np.frombuffer(data, np.uint8)[random.random(len(data)) >= fault.value])
    return data


def misread(data: bytes, sent_baud: int, read_baud: int) -> bytes:
    """The bytes that a UART at read_baud receives when data is sent at sent_baud without pauses.

    A character has 8 data bits and no parity. A character without a stop bit is received as 0, as on Linux.
    """
    if sent_baud == read_baud or not data:
        return data
    octets = np.frombuffer(data, np.uint8)
    characters = np.zeros((len(octets), 10), dtype=np.uint8)
    characters[:, 1:9] = np.unpackbits(octets[:, None], axis=1, bitorder="little")
    characters[:, 9] = 1
    line = np.append(characters.ravel(), 1)
    bit = sent_baud / read_baud
    falls = np.flatnonzero((line[1:] == 0) & (line[:-1] == 1)) + 1
    falls = np.append(0, falls) if line[0] == 0 else falls
    read = bytearray()
    free = 0.0
    for fall in falls.tolist():
        if fall < free:
            continue
        start = float(fall)
        while start < len(line) and line[int(start)] == 0:
            at = np.minimum((start + (np.arange(1, 10) + 0.5) * bit).astype(int), len(line) - 1)
            levels = line[at]
            stopped = bool(levels[8])
            read.append(int(np.packbits(levels[:8], bitorder="little")[0]) if stopped else 0)
            start += 9.5 * bit  # the next start bit is accepted from the middle of the stop bit on
            free = start
            if stopped:
                break
    return bytes(read)
