"""Packets of a Shimmer3: a header byte 0, 24 bits of a 32768 Hz clock, and the channels that the inquiry lists.

Sources: the command and channel numbers of the LogAndStream firmware, and the Shimmer GSR+ user guide for the
conversion: V = ADC * 3 V / 4095, R = Rf / (V / 0.5 V - 1) with Rf of the range in kOhm, uS = 1000 / (R in kOhm).
"""

import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CLOCK_HZ",
    "GSR",
    "RANGE_KOHM",
    "Inquiry",
    "find_inquiry",
    "find_packets",
    "from_microsiemens",
    "ticks_at",
    "to_microsiemens",
]

CLOCK_HZ = 32768
GSR = 0x1C
RANGE_KOHM = np.array([40.2, 287.0, 1000.0, 3300.0])
"""The feedback resistors of the four ranges in kOhm; bits 15 and 14 of a reading are the range."""

_WIDTHS = dict.fromkeys(range(41), 2) | {0x1B: 3, 0x1D: 1, 0x1E: 3, 0x1F: 3, 0x20: 1, 0x21: 3, 0x22: 3}
_INQUIRY = re.compile(rb"\x02(..)....(.).", re.DOTALL)
_HEAD_BYTES = 4
_VREF_V, _TOP, _BIAS_V = 3.0, 4095, 0.5
_LONGEST_PACKET = 84
_TICKS = range(8, CLOCK_HZ + 1)
"""Valid clock ticks between two samples, for rates from 4096 Hz to 1 Hz."""


@dataclass(frozen=True, slots=True)
class Inquiry:
    """The packet layout of a device.

    ticks: clock ticks between two samples. channels: numbers of the channels, in order.
    """

    ticks: int
    channels: tuple[int, ...]

    @property
    def rate_hz(self) -> Fraction:
        """The sampling rate in Hz."""
        return Fraction(CLOCK_HZ, self.ticks)

    @property
    def packet_bytes(self) -> int:
        """Length of a packet in bytes."""
        return _HEAD_BYTES + sum(_WIDTHS[channel] for channel in self.channels)

    @property
    def gsr_at(self) -> int:
        """Offset of the GSR reading in the packet. Raises ValueError if the packet has no GSR."""
        before = self.channels[: self.channels.index(GSR)]
        return _HEAD_BYTES + sum(_WIDTHS[channel] for channel in before)


def find_inquiry(data: bytes) -> Inquiry | None:
    """The first answer to an inquiry in these bytes, or None.

    An answer is 2, rate u16, configuration u32, number of channels u8, buffer size u8 and the channel numbers.
    """
    for match in _INQUIRY.finditer(data):
        ticks, count = int.from_bytes(match[1], "little"), match[2][0]
        channels = tuple(data[match.end() : match.end() + count])
        if ticks in _TICKS and len(channels) == count and all(channel in _WIDTHS for channel in channels):
            return Inquiry(ticks, channels)
    return None


def ticks_at(data: bytes, positions: NDArray[np.intp]) -> NDArray[np.int64]:
    """The clock values of the packets at these positions."""
    octets = np.frombuffer(data, np.uint8).astype(np.int64)
    clock: NDArray[np.int64] = octets[positions + 1] | octets[positions + 2] << 8 | octets[positions + 3] << 16
    return clock


def find_packets(
    data: bytes, count: int, length: int | None = None, ticks: int | None = None
) -> tuple[int, int, int] | None:
    """Find `count` consecutive packets.

    Args:
        data: the bytes to search.
        count: number of packets.
        length: length of a packet in bytes; None if unknown.
        ticks: clock ticks between two packets; None if unknown.

    Returns:
        Position, length and ticks of the first packet, or None.
    """
    octets = np.frombuffer(data, np.uint8)
    zeros = np.flatnonzero(octets == 0)
    for size in range(6, _LONGEST_PACKET + 1) if length is None else (length,):
        begins = zeros[zeros <= len(data) - count * size]
        for k in range(1, count):
            begins = begins[octets[begins + k * size] == 0]
        if not len(begins):
            continue
        clocks = np.stack([ticks_at(data, begins + k * size) for k in range(count)])
        steps = np.diff(clocks, axis=0) % (1 << 24)
        fits = (steps == steps[0]).all(axis=0) & (steps[0] >= _TICKS.start) & (steps[0] < _TICKS.stop)
        if ticks is not None:
            fits &= steps[0] == ticks
        if fits.any():
            first = int(np.flatnonzero(fits)[0])
            return int(begins[first]), size, int(steps[0][first])
    return None


def to_microsiemens(words: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Conductance in uS of raw GSR words; 0 for open electrodes."""
    volts = (words & 0x0FFF) * (_VREF_V / _TOP)
    conductance: NDArray[np.float64] = 1000.0 * (volts / _BIAS_V - 1.0) / RANGE_KOHM[words >> 14]
    return np.maximum(conductance, 0.0)


def from_microsiemens(microsiemens: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Raw GSR words of conductances in uS, each in the most sensitive range that it fills to at most 90 %."""
    most = 1000.0 * (_VREF_V / _BIAS_V - 1.0) / RANGE_KOHM * 0.9
    ranges = np.maximum((microsiemens[:, None] <= most).sum(axis=1) - 1, 0)
    volts = (microsiemens * RANGE_KOHM[ranges] / 1000.0 + 1.0) * _BIAS_V
    counts = np.clip(np.rint(volts * (_TOP / _VREF_V)), 0, _TOP)
    words: NDArray[np.uint16] = (ranges.astype(np.uint16) << np.uint16(14)) | counts.astype(np.uint16)
    return words
