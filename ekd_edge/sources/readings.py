"""Conversion of a sensor's readings to microsiemens; readings outside the unit's range become gaps."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sources.stated import SensorOptions, unit_of_readings, unused_options
from firmware_bridge.devices.ekd.frame import Hello
from firmware_bridge.devices.stream import Declared, RawBlock, StreamCounts
from firmware_bridge.units import Unit

__all__ = ["ReadingConverter"]

_FEWEST_INVALID = 16
_MANY, _FEW = 0.1, 0.01
"""Share of the recent readings outside the range from which the sensor has a problem, and at which it ends."""
_RECENT_S = 2.0


class ReadingConverter:
    """Converts raw blocks to sample blocks. Readings outside the unit's range, as with open electrodes, become gaps.

    out_of_range: number of such readings. problem: a sentence while they are many, or None.

    Args:
        options: of the sensor.
        where: the port or file, for messages.
        option: the option that names it, for messages.
        live: whether the sensor is running. Then it continues where many readings are outside the range, as long as
            one was inside; a file is refused.
    """

    def __init__(self, options: SensorOptions, where: str, option: str, live: bool) -> None:
        self._options, self._where, self._option, self._live = options, where, option, live
        self._stated: Hello | Declared | None = None
        self._rate_hz: Fraction | None = None
        self._unit: Unit | None = None
        self._notified: set[str] = set()
        self._in_range = 0
        self._recent_share = 0.0
        self.out_of_range = 0
        self.problem: str | None = None

    def __call__(
        self, blocks: Iterable[RawBlock], notify: Callable[[str], None] | None = None
    ) -> Iterator[SampleBlock]:
        """The blocks in microsiemens.

        Args:
            blocks: raw readings.
            notify: called once with each option of the user that is not used, as the sensor states something else, and
                where a problem begins or ends.

        Yields:
            Blocks of the readings in the unit's range.

        Raises:
            FormatError: the unit is unknown.
            SignalError: the readings do not fit the unit.
        """
        for block in blocks:
            stated = block.hello or block.declared
            if self._unit is None or block.rate_hz != self._rate_hz or stated != self._stated:
                self._unit = unit_of_readings(block, self._options)
                self._stated, self._rate_hz = stated, block.rate_hz
                if notify is not None:
                    self._notify_unused(block, self._unit, notify)
            valid = self._unit.in_range(block.values)
            good = int(np.count_nonzero(valid))
            self._in_range += good
            self.out_of_range += len(valid) - good
            self._follow(block, self._unit, valid, good, notify)
            if good == len(valid):
                yield _sample_block(block, self._unit, 0, good)
                continue
            self._check(block, self._unit)
            edges = np.flatnonzero(np.diff(valid, prepend=False, append=False)).tolist()
            for start, stop in zip(edges[::2], edges[1::2], strict=True):
                yield _sample_block(block, self._unit, start, stop)

    def joined(self, counts: StreamCounts) -> StreamCounts:
        """The counts of the stream, in which readings outside the unit's range count as rejected and dropped."""
        lost = self.out_of_range
        return StreamCounts(
            counts.samples - lost, counts.dropped + lost, counts.rejected + lost, counts.discarded_bytes, counts.status
        )

    def _check(self, block: RawBlock, unit: Unit) -> None:
        """Raise SignalError where the readings do not fit the unit."""
        if self.out_of_range < _FEWEST_INVALID or (self._live and self._in_range):
            return
        if self.out_of_range > self._in_range / 10:
            unit.to_microsiemens(block.values)

    def _follow(
        self,
        block: RawBlock,
        unit: Unit,
        valid: NDArray[np.bool_],
        good: int,
        notify: Callable[[str], None] | None,
    ) -> None:
        """Begin or end the problem by the share of the recent readings that are outside the range."""
        if good == len(valid) and self._recent_share == 0:
            return
        kept = max(0.0, 1 - len(valid) / (_RECENT_S * float(block.rate_hz)))
        self._recent_share = kept * self._recent_share + (1 - kept) * (1 - good / len(valid))
        before = self.problem
        if self._recent_share > _MANY and self.out_of_range >= _FEWEST_INVALID and self._in_range:
            if good < len(valid):
                self.problem = f"many readings of {self._where} are no conductance: {unit.fault_of(block.values)}"
        elif self._recent_share < _FEW:
            self._recent_share, self.problem = 0.0, None
        if notify is None or (before is None) == (self.problem is None):
            return
        notify(self.problem or f"the readings of {self._where} are a conductance again")

    def _notify_unused(self, block: RawBlock, unit: Unit, notify: Callable[[str], None]) -> None:
        for sentence in unused_options(block, unit, self._options, self._where, self._option):
            if sentence not in self._notified:
                self._notified.add(sentence)
                notify(sentence)


def _sample_block(block: RawBlock, unit: Unit, start: int, stop: int) -> SampleBlock:
    readings = block.values[start:stop]
    values = unit.converted(readings)
    values.flags.writeable = False
    first = block.first_index + start
    return SampleBlock(values, first, block.rate_hz, block.segment, readings, unit, block.lead_off)
