"""The interface of executors, which take jobs and yield events."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from ekd_train.config import TrainConfig
from ekd_train.sweeps.cell import Cell

__all__ = ["ATTEMPTS", "UNDER_WAY", "Event", "Executor", "Job", "Message", "ending"]

Message = tuple[Literal["progress", "noted", "finished", "failed", "lost"], str, str]
"""A worker's message about its cell: (kind, text, detail) as in `Event`."""

UNDER_WAY = ("progress", "noted")
"""The kinds of message after which a cell continues."""

ATTEMPTS = 3
"""Number of times a cell is started before it counts as failed."""


@dataclass(frozen=True, slots=True)
class Job:
    """One cell, its missing methods, and the folder of its files.

    others: cells that are stacked with it; their folders have the same parent. Events of the cell apply to them, too.
    """

    config: TrainConfig
    cell: Cell
    methods: tuple[str, ...]
    folder: Path
    attempt: int = 1
    others: tuple[Cell, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a cell's state.

    kind: "started"; "progress", a progress line; "noted", a note about the data; "lost", the worker died and the cell
    is restarted; "finished"; "failed", the cell is not restarted. text: the line or the reason. detail: a traceback
    for the log, or empty.
    """

    kind: Literal["started", "progress", "noted", "lost", "finished", "failed"]
    cell: Cell
    worker: str
    attempt: int
    text: str = ""
    detail: str = ""


class Executor(Protocol):
    """Runs cells on this machine or on a cluster."""

    def run(self, jobs: Sequence[Job]) -> Generator[Event, None, None]:
        """Run every job to its end, "finished" or "failed"; closing the generator ends running cells."""
        ...


def ending(job: Job, worker: str, message: Message) -> tuple[Event, Job | None]:
    """The event of a message that ends an attempt, and the job to retry or None."""
    kind, text, detail = message
    if kind != "lost":
        return Event(kind, job.cell, worker, job.attempt, text), None
    if job.attempt < ATTEMPTS:
        return Event("lost", job.cell, worker, job.attempt, text, detail), replace(job, attempt=job.attempt + 1)
    given_up = f"gave up after {ATTEMPTS} attempts, the last: {text}"
    return Event("failed", job.cell, worker, job.attempt, given_up, detail), None
