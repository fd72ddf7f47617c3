"""Quality of single readings: saturation, a stuck converter, a loose electrode, lost samples."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.bridge import bridged, last_sample
from ekd_edge.signal.constant_runs import constant_runs
from ekd_edge.signal.intervals import Intervals, true_intervals
from ekd_edge.signal.preprocessor import WindowBatch
from ekd_edge.signal.spec import SignalSpec
from firmware_bridge.units import Unit

__all__ = ["SampleQuality", "push_qualities"]

_STUCK_S: Final = 1
_STUCK_SAMPLES: Final = 16
_STUCK_FACTOR: Final = 4
"""Constant readings count as stuck once they last 4 times as long as any constant run before in the segment, and at
least 1 s and 16 samples. A fine converter is detected within a second; a coarse converter at rest rarely counts."""

_TOP_MARGIN: Final = 2**-10
"""Averages of a saturated 10-bit converter stay below the top code of a finer one by this fraction of the range."""

_STEP: Final = 2**15
"""Samples processed at once: bounds the memory for a day of samples in one block."""


class SampleQuality:
    """Tracks the samples of one sensor and computes, for each window, the fractions of bad samples.

    The fractions depend only on the samples up to the window's end, not on their division into blocks. Only the
    intervals of bad samples are kept, so that a good signal costs neither memory nor time.

    spec: specification of the windows.
    """

    def __init__(self, spec: SignalSpec) -> None:
        self._spec = spec
        self._last_sample: SampleBlock | None = None
        self._longest = 0
        self._begin(0, Fraction(1))

    def push(self, block: SampleBlock) -> None:
        """Add samples; call `bad_fractions` for the windows that they complete before the next push."""
        push_qualities([self], [block])

    def bad_fractions(self, batch: WindowBatch) -> NDArray[np.float64]:
        """Fractions of saturated, stuck, electrode-off and interpolated samples, shape (k, 4), of k windows.

        Each is the larger one of the whole window and of its latest samples (`SignalSpec.recent_samples`).
        """
        kinds = self._saturated, self._stuck, self._off, self._bridged
        if len(batch) == 0 or not any(kinds):
            return np.zeros((len(batch), 4))
        end = np.minimum(batch.first_index + self._samples, self._next)
        start = np.stack((batch.first_index, end - self._recent))
        counts = np.stack([kind.count(start, end) for kind in kinds], axis=-1)
        found: NDArray[np.float64] = (counts / (end - start)[..., np.newaxis]).max(axis=0)
        for kind in kinds:
            kind.forget(self._next - 2 * self._samples)
        return found

    def _begin(self, first_index: int, rate_hz: Fraction) -> None:
        self._next = first_index
        per_sample = rate_hz / self._spec.rate_hz
        self._samples = max(1, int(self._spec.window_samples * per_sample))
        self._recent = max(1, int(self._spec.recent_samples * per_sample))
        self._least_stuck = max(_STUCK_SAMPLES, int(_STUCK_S * rate_hz))
        self._reading: float | None = None
        self._length = 0
        self._saturated, self._stuck, self._off, self._bridged = (Intervals() for _ in range(4))

    def _admit(self, block: SampleBlock) -> SampleBlock:
        """The block with a short gap before it filled; start again where it does not follow the last one."""
        block = bridged(self._last_sample, block, self._spec.bridge_s)
        last = self._last_sample
        at = block.segment, block.rate_hz, block.first_index
        if last is None or (last.segment, last.rate_hz, last.first_index + 1) != at:
            if last is None or last.segment != block.segment:
                self._longest = 0
            else:
                self._longest = max(self._longest, self._length)
            self._begin(block.first_index, block.rate_hz)
        self._last_sample = last_sample(block)
        return block

    def _add_marks(self, block: SampleBlock) -> None:
        """Take the interpolated samples and those with an electrode off."""
        if block.lead_off:
            self._off.add(block.first_index, block.first_index + block.values.shape[-1])
        if block.bridged is not None:
            for start, end in true_intervals(block.bridged, block.first_index):
                self._bridged.add(start, end)


def push_qualities(qualities: Sequence[SampleQuality], blocks: Sequence[SampleBlock]) -> None:
    """Push one block into each of several SampleQuality; equally long blocks are processed together.

    Args:
        qualities: k different ones.
        blocks: k blocks.
    """
    admitted = [
        (quality, quality._admit(block))
        for quality, block in zip(qualities, blocks, strict=True)
        if block.values.shape[-1] > 0
    ]
    admitted.sort(key=lambda each: each[1].values.shape[-1])
    for _, group in groupby(admitted, key=lambda each: each[1].values.shape[-1]):
        _push_equally_long(list(group))


def _push_equally_long(pushes: Sequence[tuple[SampleQuality, SampleBlock]]) -> None:
    readings = np.stack([block.values if block.readings is None else block.readings for _, block in pushes])
    lowest, highest = np.array([_ends(block) for _, block in pushes]).T[..., np.newaxis]
    for at in range(0, readings.shape[1], _STEP):
        rows = readings[:, at : at + _STEP]
        saturated = (rows <= lowest) | (rows >= highest)
        runs = constant_runs(
            rows,
            last=[np.nan if quality._reading is None else quality._reading for quality, _ in pushes],
            length=[quality._length for quality, _ in pushes],
            longest=[quality._longest for quality, _ in pushes],
            least=[quality._least_stuck for quality, _ in pushes],
            factor=_STUCK_FACTOR,
        )
        any_saturated = np.logical_or.reduce(saturated, axis=1).tolist()
        any_stuck = np.logical_or.reduce(runs.reached, axis=1).tolist()
        states = zip(rows[:, -1].tolist(), runs.length.tolist(), runs.longest.tolist(), strict=True)
        for i, ((quality, _), state) in enumerate(zip(pushes, states, strict=True)):
            quality._reading, quality._length, quality._longest = state
            if any_saturated[i]:
                for start, end in true_intervals(saturated[i], quality._next):
                    quality._saturated.add(start, end)
            if any_stuck[i]:
                for start, end, limit in runs.stuck(i):
                    quality._stuck.add(quality._next + start, quality._next + end, limit)
            quality._next += rows.shape[1]
    for quality, block in pushes:
        quality._add_marks(block)


def _ends(block: SampleBlock) -> tuple[float, float]:
    """The readings at the ends of the converter's range; infinite where the unit has no converter."""
    unit = block.unit
    if unit is None or block.readings is None or unit.kind not in ("adc", "divider"):
        return -np.inf, np.inf
    return 0.0, _highest_code(unit)


def _highest_code(unit: Unit) -> float:
    span = 2**unit.adc_bits
    return float(min(span - 1, span * (1 - _TOP_MARGIN)))
