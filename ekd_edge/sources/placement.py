"""Places the blocks of one opening of a port: segment, true rate, baseline and wall-clock time."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from time import monotonic, time

from ekd_edge.signal.blocks import Baseline, SampleBlock, TimeAnchor
from ekd_edge.sources.rate_correction import RateCorrection
from firmware_bridge.serial_port.clock import ClockRate

__all__ = ["Placement"]

_LARGEST_ERROR_S = 0.05
"""Error of the wall-clock time at which it is corrected. Each correction divides the blocks, which costs CPU."""


class Placement:
    """Continues the segments of earlier openings, and replaces a stated rate that the device's clock contradicts.

    A change of the rate starts a segment, so that the time within a segment never runs backwards.

    first_segment: number of the first block's segment.
    """

    def __init__(self, first_segment: int) -> None:
        self._first_segment = first_segment
        self._device_segment: int | None = None
        self._segment = first_segment - 1
        self._correction = RateCorrection()
        self._anchor: TimeAnchor | None = None
        self.rate_hz: Fraction | None = None
        """The true rate of the latest block; None before the first."""
        self.clock: ClockRate | None = None
        self.baseline: Baseline | None = None
        """Start of the running normalization in each segment."""
        self.corrected = False
        """Whether the latest block's rate is not the stated one."""

    @property
    def began(self) -> bool:
        """Whether a block was placed."""
        return self._device_segment is not None

    @property
    def next_segment(self) -> int:
        """Number of the segment that follows."""
        return self._segment + 1

    def __call__(
        self, block: SampleBlock, clock: ClockRate | None, time_of: Callable[[int], float | None]
    ) -> SampleBlock:
        """The block with its segment, rate, baseline and anchor.

        Args:
            block: the device's next samples.
            clock: the device's clock measured by the host's; None while it is unknown.
            time_of: when a sample was measured, on the clock of `monotonic`; None while the clock is unknown.

        Returns:
            The same samples.
        """
        self.clock = clock
        rate_hz = self._correction(block.rate_hz, clock)
        if block.segment != self._device_segment or rate_hz != self.rate_hz:
            self._device_segment, self.rate_hz = block.segment, rate_hz
            self._segment += 1
            self._anchor = None
        self.corrected = rate_hz != block.rate_hz
        self._update_anchor(block, rate_hz, time_of)
        return replace(block, segment=self._segment, rate_hz=rate_hz, baseline=self.baseline, anchor=self._anchor)

    def _update_anchor(self, block: SampleBlock, rate_hz: Fraction, time_of: Callable[[int], float | None]) -> None:
        """Set the wall-clock time of the block's first sample where the present anchor is wrong by too much."""
        anchor, index = self._anchor, block.first_index
        measured_s = time_of(index)
        if measured_s is None:
            if anchor is not None:
                return
            # Before the clock is measured, the last sample of the block has just arrived.
            measured_s = monotonic() - float(block.values.shape[-1] / rate_hz)
        utc_s = measured_s + time() - monotonic()
        if anchor is None or abs(anchor.utc_s + float((index - anchor.index) / rate_hz) - utc_s) > _LARGEST_ERROR_S:
            self._anchor = TimeAnchor(index, round(utc_s, 3))
