"""Progress of a sweep on stderr: a live bar and one line per worker on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ekd_train.sweeps.jobs import Event

__all__ = ["SilentSweepReporter", "SweepReporter"]

QUIET_S = 30.0
"""Shortest time between two progress lines of a worker without a terminal, in seconds."""


class SweepReporter:
    """Shows the progress of a sweep; use it as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr, highlight=False)
        self._bar = Progress(
            TextColumn("sweep"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self.console,
        )
        self._lines = Progress(TextColumn("{task.description}", markup=False), console=self.console)
        self._live = Live(
            Group(self._bar, self._lines),
            console=self.console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._total: TaskID | None = None
        self._rows: dict[str, TaskID] = {}
        self._planned = 0
        self._done = 0
        self._shown_s: dict[str, float] = {}

    def __enter__(self) -> "SweepReporter":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def notify(self, text: str) -> None:
        """Show a message that stays visible."""
        self.console.print(text, markup=False, soft_wrap=True)

    def begin(self, planned: int, found: int) -> None:
        """The sweep begins: `planned` results, of them `found` finished already."""
        self._planned, self._done = planned, found
        self._total = self._bar.add_task("", total=planned, completed=found)
        if found:
            self.notify(f"{found} of {planned} results are finished already")

    def result(self, event: Event, method: str) -> None:
        """A result is finished."""
        self._done += 1
        if self._total is not None:
            self._bar.update(self._total, completed=self._done)
        self._say(f"{event.cell.name}  {method} done")

    def event(self, event: Event) -> None:
        """Show any other event."""
        if event.kind == "noted":
            self.notify(event.text)
            return
        line = f"{event.worker}: {event.cell.name}  {event.text or event.kind}"
        if event.kind in ("started", "progress"):
            self._show(event.worker, line)
            if not self.console.is_terminal and time.monotonic() - self._shown_s.get(event.worker, -QUIET_S) >= QUIET_S:
                self._shown_s[event.worker] = time.monotonic()
                self._say(f"{event.cell.name}  {event.text or 'started'} ({event.worker})")
            return
        if event.worker in self._rows:
            self._lines.remove_task(self._rows.pop(event.worker))
        if event.kind == "lost":
            self._say(f"{event.cell.name}  lost in attempt {event.attempt}, restarting: {event.text}")
        elif event.kind == "failed":
            self._say(f"{event.cell.name}  failed: {event.text}")

    def _show(self, worker: str, line: str) -> None:
        if worker in self._rows:
            self._lines.update(self._rows[worker], description=line)
        else:
            self._rows[worker] = self._lines.add_task(line, total=None)

    def _say(self, text: str) -> None:
        self.notify(f"[{self._done}/{self._planned}] {text}")


class SilentSweepReporter:
    """A reporter of a sweep that shows nothing."""

    def notify(self, text: str) -> None:
        """Drop the message."""

    def begin(self, planned: int, found: int) -> None:
        """Show nothing."""

    def result(self, event: Event, method: str) -> None:
        """Show nothing."""

    def event(self, event: Event) -> None:
        """Show nothing."""
