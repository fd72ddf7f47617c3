"""The emulated devices' common face."""

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
    """Bytes that a device sends once it has taken `samples` samples since its run began."""

    samples: int
    data: bytes


class Emulator(Protocol):
    """A device without a wire: what it would send, and what it would answer. It knows no time but its samples."""

    @property
    def baud(self) -> int:
        """Bits a second on its serial link."""
        ...

    @property
    def rate_hz(self) -> Fraction:
        """Its sampling rate at present."""
        ...

    @property
    def run(self) -> int:
        """0 while it sends nothing; another number after each restart."""
        ...

    def bursts(self) -> Iterator[Burst]:
        """What it sends in the present run, to the waveform's end."""
        ...

    def hear(self, data: bytes) -> bytes:
        """Its answer to bytes from the host, which may start or end a run."""
        ...

    def reset(self) -> None:
        """What a power cycle does to it; the waveform goes on."""
        ...


def in_pieces(blocks: Iterable[NDArray[_Reading]], size: int) -> Iterator[list[Any]]:
    """The readings in lists of `size`; the last one may be shorter."""
    rest: list[Any] = []
    for block in blocks:
        rest += block.tolist()
        whole = len(rest) - len(rest) % size
        for start in range(0, whole, size):
            yield rest[start : start + size]
        rest = rest[whole:]
    if rest:
        yield rest
