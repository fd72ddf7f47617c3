"""Progress on stderr: a live bar on a terminal, one line per epoch elsewhere."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ekd_train.training.loop import EpochRecord

__all__ = ["TerminalReporter"]

QUIET_S = 10.0
"""Shortest time between two lines about reading without a terminal, in seconds."""


class TerminalReporter:
    """Implements `loop.RunReporter` on stderr; use it as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[score]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self._task: TaskID | None = None
        self._epochs = 0
        self._started = 0.0
        self._shown_s = -QUIET_S

    def __enter__(self) -> "TerminalReporter":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def notify(self, text: str) -> None:
        """Show a message that stays visible."""
        self.console.print(text, markup=False, soft_wrap=True)

    def reading(self, done: int, total: int) -> None:
        """`done` of `total` subjects have been read and converted."""
        text = f"reading subjects {done}/{total}"
        if self._task is None:
            self._task = self._bar.add_task(text, total=total, score="")
        self._bar.update(self._task, description=text, completed=done)
        if not self.console.is_terminal and time.monotonic() - self._shown_s >= QUIET_S:
            self._shown_s = time.monotonic()
            self.notify(text)

    def start(self, stage: str, epochs: int, done: int, batches_per_epoch: int) -> None:
        """A stage begins, or resumes after `done` epochs."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        total = epochs * batches_per_epoch
        completed = done * batches_per_epoch
        self._task = self._bar.add_task(f"{stage:<8}", total=total, completed=completed, score="")
        self._epochs, self._started = epochs, time.monotonic()
        if done:
            self.notify(f"{stage}: resumed after epoch {done} of {epochs}")

    def batch(self) -> None:
        """One batch is done."""
        if self._task is not None:
            self._bar.advance(self._task)

    def epoch(self, record: EpochRecord) -> None:
        """One epoch is done."""
        losses = "  ".join(f"{name} {value:.3f}" for name, value in record.losses.items())
        scores = f"validation accuracy {record.validation['accuracy']:.1%}"
        seconds = time.monotonic() - self._started
        mark = " *" if record.best else ""
        self.notify(
            f"{record.stage:<8} epoch {record.epoch + 1:>3}/{self._epochs}  {losses}  {scores}{mark}  {seconds:.0f} s"
        )
        if self._task is not None:
            self._bar.update(self._task, score=scores)
