"""The state of one sensor as the view of a terminal shows it."""

import math
from collections import deque
from collections.abc import Mapping, Sequence

from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.bridge import longest_bridge
from ekd_edge.sinks.pieces import Look, Piece, bar, sparkline
from firmware_bridge.printable import printable

__all__ = ["COLUMNS", "Labels", "Progress", "SensorView"]

COLUMN_S = 4.0
COLUMNS = 45
SILENT_S = 5.0
_WAIT_BAR = 12

Labels = Mapping[str, Sequence[str]]
"""The labels of each target, in the order of its probabilities."""


class Progress:
    """Seconds of uninterrupted signal towards the next window.

    after_gap: whether samples were missing before them. needed_s: seconds that the first window takes.
    bridge_s: the longest gap that is interpolated, see `ekd_edge.signal.spec.SignalSpec`; it interrupts nothing.
    """

    def __init__(self, needed_s: float, bridge_s: float = 0.0) -> None:
        self.needed_s = needed_s
        self.bridge_s = bridge_s
        self.seconds = 0.0
        self.after_gap = False
        self._next: tuple[int, int] | None = None

    def extend(self, block: SampleBlock) -> None:
        """Count the block's samples."""
        end = block.first_index + block.values.shape[-1]
        segment, start = self._next or (block.segment, block.first_index)
        missing = block.first_index - start
        if segment != block.segment or not 0 <= missing <= longest_bridge(self.bridge_s, block.rate_hz):
            self.seconds, start = 0.0, block.first_index
            self.after_gap = True
        self.seconds += float((end - start) / block.rate_hz)
        self._next = (block.segment, end)

    @property
    def waiting(self) -> bool:
        """Whether no window can be complete yet."""
        return self.seconds < self.needed_s

    @property
    def sentence(self) -> str:
        """The progress as a sentence."""
        window = "a window after the gap" if self.after_gap else "the first window"
        return f"waiting for {window}: {min(self.seconds, self.needed_s):.0f} of {math.ceil(self.needed_s)} s"


class SensorView:
    """One sensor: its level, the course of its signal, the progress to a window, the last prediction.

    name: as it is shown; empty where there is only one sensor. labels: of each target.
    last: the latest prediction, or None.
    """

    def __init__(self, name: str, progress: Progress, labels: Labels, now_s: float) -> None:
        self.name = printable(name)
        self.last: Prediction | None = None
        self._labels = labels
        self._progress = progress
        self._columns: deque[tuple[int, float]] = deque(maxlen=COLUMNS)
        self._seen_s = now_s

    def observe(self, block: SampleBlock, now_s: float) -> None:
        """Take a block that arrived at `now_s` of the monotonic clock."""
        self._seen_s = now_s
        self._progress.extend(block)
        if block.values.size:
            end_s = float((block.first_index + block.values.shape[-1]) / block.rate_hz)
            column, level = int(end_s // COLUMN_S), float(block.values[-1])
            if self._columns and self._columns[-1][0] == column:
                self._columns.pop()
            self._columns.append((column, level))

    def waiting(self) -> bool:
        """Whether there is no prediction of the present stretch of signal."""
        return self.last is None or self._progress.waiting

    def problem(self, now_s: float) -> bool:
        """Whether the sensor is silent, its signal has a gap, or its labels are withheld."""
        if self.waiting():
            return self._progress.after_gap or now_s - self._seen_s >= SILENT_S
        return now_s - self._seen_s >= SILENT_S or (self.last is not None and self.last.withheld)

    def level(self, look: Look) -> Piece:
        """The latest sample, always in the same width."""
        unit = "µS" if look.unicode else "uS"
        return (f"{self._columns[-1][1]:6.2f} {unit}" if self._columns else f"     - {unit}", "bold")

    def curve(self, width: int, look: Look) -> Piece:
        """The course of the last minutes, right-aligned in `width` columns."""
        values = [value for _, value in self._columns][-width:]
        return (f"  {sparkline(values, look.unicode).rjust(width)}", "good")

    def notice(self, now_s: float, look: Look) -> list[Piece]:
        """Why there is no label at present; empty where there is one."""
        if (silent_s := now_s - self._seen_s) >= SILENT_S:
            return [(f"  no samples for {silent_s:.0f} s", "warn")]
        if self.waiting():
            share = min(1.0, self._progress.seconds / self._progress.needed_s) if self._progress.needed_s else 1.0
            return [("  ", ""), (bar(share, _WAIT_BAR, look.unicode), "dim"), (f" {self._progress.sentence}", "")]
        if self.last is not None and self.last.withheld:
            reason = printable(self.last.quality.reason or "")
            return [*self.verdict(0, look), (f"  withheld: {reason}", "warn")]
        return []

    def verdict(self, bar_width: int, look: Look) -> list[Piece]:
        """Each target with its label and the probability of that label, after a bar of this width (0 for none)."""
        pieces: list[Piece] = []
        if self.last is None:
            return pieces
        for name in self.last.probabilities:
            label = self.last.labels[name]
            pieces.append((f"  {printable(name)} ", ""))
            if label is None:
                pieces.append(("-", "warn"))
                continue
            chance = self.last.label_probability(name, self._labels[name])
            if bar_width:
                pieces.append((f"{bar(chance, bar_width, look.unicode)} ", "good"))
            pieces.append((f"{printable(label)} {chance:4.0%}", "bold"))
        return pieces
