"""Quality of single readings: saturation, a stuck converter, a loose electrode, lost samples."""

from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ekd_edge.signal.blocks import SampleBlock, bridge_marks
from ekd_edge.signal.bridge import bridged, last_sample
from ekd_edge.signal.preprocessor import WindowBatch
from ekd_edge.signal.spec import SignalSpec
from firmware_bridge.units import Unit

__all__ = ["SampleQuality"]

_STUCK_S: Final = 1
_STUCK_SAMPLES: Final = 16
_STUCK_FACTOR: Final = 4
"""Constant readings count as stuck once they last 4 times as long as any constant run before in the segment, and at
least 1 s and 16 samples. A fine converter is detected within a second; a coarse converter at rest rarely counts."""

_TOP_MARGIN: Final = 2**-10
"""Averages of a saturated 10-bit converter stay below the top code of a finer one by this fraction of the range."""


class SampleQuality:
    """Tracks the samples of one sensor and computes, for each window, the fractions of bad samples.

    The fractions depend only on the samples up to the window's end, not on their division into blocks.
    spec: specification of the windows.
    """

    def __init__(self, spec: SignalSpec) -> None:
        self._spec = spec
        self._last_sample: SampleBlock | None = None
        self._waiting: list[SampleBlock] = []
        self._longest = 0
        self._saturated: NDArray[np.bool_]
        self._off: NDArray[np.bool_]
        self._bridged: NDArray[np.bool_]
        self._run_lengths: NDArray[np.int64]
        self._stuck_lengths: NDArray[np.int64]
        self._begin(SampleBlock(np.empty(0), 0, Fraction(1)))

    def push(self, block: SampleBlock) -> None:
        """Add samples; call `bad_fractions` for the windows that they complete before the next push."""
        if block.values.shape[-1] == 0:
            return
        block = bridged(self._last_sample, block, self._spec.bridge_s)
        if not _follows(self._last_sample, block):
            if self._last_sample is None or self._last_sample.segment != block.segment:
                self._longest = 0
            else:
                self._process_waiting()
                self._longest = max(self._longest, self._length)
            self._begin(block)
        self._waiting.append(block)
        self._last_sample = last_sample(block)

    def bad_fractions(self, batch: WindowBatch) -> NDArray[np.float64]:
        """Fractions of saturated, stuck, electrode-off and interpolated samples, shape (k, 4), of k windows.

        Each is the larger one of the whole window and of its latest samples (`SignalSpec.recent_samples`).
        """
        if len(batch) == 0:
            return np.empty((0, 4))
        self._process_waiting()
        first = batch.first_index - self._start
        end = np.minimum(first + self._samples, len(self._run_lengths))
        start = np.stack((first, end - self._recent))
        begins = self._run_lengths == 1
        begins[0] = True
        firsts = np.flatnonzero(begins)
        lengths = np.diff(firsts, append=len(begins))
        lasts = firsts + lengths - 1
        reached = np.repeat(self._run_lengths[lasts] >= self._stuck_lengths[lasts], lengths)
        stuck = _count_set(reached, start, end)
        # Of a constant run at the window's end, only the samples up to that end count.
        last = end - 1
        early = reached[last] & (self._run_lengths[last] < self._stuck_lengths[last])
        stuck -= np.where(early, np.minimum(self._run_lengths[last], end - start), 0)
        saturated, off, filled = (_count_set(each, start, end) for each in (self._saturated, self._off, self._bridged))
        counts = np.stack([saturated, stuck, off, filled], axis=-1)
        found: NDArray[np.float64] = (counts / (end - start)[..., np.newaxis]).max(axis=0)
        keep = max(0, len(self._run_lengths) - 2 * self._samples)
        self._start += keep
        self._saturated, self._off = self._saturated[keep:], self._off[keep:]
        self._bridged = self._bridged[keep:]
        self._run_lengths, self._stuck_lengths = self._run_lengths[keep:], self._stuck_lengths[keep:]
        return found

    def _begin(self, block: SampleBlock) -> None:
        self._waiting = []
        self._start = block.first_index
        per_sample = block.rate_hz / self._spec.rate_hz
        self._samples = max(1, int(self._spec.window_samples * per_sample))
        self._recent = max(1, int(self._spec.recent_samples * per_sample))
        self._least_stuck = max(_STUCK_SAMPLES, int(_STUCK_S * block.rate_hz))
        self._last: float | None = None
        self._length, self._bound = 0, 0
        self._saturated, self._off, self._bridged = (np.empty(0, np.bool_) for _ in range(3))
        self._run_lengths, self._stuck_lengths = np.empty(0, np.int64), np.empty(0, np.int64)

    def _process_waiting(self) -> None:
        """Extend the flags and run lengths by the readings of all waiting blocks."""
        if not self._waiting:
            return
        blocks, self._waiting = self._waiting, []
        readings = np.concatenate([block.values if block.readings is None else block.readings for block in blocks])
        saturated = np.concatenate([_saturated(block) for block in blocks])
        off = np.concatenate([np.full(block.values.shape[-1], block.lead_off) for block in blocks])
        so_far, limit = self._constant_runs(readings)
        self._saturated = np.concatenate((self._saturated, saturated))
        self._off = np.concatenate((self._off, off))
        self._bridged = np.concatenate((self._bridged, *map(bridge_marks, blocks)))
        self._run_lengths = np.concatenate((self._run_lengths, so_far))
        self._stuck_lengths = np.concatenate((self._stuck_lengths, limit))

    def _constant_runs(self, readings: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each reading, the length of its constant run so far, and the length at which the run counts as stuck."""
        changes = np.empty(len(readings), np.bool_)
        changes[0] = self._last is None or readings[0] != self._last
        np.not_equal(readings[1:], readings[:-1], out=changes[1:])
        firsts = np.flatnonzero(changes)
        if not changes[0]:
            firsts = np.concatenate(([0], firsts))
        lengths = np.diff(firsts, append=len(readings))
        before = np.zeros(len(firsts), np.int64)
        before[0] = 0 if changes[0] else self._length
        if changes[0]:
            self._longest = max(self._longest, self._length)
        so_far = np.arange(1, len(readings) + 1) - np.repeat(firsts - before, lengths)
        ended = np.maximum.accumulate(np.concatenate(([self._longest], (lengths + before)[:-1])))
        bounds = np.maximum(self._least_stuck, _STUCK_FACTOR * ended)
        if not changes[0]:
            bounds[0] = self._bound
        self._last, self._length, self._bound = float(readings[-1]), int(so_far[-1]), int(bounds[-1])
        self._longest = int(ended[-1])
        return so_far, np.repeat(bounds, lengths)


def _follows(last: SampleBlock | None, block: SampleBlock) -> bool:
    return last is not None and (last.segment, last.rate_hz, last.first_index + 1) == (
        block.segment,
        block.rate_hz,
        block.first_index,
    )


def _count_set(flags: NDArray[np.bool_], start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of flags set from start up to end."""
    total = np.concatenate(([0], np.cumsum(flags)))
    counts: NDArray[np.int64] = total[end] - total[start]
    return counts


def _saturated(block: SampleBlock) -> NDArray[np.bool_]:
    """Flags of the readings at an end of the converter's range."""
    unit, readings = block.unit, block.readings
    if unit is None or readings is None or unit.kind not in ("adc", "divider"):
        return np.zeros(block.values.shape[-1], np.bool_)
    ends: NDArray[np.bool_] = (readings <= 0) | (readings >= _highest_code(unit))
    return ends


def _highest_code(unit: Unit) -> float:
    span = 2**unit.adc_bits
    return float(min(span - 1, span * (1 - _TOP_MARGIN)))
