"""Sample indices of a text stream's readings: gaps, restarts, damaged times and blocks."""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.devices.csv.parse import Parsed
from firmware_bridge.devices.stream import Declared, RawBlock
from firmware_bridge.tables.rates import JITTER_S

__all__ = ["Timeline"]

_RESTART_S = 86400.0
"""A longer step of the sensor's clock is a restart, not a gap."""
_PHASE_ROWS = 16

_Floats = NDArray[np.float64]
_Counts = NDArray[np.int64]


class Timeline:
    """Assigns sample indices to readings and divides them into blocks.

    Without times, each damaged line is a lost sample. With times, samples are lost only where the times show it: a
    damaged line between two readings that follow each other leaves no gap. Equal times are those of a clock with a
    coarse resolution. A reading whose time does not continue the one before waits for the next reading: if that one
    continues the one before, the time is damaged, and the reading is rejected.

    samples, dropped, rejected: see `StreamCounts`.

    Args:
        rate_hz: sampling rate.
        declared: properties for the blocks.
        coarse: whether several readings have the same time.
        jitter_s: jitter of the times; a shorter delay is not a gap.
    """

    def __init__(self, rate_hz: Fraction, declared: Declared, coarse: bool = False, jitter_s: float = JITTER_S) -> None:
        self._rate, self._declared = rate_hz, declared
        self._period_s = float(1 / rate_hz)
        self._slack_s = max(0.5 * self._period_s, jitter_s)
        self._coarse = coarse
        self._segment, self._next = 0, 0
        self._recent: _Floats = np.empty(0)
        """Times of the latest readings without a gap between them."""
        self._equal, self._first_run = 0, True
        """Number of the latest readings with the same time, and whether they are the first of the segment."""
        self._waiting: tuple[float, float, int] | None = None
        self.samples = self.dropped = self.rejected = 0

    def restart(self) -> None:
        """Restart the sample count of a stream without times."""
        self._segment += 1
        self._next = 0

    def flush(self) -> list[RawBlock]:
        """The blocks of readings that waited for the next one."""
        if self._waiting is None:
            return []
        value, time_s, lost = self._waiting
        self._waiting = None
        return self._place_timed(np.array([value]), np.array([time_s]), np.array([lost]))

    def place(self, parsed: Parsed, damaged: _Counts) -> list[RawBlock]:
        """Blocks of the next n >= 1 readings; damaged[i] lines before reading i were damaged."""
        values, times_s = parsed.values, parsed.times_s
        if times_s is None:
            return self._blocks(values, damaged, np.zeros(len(values), dtype=np.bool_))
        if self._waiting is not None:
            value, time_s, lines = self._waiting
            values, times_s = np.append(value, values), np.append(time_s, times_s)
            damaged = np.append(lines, damaged)
            self._waiting = None
        steps_s, equal, slack_s = self._steps(times_s)
        odd = self._is_odd(steps_s, equal, slack_s)
        if odd.any():
            kept, damaged = self._settle(values, times_s, damaged, odd, equal, slack_s)
            values, times_s, damaged = values[kept], times_s[kept], damaged[kept]
        return self._place_timed(values, times_s, damaged) if len(values) else []

    def _steps(self, times_s: _Floats) -> tuple[_Floats, _Counts, _Floats]:
        """The step to each time, how many readings before it have the time before it, and the slack of the step.

        The step to the first time is NaN. A number of equal times is uncertain by one, and the first such number is
        unknown, since the stream may begin between two changes of a coarse clock.
        """
        last = self._recent[-1] if len(self._recent) else np.nan
        steps_s = np.diff(times_s, prepend=last)
        rows = np.arange(len(times_s))
        changed = np.maximum.accumulate(np.where(steps_s != 0, rows, -1))
        before = np.append(-1, changed[:-1])
        equal = np.where(before >= 0, rows - before, rows + self._equal)
        slack_s = np.full(len(times_s), self._slack_s)
        several = (equal > 1) | self._coarse
        if several.any():
            slack_s[several] = max(self._slack_s, 1.5 * self._period_s)
            first = np.where(before >= 0, (_restarts(steps_s) | np.isnan(steps_s))[before], self._first_run)
            slack_s[several & first] = np.inf
        return steps_s, equal, slack_s

    def _is_odd(self, steps_s: _Floats, equal: _Counts, slack_s: _Floats) -> NDArray[np.bool_]:
        odd: NDArray[np.bool_] = (steps_s < 0) | (steps_s - equal * self._period_s > slack_s)
        return odd

    def _settle(
        self,
        values: _Floats,
        times_s: _Floats,
        damaged: _Counts,
        odd: NDArray[np.bool_],
        equal: _Counts,
        slack_s: _Floats,
    ) -> tuple[NDArray[np.bool_], _Counts]:
        """Which readings are kept: not those with a damaged time, nor an odd last one, which waits for the next."""
        damaged = damaged.copy()
        kept = np.ones(len(times_s), dtype=np.bool_)
        times, period_s = times_s.tolist(), self._period_s
        after = -1
        for row in np.flatnonzero(odd).tolist():
            if row < after:
                continue
            before_s = times[row - 1] if row else float(self._recent[-1])
            run = int(equal[row])
            at = row
            while at < len(times):
                step_s = times[at] - before_s
                if not (step_s < 0 or step_s - run * period_s > slack_s[row]):
                    break
                if at == len(times) - 1:
                    kept[at] = False
                    self._waiting = (float(values[at]), times[at], int(damaged[at]))
                    at += 1
                    break
                following_s = times[at + 1]
                if following_s < before_s or abs(following_s - before_s - (run + 1) * period_s) >= abs(
                    following_s - times[at] - period_s
                ):
                    break
                kept[at] = False
                self.rejected += 1
                damaged[at + 1] += damaged[at] + 1
                at += 1
            # Rows up to this one are settled; the next one follows a reading that was kept.
            after = at + 1 if at > row else row + 1
        return kept, damaged

    def _place_timed(self, values: _Floats, times_s: _Floats, damaged: _Counts) -> list[RawBlock]:
        steps_s, equal, slack_s = self._steps(times_s)
        restarts = _restarts(steps_s)
        gaps = self._is_odd(steps_s, equal, slack_s) & ~restarts
        lost = np.zeros(len(values), dtype=np.int64)
        lost[gaps] = np.rint(steps_s[gaps] / self._period_s).astype(np.int64) - equal[gaps]
        if self._slack_s > 0.5 * self._period_s and damaged.any():
            # The jitter exceeds half a period: only the mean of several times shows the loss of a few samples.
            self._count_small_gaps(times_s, damaged, lost, restarts)
        history = np.append(self._recent, times_s)
        breaks = np.flatnonzero((lost != 0) | restarts)
        contiguous = len(values) - int(breaks[-1]) if len(breaks) else len(history)
        self._recent = history[-min(contiguous, _PHASE_ROWS) :]
        changes = np.flatnonzero(steps_s != 0)
        if len(changes):
            self._equal, self._first_run = (
                len(values) - int(changes[-1]),
                bool((restarts | np.isnan(steps_s))[changes[-1]]),
            )
        else:
            self._equal += len(values)
        return self._blocks(values, lost, restarts)

    def _count_small_gaps(self, times_s: _Floats, damaged: _Counts, lost: _Counts, restarts: NDArray[np.bool_]) -> None:
        history = np.append(self._recent, times_s)
        offset = len(self._recent)
        begin = 0
        for row in np.flatnonzero((damaged != 0) | (lost != 0) | restarts).tolist():
            at = row + offset
            if damaged[row] and not lost[row] and not restarts[row] and at > begin:
                recent = history[max(begin, at - _PHASE_ROWS) : at]
                expected_s = float(recent.mean()) + (len(recent) + 1) / 2 * self._period_s
                late = round((float(history[at]) - expected_s) / self._period_s)
                lost[row] = min(int(damaged[row]), max(0, late))
            if lost[row] or restarts[row]:
                begin = at

    def _blocks(self, values: _Floats, lost: _Counts, restarts: NDArray[np.bool_]) -> list[RawBlock]:
        values.flags.writeable = False
        blocks: list[RawBlock] = []
        start = 0
        for cut in [*np.flatnonzero((lost != 0) | restarts).tolist(), len(values)]:
            if cut > start:
                piece = values[start:cut]
                blocks.append(RawBlock(piece, self._next, self._rate, self._segment, declared=self._declared))
                self._next += len(piece)
            if cut < len(values) and restarts[cut]:
                self._segment, self._next = self._segment + 1, 0
            elif cut < len(values):
                self._next += int(lost[cut])
                self.dropped += int(lost[cut])
            start = cut
        self.samples += len(values)
        return blocks


def _restarts(steps_s: _Floats) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (steps_s < 0) | (steps_s > _RESTART_S)
    return found
