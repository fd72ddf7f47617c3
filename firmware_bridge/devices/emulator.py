"""The interface of emulated devices."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Burst", "Emulator", "in_pieces"]

_Reading = TypeVar("_Reading", np.float64, np.uint16)


@dataclass(frozen=True, slots=True)
class Burst:
    """Bytes that a device sends when it has taken `samples` samples since the start of its run."""

    samples: int
    data: bytes


class Emulator(Protocol):
    """An emulated device: the bytes that it sends and its answers. Its time is the count of its samples."""

    @property
    def baud(self) -> int:
        """Baud rate of the serial link."""
        ...

    @property
    def rate_hz(self) -> Fraction:
        """The current sampling rate in Hz."""
        ...

    @property
    def run(self) -> int:
        """Number of the current run, or 0 while the device sends nothing. It changes at each restart."""
        ...

    def bursts(self) -> Iterator[Burst]:
        """The bytes that the device sends in the current run, to the end of the waveform."""
        ...

    def receive(self, data: bytes) -> bytes:
        """Process bytes from the host, which may start or end a run, and return the device's answer."""
        ...

    def reset(self) -> None:
        """Restart the device as after a power cycle; the waveform continues."""
        ...


def in_pieces(blocks: Iterable[NDArray[_Reading]], size: int) -> Iterator[list[Any]]:
    """Split the readings into lists of `size` readings; the last list may be shorter."""
    rest: list[Any] = []
    for block in blocks:
        rest += block.tolist()
        whole = len(rest) - len(rest) % size
        for start in range(0, whole, size):
            yield rest[start : start + size]
        rest = rest[whole:]
    if rest:
        yield rest
