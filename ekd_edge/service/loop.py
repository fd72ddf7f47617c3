"""The loop of a running process: one selector for all ports, and everything that is due on each turn."""

import math
import os
import select
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from types import TracebackType

from ekd_edge.errors import EkdError
from ekd_edge.model.interpreter import Classifier
from ekd_edge.pipeline.stream import HeldSamples, PendingWindows, predict, windows_of
from ekd_edge.service.session import SensorSession
from ekd_edge.sinks.sink_group import SinkGroup

__all__ = ["SensorLoop", "Timer"]

_MAX_WAIT_S = 3600.0
_TIMER_SLACK_S = 1.0
"""A timer waits this long for a turn of the loop that has another cause, which saves wake-ups."""
_GRID_PER_SENSOR_S, _MAX_GRID_S = 2.5e-5, 0.03
"""The turns of many sensors are at least this far apart, and sensors that are due within it are read on one turn: their
windows are computed as one array."""


@dataclass(slots=True)
class Timer:
    """An action of the loop that is due every `every_s` seconds. It must not block, and its errors end the loop."""

    every_s: float
    action: Callable[[], None]
    due_s: float = 0.0


class SensorLoop:
    """A context manager that reads all sensors, classifies complete windows and writes predictions, in one thread.

    The loop sleeps until the first port is due (see `ReadSchedule`), an armed port has bytes, or a device is unplugged.
    A port that fails, with an error of any type, ends with one sentence that names it; the others continue.

    Args:
        sessions: with unique names.
        classifier: of the model; may be replaced while the loop runs.
        output: where predictions are written.
        notify: called with one sentence for each port that ends while others are left.
        timers: actions between the turns.
    """

    def __init__(
        self,
        sessions: Sequence[SensorSession],
        classifier: Classifier,
        output: SinkGroup,
        notify: Callable[[str], None],
        timers: Sequence[Timer] = (),
    ) -> None:
        self.classifier = classifier
        self._running = list(sessions)
        self._by_name = {session.name: session for session in sessions}
        self._output, self._notify, self._timers = output, notify, timers
        self._grid_s = min(_MAX_GRID_S, _GRID_PER_SENSOR_S * (len(sessions) - 1))
        self._epoll = select.epoll()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        self._woken = False
        self._turn_s = -math.inf
        self._watched: dict[SensorSession, tuple[int, bool]] = {}
        self._of_descriptor: dict[int, SensorSession] = {}

    def __enter__(self) -> "SensorLoop":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._epoll.close()
        os.close(self._wake_fd)

    def wake(self) -> None:
        """Begin the next turn now; may be called by a signal handler."""
        os.eventfd_write(self._wake_fd, 1)

    def run(
        self, stop: Callable[[], bool], deadline_s: float = math.inf, on_wake: Callable[[], None] | None = None
    ) -> None:
        """Run until stopped, until the deadline or until all sensors ended.

        Args:
            stop: whether to stop; asked on every turn.
            deadline_s: on the clock of `monotonic`.
            on_wake: called on the turn that `wake` begins, in the thread of the loop.

        Raises:
            EkdError: of the last sensor that failed, of the classifier, and of `output`.
            ReaderGoneError: of `output`.
        """
        while self._running and not stop() and monotonic() < deadline_s:
            woken = self._wait(deadline_s)
            now_s = self._turn_s = monotonic()
            if self._woken:
                self._woken = False
                if on_wake is not None:
                    on_wake()
            due = [each for each in self._running if each in woken or each.wake_s <= now_s + self._grid_s]
            for prediction in predict(self._complete_windows(due, now_s), self.classifier):
                self._by_name[prediction.source].on_prediction(prediction)
                self._output.write(prediction)
            self._output.flush()
            for timer in self._timers:
                if now_s >= timer.due_s:
                    timer.due_s = now_s + timer.every_s
                    timer.action()

    def _complete_windows(self, due: Sequence[SensorSession], now_s: float) -> list[PendingWindows]:
        """Read the ports that are due and plan their next reads; return the windows that are complete."""
        pending: list[PendingWindows] = []
        held: list[HeldSamples] = []
        for session in due:
            windows, more = self._read(session)
            pending += windows
            if more is not None:
                held.append(more)
        if held:
            pending += windows_of(held)
        complete = {one.pipeline for one in pending}
        for session in due:
            if session.failure is None and session.connection.ended:
                self._end(session, None)
            elif session.failure is None:
                session.plan(now_s, session.pipeline in complete)
                self._watch(session)
        return pending

    def _wait(self, deadline_s: float) -> set[SensorSession]:
        """Sleep until something is due; return the sessions whose port has bytes or was unplugged."""
        if (early_s := self._turn_s + self._grid_s - monotonic()) > 0:
            sleep(early_s)
        due_s = min(each.wake_s for each in self._running)
        timers_s = min((timer.due_s + _TIMER_SLACK_S for timer in self._timers), default=math.inf)
        wait_s = min(due_s, timers_s, deadline_s) - monotonic()
        events = self._epoll.poll(max(0.0, min(wait_s, _MAX_WAIT_S)))
        woken = set()
        for descriptor, _ in events:
            if descriptor == self._wake_fd:
                os.eventfd_read(self._wake_fd)
                self._woken = True
            else:
                woken.add(self._of_descriptor[descriptor])
        return woken

    def _watch(self, session: SensorSession) -> None:
        """Let the selector watch the session's port: for bytes where it is armed, else for a disconnection only."""
        descriptor, armed = session.connection.descriptor, session.armed
        wanted = None if descriptor is None else (descriptor, armed)
        present = self._watched.get(session)
        if wanted == present:
            return
        events = select.EPOLLIN | select.EPOLLRDHUP if armed else 0
        if wanted is not None and present is not None and wanted[0] == present[0]:
            self._epoll.modify(wanted[0], events)
        else:
            self._unwatch(session)
            if wanted is not None:
                self._epoll.register(wanted[0], events)
                self._of_descriptor[wanted[0]] = session
        if wanted is not None:
            self._watched[session] = wanted

    def _unwatch(self, session: SensorSession) -> None:
        present = self._watched.pop(session, None)
        if present is None or self._of_descriptor.get(present[0]) is not session:
            return
        del self._of_descriptor[present[0]]
        try:
            self._epoll.unregister(present[0])
        except OSError:
            # A descriptor that was closed has left the selector by itself.
            return

    def _read(self, session: SensorSession) -> tuple[list[PendingWindows], HeldSamples | None]:
        try:
            return session.read()
        except EkdError as error:
            self._end(session, error)
        except Exception as error:  # noqa: BLE001  a defect in one port's code must not end the others
            port = session.connection.port
            self._end(
                session, EkdError(f"{port} ended by a defect of ekd ({type(error).__name__}: {error}): report it")
            )
        return [], None

    def _end(self, session: SensorSession, error: EkdError | None) -> None:
        self._running.remove(session)
        self._unwatch(session)
        session.connection.close()
        if error is None:
            return
        session.failure = str(error)
        if not self._running:
            raise error
        self._notify(f"{error}; the other ports continue")
