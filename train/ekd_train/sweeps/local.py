"""Training of cells in persistent worker processes on this machine. Dead processes are replaced."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from ekd_train.sweeps.jobs import UNDER_WAY, Event, Job, Message, ending
from ekd_train.sweeps.worker import serve

__all__ = ["LocalExecutor", "available_cores"]

PATIENCE_S = 5.0


def available_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class LocalExecutor:
    """Runs cells in `workers` processes of `threads` CPU threads each, by the function that `work` names.

    If a worker process dies, it is replaced and its cell is restarted, up to `jobs.ATTEMPTS` attempts.
    """

    workers: int
    threads: int
    device: str = "cpu"
    work: str = "ekd_train.sweeps.train_cell:run_cell"

    def run(self, jobs: Sequence[Job]) -> Generator[Event, None, None]:
        """See `jobs.Executor`."""
        queue = deque(jobs)
        idle: list[_Worker] = []
        busy: dict[Connection, tuple[_Worker, Job]] = {}
        names = [f"worker {number}" for number in range(min(self.workers, len(queue)), 0, -1)]
        try:
            while queue or busy:
                while queue and (idle or names):
                    job = queue.popleft()
                    worker = idle.pop() if idle else self._start(names.pop())
                    busy[worker.pipe] = worker, job
                    yield Event("started", job.cell, worker.name, job.attempt)
                    worker.send(job)
                for pipe in wait(list(busy)):
                    assert isinstance(pipe, Connection)
                    worker, job = busy[pipe]
                    message = worker.receive()
                    if message[0] in UNDER_WAY:
                        yield Event(message[0], job.cell, worker.name, job.attempt, message[1])
                        continue
                    del busy[pipe]
                    if message[0] == "lost":
                        worker.end(at_once=True)
                        names.append(worker.name)
                    else:
                        idle.append(worker)
                    event, retry = ending(job, worker.name, message)
                    queue.extend([retry] if retry else [])
                    yield event
        finally:
            for worker, _ in busy.values():
                worker.end(at_once=True)
            for worker in idle:
                worker.end(at_once=False)

    def _start(self, name: str) -> "_Worker":
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        arguments = (theirs, self.work, self.device, self.threads)
        process = spawn.Process(target=serve, args=arguments, name=name)
        with _interrupts_blocked():
            process.start()
        theirs.close()
        return _Worker(name, process, ours)


@dataclass(frozen=True, slots=True)
class _Worker:
    name: str
    process: SpawnProcess
    pipe: Connection

    def send(self, job: Job) -> None:
        with suppress(OSError):  # the process died idle, which `receive` reports
            self.pipe.send(job)

    def receive(self) -> Message:
        try:
            message: Message = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(PATIENCE_S)
            return "lost", _cause(self.process.exitcode), ""
        return message

    def end(self, at_once: bool) -> None:
        """End the process, at once or after it has read the end of the pipe. Its files are complete in both cases."""
        self.pipe.close()
        if not at_once:
            self.process.join(PATIENCE_S)
        self.process.kill()
        self.process.join()
        self.process.close()


def _cause(status: int | None) -> str:
    if status is None:
        return "its worker stopped answering"
    if status >= 0:
        return f"its worker ended with status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    memory = ", possibly out of memory" if name == "SIGKILL" else ""
    return f"its worker was ended by {name}{memory}"


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in processes started here: only this process handles Ctrl-C, after the start."""
    resource_tracker.ensure_running()  # started with the first process, it would unblock SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
