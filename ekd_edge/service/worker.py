"""A thread for work that can block, such as writing to a disk: faults of a job are counted and never end the others."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Protocol

__all__ = ["Job", "JobFault", "Worker"]

_RETRY_S = 5.0
_CLOSE_S = 10.0


class Job(Protocol):
    """Work of one worker, called in its thread only."""

    @property
    def name(self) -> str:
        """What the job does, as a noun phrase for messages, such as "recording of /dev/ttyUSB0"."""

    def run(self) -> None:
        """Do what is due now; faults that the job can handle are handled here."""

    def finish(self) -> None:
        """Do what is left and release everything; called once, at the end."""


@dataclass(slots=True)
class JobFault:
    """Faults of one job. count: all so far. message: of the present one, None where the last round succeeded."""

    count: int = 0
    message: str | None = None
    retry_s: float = 0.0


class Worker:
    """A context manager with one thread that runs every job once at each `wake`, and finishes them at the end.

    A job that raises any exception is counted, marked as failing and tried again five seconds later.

    Args:
        name: of the thread.
        jobs: with unique names.
        notify: called in the worker's thread with one sentence when a job begins to fail and when it recovers; its own
            faults are ignored.
        close_s: a job that blocks for longer at the end is abandoned.
    """

    def __init__(
        self, name: str, jobs: Sequence[Job], notify: Callable[[str], None], close_s: float = _CLOSE_S
    ) -> None:
        self._jobs, self._notify, self._close_s = jobs, notify, close_s
        self._faults = {job.name: JobFault() for job in jobs}
        self._changed = threading.Condition()
        self._woken = self._ending = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> "Worker":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wake(self) -> None:
        """Run every job once more, soon; returns at once."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def close(self) -> None:
        """Finish every job; a worker that is blocked for `close_s`, by a dead disk for example, is abandoned."""
        with self._changed:
            wait_s = 0.0 if self._ending else self._close_s
            self._ending = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(wait_s)

    @property
    def is_blocked(self) -> bool:
        """After `close`: whether a job still blocks the thread."""
        return self._thread.is_alive()

    @property
    def faults(self) -> dict[str, JobFault]:
        """The faults of each job by its name; safe from any thread."""
        return dict(self._faults)

    def _run(self) -> None:
        while not self._wait():
            for job in self._jobs:
                if monotonic() >= self._faults[job.name].retry_s:
                    self._attempt(job, job.run)
        for job in self._jobs:
            self._attempt(job, job.finish)

    def _wait(self) -> bool:
        """Wait for `wake` or `close`; return whether to end."""
        with self._changed:
            while not self._woken and not self._ending:
                self._changed.wait()
            self._woken = False
            return self._ending

    def _attempt(self, job: Job, work: Callable[[], None]) -> None:
        fault = self._faults[job.name]
        try:
            work()
        except Exception as error:  # noqa: BLE001  the one handler of this thread: counted, shown by `ekd-edge status`
            fault.count += 1
            fault.retry_s = monotonic() + _RETRY_S
            message = f"{job.name} fails: {type(error).__name__}: {error}"
            if message != fault.message:
                fault.message = message
                self._say(f"{message}; it is tried again every {_RETRY_S:g} s")
            return
        if fault.message is not None:
            fault.message, fault.retry_s = None, 0.0
            self._say(f"{job.name} works again")

    def _say(self, message: str) -> None:
        try:
            self._notify(message)
        except Exception:  # noqa: BLE001  a closed stderr must not end the worker; the fault is counted either way
            return
