"""Types that all device formats share: blocks of raw readings, counts of losses, options, the decoder interface."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from time import monotonic
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.devices.ekd.frame import Hello, Status
from firmware_bridge.tables.declared import Declared

__all__ = ["Declared", "RawBlock", "StreamCounts", "StreamDecoder", "StreamOptions"]


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Options of a stream that are known in advance.

    rate_hz: the sampling rate. It overrides the rate that the stream states, and a device with a configurable rate is
    set to it.
    default_rate_hz: the sampling rate of a stream that states none. A device with a configurable rate is set to it.
    live: whether the stream comes from a device, which receives requests. Its first line or frame may be incomplete.
    Otherwise the stream is a recording that is read from its start.
    hint: the remedy in error messages about bytes that cannot be decoded.
    settings: the settings of the format (`--format NAME:key=value`).
    clock: the host's clock in seconds, for times that a live device does not state.
    """

    rate_hz: Fraction | None = None
    live: bool = True
    hint: str = "check the port and its baud rate"
    settings: Mapping[str, str] = field(default_factory=dict)
    clock: Callable[[], float] = monotonic
    default_rate_hz: Fraction | None = None


@dataclass(frozen=True, slots=True)
class RawBlock:
    """Consecutive raw readings.

    values: float64, shape (n,) with n >= 1, read-only: ADC counts, or readings in the declared unit.
    first_index: index of values[0] in the sensor's sample count; a jump between two blocks is a gap.
    rate_hz: the sampling rate.
    segment: number of the segment; it rises when the sensor's sample count restarts.
    hello: the HELLO of a device with frames, or None.
    declared: the declared properties of any other stream, or None.
    lead_off: whether the device reports that an electrode is off.
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
    """Counts of a stream so far.

    samples: delivered readings. dropped: missing readings, by gaps in count or time and by invalid lines.
    rejected: invalid frames or lines (wrong CRC, duplicate, no number). discarded_bytes: bytes that were not decoded.
    status: the latest STATUS of the device, or None.
    """

    samples: int = 0
    dropped: int = 0
    rejected: int = 0
    discarded_bytes: int = 0
    status: Status | None = None


class StreamDecoder(Protocol):
    """Decodes bytes to blocks of readings. The readings do not depend on how the bytes are divided into calls.

    `feed` and `finish` raise FormatError when the bytes are certainly not in this format. Readings that were decoded
    before are returned first. Memory is bounded for any input.
    """

    def feed(self, data: bytes) -> list[RawBlock]:
        """Decode more bytes."""
        ...

    def finish(self) -> list[RawBlock]:
        """Decode the remaining bytes at the end of the stream. Raises FormatError if the stream had no valid data."""
        ...

    def failure_reason(self) -> str | None:
        """A sentence with the reason why no readings were decoded so far, or None."""
        ...

    def take_request(self) -> bytes:
        """The bytes to send to the device now, usually empty. The caller polls this while the device is open."""
        ...

    def stop_command(self) -> bytes:
        """The bytes that stop the device, to be sent before the port is closed; empty if there is no such command."""
        ...

    @property
    def counts(self) -> StreamCounts:
        """Counts of the stream so far."""
        ...
