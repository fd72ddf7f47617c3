"""The view of a terminal: one sensor as a line that is redrawn in place, several as a table on the other screen."""

import math
import textwrap
import threading
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import TextIO

from ekd_edge.formatting import origin
from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sinks.layout import one_line, table
from ekd_edge.sinks.pieces import Piece, look_of
from ekd_edge.sinks.screen import FullScreen, InlineLine, terminal_size
from ekd_edge.sinks.sensor_view import Labels, Progress, SensorView
from firmware_bridge.printable import printable

__all__ = ["LiveView", "WaitingLine"]

REDRAW_S = 0.25
"""Shortest time between two drawings of new predictions, and of samples while no window is complete."""
QUIET_S = 1.5
"""The same for samples between predictions."""
MAX_MESSAGES = 500


class LiveView:
    """A sink that shows one sensor as a line, or several as a table; safe from any thread.

    It draws when it is flushed, at most about four times a second.
    """

    wants_blocks = True

    def __init__(
        self,
        stream: TextIO,
        needed_s: float,
        labels: Labels,
        sources: Sequence[str | None] = (None,),
        synthetic: bool = False,
        color: bool | None = None,
        bridge_s: float = 0.0,
    ) -> None:
        """A view of the sensors.

        Args:
            stream: the terminal.
            needed_s: seconds of signal before the first window.
            labels: of each target.
            sources: of all sensors, as in `Prediction`, in the order in which they are shown.
            synthetic: mark that the model was trained on synthetic data.
            color: None reads NO_COLOR.
            bridge_s: seconds of the longest gap that is interpolated.
        """
        self._stream, self._look, self._mark = stream, look_of(stream, color), origin(synthetic)
        now_s = monotonic()
        self._sensors = {
            source: SensorView(source or "", Progress(needed_s, bridge_s), labels, now_s) for source in sources
        }
        self._line = InlineLine(stream, self._look) if len(self._sensors) == 1 else None
        self._screen = FullScreen(stream, self._look)
        self._messages: deque[str] = deque(maxlen=MAX_MESSAGES)
        self._lock = threading.Lock()
        self._predicted = self._closed = False
        self._drawn_s = self._drawn_prediction_s = -math.inf

    def observe(self, block: SampleBlock, source: str | None = None) -> None:
        """Take a block of a sensor."""
        with self._lock:
            self._sensors[source].observe(block, monotonic())

    def write(self, prediction: Prediction) -> None:
        """Show this prediction until the next of its sensor."""
        with self._lock:
            self._sensors[prediction.source].last = prediction
            self._predicted = True

    def flush(self) -> None:
        """Draw what changed, if the last drawing is long enough ago."""
        now_s = monotonic()
        with self._lock:
            if self._closed:
                return
            if self._predicted and now_s - self._drawn_prediction_s >= REDRAW_S:
                self._drawn_prediction_s = now_s
                self._draw(now_s)
                return
            waiting = any(sensor.waiting() for sensor in self._sensors.values())
            if now_s - self._drawn_s >= (REDRAW_S if waiting else QUIET_S):
                self._draw(now_s)

    def interrupt(self, text: str) -> None:
        """Print a message on this terminal: above the line, or below the table and once more at the end."""
        with self._lock:
            if self._closed:
                self._stream.write(f"{self._look.paint([(printable(text), '')])}\n")
                self._stream.flush()
            elif self._line is not None:
                self._line.interrupt(printable(text))
            else:
                self._messages.append(printable(text))
                self._draw(monotonic())

    def close(self) -> None:
        """Draw the latest state once more, as ordinary lines that stay."""
        now_s = monotonic()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._line is not None:
                if self._drawn_s > -math.inf:
                    self._draw(now_s)
                    self._line.end()
                return
            lines: list[Sequence[Piece]] = [[(message, "")] for message in self._messages]
            if self._drawn_s > -math.inf:
                lines += table([*self._sensors.values()], self._size(), self._look, self._mark, now_s)
            self._screen.close(lines)
            self._messages.clear()

    def _draw(self, now_s: float) -> None:
        self._predicted, self._drawn_s = False, now_s
        width, height = self._size()
        sensors = [*self._sensors.values()]
        if self._line is not None:
            self._line.draw(one_line(sensors[0], width, self._look, self._mark, now_s))
            return
        messages = self._latest_messages(width, max(height - len(sensors) - 2, height // 4))
        room = height - len(messages) - bool(messages)
        lines: list[Sequence[Piece]] = [*table(sensors, (width, room), self._look, self._mark, now_s)]
        if messages:
            lines += [[], *([(message, "dim")] for message in messages)]
        self._screen.draw(lines)

    def _size(self) -> tuple[int, int]:
        """Columns, without the last one, where the cursor would wait to wrap, and lines."""
        columns, lines = terminal_size(self._stream)
        return max(1, columns - 1), lines

    def _latest_messages(self, width: int, most: int) -> list[str]:
        lines: list[str] = []
        for message in reversed(self._messages):
            lines = [*textwrap.wrap(message, width), *lines]
            if len(lines) >= most:
                break
        return lines[len(lines) - most :] if most < len(lines) else lines


class WaitingLine:
    """A progress line until the first prediction, on a terminal where no predictions are printed."""

    wants_blocks = True

    def __init__(self, stream: TextIO, needed_s: float, bridge_s: float = 0.0) -> None:
        """needed_s: seconds of signal before the first window. bridge_s: seconds of the longest interpolated gap."""
        self._stream = stream
        self._line: InlineLine | None = InlineLine(stream, look_of(stream, color=False))
        self._progress = Progress(needed_s, bridge_s)
        self._lock = threading.Lock()
        self._drawn_s = -math.inf

    def observe(self, block: SampleBlock, source: str | None = None) -> None:
        """Count the block's samples."""
        with self._lock:
            self._progress.extend(block)

    def write(self, prediction: Prediction) -> None:
        """Erase the line at the first prediction."""
        self.close()

    def flush(self) -> None:
        """Redraw the line a few times a second."""
        with self._lock:
            if self._line is None or monotonic() - self._drawn_s < REDRAW_S:
                return
            self._drawn_s = monotonic()
            sentence = self._progress.sentence[: max(1, terminal_size(self._stream)[0] - 1)]
            self._line.draw([(sentence, "")])

    def interrupt(self, text: str) -> None:
        """Print a message above the line, or as it is where the line was erased."""
        with self._lock:
            if self._line is None:
                self._stream.write(f"{printable(text)}\n")
                self._stream.flush()
            else:
                self._line.interrupt(printable(text))

    def close(self) -> None:
        """Erase the line and print nothing more."""
        with self._lock:
            if self._line is not None:
                self._line.erase()
                self._line = None
