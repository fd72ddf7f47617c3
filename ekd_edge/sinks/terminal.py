"""Predictions as text: a live line on a terminal, plain lines elsewhere, a progress line before the first window."""

import math
import os
import shutil
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from time import monotonic
from typing import TextIO

from ekd_edge.formatting import origin
from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sinks.line_sink import LineSink

__all__ = ["LiveLineSink", "TextSink", "WaitingLine", "bar", "clock", "plain_line", "sparkline"]

REDRAW_S = 0.2
COLUMN_S = 4.0
COLUMNS = 45
MIN_SPAN_US = 0.2

_BAR_WIDTHS = (10, 5, 0)
_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = "_.-~=+*#"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_STYLES = {"bold": "\x1b[1m", "dim": "\x1b[2m", "good": "\x1b[36m", "warn": "\x1b[33m"}

Piece = tuple[str, str]
"""A text and the name of its style, "" for none."""


def sparkline(values: Sequence[float], levels: str = _BLOCKS) -> str:
    """One character for each value, scaled to the range of the values, at least MIN_SPAN_US."""
    if not values:
        return ""
    low, high = min(values), max(values)
    slack = max(0.0, MIN_SPAN_US - (high - low)) / 2
    low, high = low - slack, high + slack
    top = len(levels) - 1
    return "".join(levels[round((value - low) / (high - low) * top)] for value in values)


def bar(fraction: float, width: int, unicode: bool = True) -> str:
    """A horizontal bar of `width` characters, filled by 0 to 1 in eighths of a character."""
    if not unicode:
        return ("#" * round(fraction * width)).ljust(width, ".")
    whole, part = divmod(round(fraction * width * 8), 8)
    return ("█" * whole + (_EIGHTHS[part] if part else "")).ljust(width, "·")


def clock(seconds: float) -> str:
    """Seconds on the sensor's clock as h:mm:ss."""
    minutes, second = divmod(math.floor(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}"


def plain_line(prediction: Prediction, synthetic: bool = False) -> str:
    """One prediction as one line without control characters."""
    parts = [clock(prediction.time_s)] if prediction.source is None else [prediction.source, clock(prediction.time_s)]
    for name, probabilities in prediction.probabilities.items():
        label = prediction.labels[name]
        parts.append(f"{name} -" if label is None else f"{name} {label} {max(probabilities):.0%}")
    parts.append(f"signal {prediction.quality.score:.0%}")
    if prediction.withheld:
        parts.append(f"withheld: {prediction.quality.reason}")
    return "  ".join(parts) + origin(synthetic)


class TextSink(LineSink):
    """Writes one plain line for each prediction; see `LineSink`."""

    def __init__(self, stream: TextIO, synthetic: bool = False) -> None:
        """synthetic: end each line with a mark that the model was trained on synthetic data."""
        super().__init__(stream, partial(plain_line, synthetic=synthetic))


class _Run:
    """Seconds of uninterrupted signal, and whether samples were missing before it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.after_gap = False
        self._next: tuple[int, int] | None = None

    def extend(self, block: SampleBlock) -> None:
        at = (block.segment, block.first_index)
        if self._next is not None and at != self._next:
            self.seconds = 0.0
            self.after_gap = True
        samples = block.values.shape[-1]
        self.seconds += float(samples / block.rate_hz)
        self._next = (block.segment, block.first_index + samples)


class WaitingLine:
    """A progress line until the first prediction, on a terminal where no predictions are printed."""

    wants_blocks = True

    def __init__(self, stream: TextIO, needed_s: float) -> None:
        self._stream = stream
        self._needed_s = needed_s
        self._run = _Run()
        self._done = False
        self._shown = False
        self._drawn = -math.inf

    def observe(self, block: SampleBlock, source: str | None = None) -> None:
        """Count the block's samples and redraw a few times a second."""
        self._run.extend(block)
        if self._done or monotonic() - self._drawn < REDRAW_S:
            return
        self._drawn = monotonic()
        self._shown = True
        self._stream.write(f"\r{waiting_text(self._run.seconds, self._needed_s, self._run.after_gap)}\x1b[K")
        self._stream.flush()

    def write(self, prediction: Prediction) -> None:
        """Erase the line at the first prediction."""
        self.close()

    def flush(self) -> None:
        """Do nothing: every change is drawn at once."""

    def close(self) -> None:
        """Erase the line and print nothing more."""
        if self._shown and not self._done:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
        self._done = True


def waiting_text(have_s: float, needed_s: float, after_gap: bool) -> str:
    """Progress towards the next window as a sentence."""
    window = "a window after the gap" if after_gap else "the first window"
    return f"waiting for {window}: {min(have_s, needed_s):.0f} of {math.ceil(needed_s)} s"


class LiveLineSink:
    """One line on a terminal, redrawn in place as samples and predictions arrive."""

    wants_blocks = True

    def __init__(self, stream: TextIO, needed_s: float, color: bool | None = None, synthetic: bool = False) -> None:
        """needed_s: seconds of signal before the first window. color: None reads NO_COLOR."""
        self._mark = origin(synthetic)
        self._stream = stream
        self._needed_s = needed_s
        self._color = color if color is not None else not os.environ.get("NO_COLOR")
        self._unicode = _can_encode(stream, _BLOCKS + _EIGHTHS + "µ·")
        self._run = _Run()
        self._columns: deque[tuple[int, float]] = deque(maxlen=COLUMNS)
        self._last: Prediction | None = None
        self._drawn = -math.inf

    def observe(self, block: SampleBlock, source: str | None = None) -> None:
        """Update the signal's curve and redraw a few times a second."""
        self._run.extend(block)
        if block.values.size:
            end_s = float((block.first_index + block.values.shape[-1]) / block.rate_hz)
            column, level = int(end_s // COLUMN_S), float(block.values[-1])
            if self._columns and self._columns[-1][0] == column:
                self._columns.pop()
            self._columns.append((column, level))
        if monotonic() - self._drawn >= REDRAW_S:
            self._draw()

    def write(self, prediction: Prediction) -> None:
        """Show this prediction until the next."""
        self._last = prediction
        self._draw()

    def flush(self) -> None:
        """Do nothing: every change is drawn at once."""

    def close(self) -> None:
        """End the line with a newline."""
        if self._drawn > 0:
            self._stream.write("\n")
        self._stream.flush()

    def line(self, width: int) -> list[Piece]:
        """The line's pieces, at most `width` characters in all; less important pieces are left out first."""
        width -= len(self._mark)
        unit = "µS" if self._unicode else "uS"
        level = f"{self._columns[-1][1]:6.2f} {unit}" if self._columns else f"     - {unit}"
        waiting = self._last is None or self._run.seconds < self._needed_s
        body: list[Piece]
        extras: list[Piece]
        if self._last is None or waiting:
            have, need = self._run.seconds, self._needed_s
            text = waiting_text(have, need, self._run.after_gap)
            body = [("  ", ""), (bar(min(1.0, have / need), 12, self._unicode), "dim"), (f" {text}", "")]
            extras = []
        else:
            last = self._last
            extras = [
                ("" if last.withheld else f"  signal {last.quality.score:.0%}", "dim"),
                (f"  {clock(last.time_s)}", "dim"),
                (f"  {last.latency_ms:.1f} ms", "dim"),
            ]
            room = width - len(level) - len(extras[0][0])
            verdicts = [self._verdict(last, bar_width) for bar_width in _BAR_WIDTHS]
            body = next((verdict for verdict in verdicts if _length(verdict) <= room), verdicts[-1])
        pieces = [(level, "bold"), *body]
        for extra in extras:
            if _length(pieces) + len(extra[0]) <= width:
                pieces.append(extra)
        room = min(COLUMNS, width - _length(pieces) - 2)
        if room >= 8 and self._columns:
            values = [value for _, value in self._columns][-room:]
            spark = sparkline(values, _BLOCKS if self._unicode else _ASCII_BLOCKS)
            pieces.insert(1, (f"  {spark.rjust(room)}", "good"))
        return [*_cut(pieces, width), (self._mark, "warn")] if self._mark else _cut(pieces, width)

    def _verdict(self, prediction: Prediction, bar_width: int) -> list[Piece]:
        pieces: list[Piece] = []
        for name, probabilities in prediction.probabilities.items():
            label = prediction.labels[name]
            pieces.append((f"  {name} ", ""))
            if label is None:
                pieces.append(("-", "warn"))
                continue
            # With two labels, the bar shows the probability of the last one: low on the left, high on the right.
            shown = probabilities[-1] if len(probabilities) == 2 else max(probabilities)
            if bar_width:
                pieces.append((f"{bar(shown, bar_width, self._unicode)} ", "good"))
            pieces.append((f"{label} {max(probabilities):4.0%}", "bold"))
        if prediction.withheld:
            pieces.append((f"  withheld: {prediction.quality.reason}", "warn"))
        return pieces

    def _draw(self) -> None:
        self._drawn = monotonic()
        width = shutil.get_terminal_size().columns - 1
        pieces = self.line(width)
        text = "".join(self._paint(text, style) for text, style in pieces)
        self._stream.write(f"\r{text}\x1b[K")
        self._stream.flush()

    def _paint(self, text: str, style: str) -> str:
        if not self._color or not style:
            return text
        return f"{_STYLES[style]}{text}\x1b[0m"


def _length(pieces: Iterable[Piece]) -> int:
    return sum(len(text) for text, _ in pieces)


def _cut(pieces: Iterable[Piece], width: int) -> list[Piece]:
    kept, left = [], width
    for text, style in pieces:
        if left > 0:
            kept.append((text[:left], style))
        left -= len(text)
    return kept


def _can_encode(stream: TextIO, text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
