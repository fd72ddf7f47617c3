"""Sample indices of a text stream's readings: gaps, restarts and blocks."""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.devices.csv.layout import JITTER_S
from firmware_bridge.devices.csv.parse import Parsed
from firmware_bridge.devices.stream import Declared, RawBlock

__all__ = ["Timeline"]

_RESTART_S = 86400.0
"""A longer step of the sensor's clock is a restart or a damaged time, not a gap."""


class Timeline:
    """Assigns sample indices to readings and divides them into blocks; for samples and dropped see `StreamCounts`."""

    def __init__(self, rate_hz: Fraction, declared: Declared) -> None:
        self._rate, self._declared = rate_hz, declared
        self._segment, self._next = 0, 0
        self._time = float("nan")
        self.samples = self.dropped = 0

    def restart(self, lost: int = 0) -> None:
        """Restart the sample count; `lost` readings were lost before the restart."""
        self._segment += 1
        self._next = 0
        self.dropped += lost

    def place(self, parsed: Parsed, lost: NDArray[np.int64]) -> list[RawBlock]:
        """Blocks of the next n >= 1 readings; lost[i] readings are missing before reading i."""
        values, restarts = parsed.values, np.zeros(len(parsed.values), dtype=np.bool_)
        if parsed.times_s is not None:
            steps = np.diff(parsed.times_s, prepend=self._time)
            self._time = float(parsed.times_s[-1])
            restarts = (steps < 0) | (steps > _RESTART_S)
            period = float(1 / self._rate)
            gaps = (steps > max(1.5 * period, period + JITTER_S)) & ~restarts
            lost = lost.copy()
            lost[gaps] = np.maximum(lost[gaps], np.rint(steps[gaps] / period).astype(np.int64) - 1)
        values.flags.writeable = False
        blocks: list[RawBlock] = []
        start = 0
        for cut in [*np.flatnonzero((lost != 0) | restarts).tolist(), len(values)]:
            if cut > start:
                piece = values[start:cut]
                blocks.append(RawBlock(piece, self._next, self._rate, self._segment, declared=self._declared))
                self._next += len(piece)
            if cut < len(values) and restarts[cut]:
                self.restart(int(lost[cut]))
            elif cut < len(values):
                self._next += int(lost[cut])
                self.dropped += int(lost[cut])
            start = cut
        self.samples += len(values)
        return blocks
