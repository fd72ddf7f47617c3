"""The nouns that every wire format shares: blocks of raw readings, and what was lost on the way to them."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.frame import Hello

__all__ = ["Declared", "RawBlock", "StreamCounts", "StreamDecoder"]


@dataclass(frozen=True, slots=True)
class Declared:
    """What a text stream says about itself in its header and comment lines; None where it says nothing."""

    rate_hz: Fraction | None = None
    unit: str | None = None
    adc_bits: int | None = None


@dataclass(frozen=True, slots=True)
class RawBlock:
    """Consecutive raw readings.

    values: float64, shape (n,), read-only, n >= 1: ADC counts or whatever unit the lines are in.
    first_index: index of values[0] in the sensor's own count; a jump from one block to the next is a gap.
    rate_hz: the sensor's rate.
    segment: rises whenever the sensor's count restarts.
    hello: what a framed device said of itself, else None.
    declared: what a text stream said of itself, else None.
    """

    values: NDArray[np.float64]
    first_index: int
    rate_hz: Fraction
    segment: int
    hello: Hello | None = None
    declared: Declared | None = None


@dataclass(frozen=True, slots=True)
class StreamCounts:
    """What a stream brought so far.

    samples: readings delivered. dropped: readings known to be missing: gaps in count or time, bad lines.
    rejected: frames or lines refused: CRC, duplicate, no number. discarded_bytes: bytes that made no sense.
    """

    samples: int = 0
    dropped: int = 0
    rejected: int = 0
    discarded_bytes: int = 0


class StreamDecoder(Protocol):
    """Bytes in, blocks of readings out. Blocks do not depend on how the bytes were cut into calls.

    `feed` and `finish` raise FormatError once it is certain that the bytes are not in this format; what was
    decoded before is returned first. Memory is bounded whatever arrives.
    """

    def feed(self, data: bytes) -> list[RawBlock]:
        """Decode more bytes."""
        ...

    def finish(self) -> list[RawBlock]:
        """Decode what is left at the end of the stream. Raises FormatError where nothing was ever found."""
        ...

    def complaint(self) -> str | None:
        """Why nothing was delivered so far, in one sentence; None while all is well."""
        ...

    def take_request(self) -> bytes:
        """Bytes to send to the device now; mostly none. Each request is handed out once."""
        ...

    @property
    def counts(self) -> StreamCounts:
        """What the stream brought so far."""
        ...
