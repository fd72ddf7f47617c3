"""The nouns that every wire format shares: blocks of raw readings, and what was lost on the way to them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from time import monotonic
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.devices.ekd.frame import Hello, Status

__all__ = ["Declared", "RawBlock", "StreamCounts", "StreamDecoder", "StreamOptions"]


@dataclass(frozen=True, slots=True)
class Declared:
    """What is known of a stream whose readings carry no HELLO; None where nothing is.

    rate_hz: sampling rate. unit: of the readings, as `firmware_bridge.units.parse_unit` spells it. adc_bits:
    resolution of counts. divider_zero: see `Unit`.
    """

    rate_hz: Fraction | None = None
    unit: str | None = None
    adc_bits: int | None = None
    divider_zero: float | None = None


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What is known of a stream beforehand.

    rate_hz: the sampling rate; it overrides the stream's own statement and is sent to a device whose rate can be set.
    live: the stream is joined at any moment and its device can be asked; else it is read from its beginning.
    hint: what to check when the bytes make no sense.
    settings: what the user set for this format, by name (`--format NAME:key=value`).
    clock: the host's clock in seconds, for what a live device does not state.
    """

    rate_hz: Fraction | None = None
    live: bool = True
    hint: str = "check the port and its baud rate"
    settings: Mapping[str, str] = field(default_factory=dict)
    clock: Callable[[], float] = monotonic


@dataclass(frozen=True, slots=True)
class RawBlock:
    """Consecutive raw readings.

    values: float64, shape (n,), read-only, n >= 1: ADC counts, or the unit of the lines.
    first_index: index of values[0] in the sensor's own count; a jump from one block to the next is a gap.
    rate_hz: the sensor's rate.
    segment: rises whenever the sensor's count restarts.
    hello: what a framed device said of itself, else None.
    declared: what is known of any other stream, from its own words or by its format.
    lead_off: whether the device says that an electrode is off.
    """

    values: NDArray[np.float64]
    first_index: int
    rate_hz: Fraction
    segment: int
    hello: Hello | None = None
    declared: Declared | None = None
    lead_off: bool = False


@dataclass(frozen=True, slots=True)
class StreamCounts:
    """What a stream brought so far.

    samples: readings delivered. dropped: readings known to be missing: gaps in count or time, bad lines.
    rejected: frames or lines refused: CRC, duplicate, no number. discarded_bytes: bytes that made no sense.
    status: the device's own status, else None.
    """

    samples: int = 0
    dropped: int = 0
    rejected: int = 0
    discarded_bytes: int = 0
    status: Status | None = None


class StreamDecoder(Protocol):
    """Bytes in, blocks of readings out. Blocks do not depend on how the bytes were cut into calls.

    `feed` and `finish` raise FormatError once it is certain that the bytes are not in this format; what was
    decoded before is returned first. Memory is bounded for any input.
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
        """Bytes to send to the device now; mostly none. Called again and again while the device is open."""
        ...

    def farewell(self) -> bytes:
        """Bytes that make the device stop, to be sent before the port is closed; mostly none."""
        ...

    @property
    def counts(self) -> StreamCounts:
        """What the stream brought so far."""
        ...
