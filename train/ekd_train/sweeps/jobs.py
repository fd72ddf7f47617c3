"""What executors take and give: jobs in, events out."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from ekd_train.config import TrainConfig
from ekd_train.sweeps.cell import Cell

__all__ = ["ATTEMPTS", "UNDER_WAY", "Event", "Executor", "Job", "Message", "ending"]

Message = tuple[Literal["progress", "noted", "finished", "failed", "lost"], str, str]
"""What a worker says of its cell: (kind, text, detail) as in `Event`."""

UNDER_WAY = ("progress", "noted")
"""The kinds of message after which a cell goes on."""

ATTEMPTS = 3
"""How often a cell is begun before it counts as failed."""


@dataclass(frozen=True, slots=True)
class Job:
    """One cell, the methods that it still lacks, and the folder where its files go.

    others: cells trained side by side with it, whose folders lie beside its own. What is said of the cell is said of
    them as well.
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
    """Where cells are run: on this machine or on a cluster."""

    def run(self, jobs: Sequence[Job]) -> Generator[Event, None, None]:
        """Run every job to its end, "finished" or "failed"; closing the generator ends what is running."""
        ...


def ending(job: Job, worker: str, message: Message) -> tuple[Event, Job | None]:
    """What a message that ends an attempt means for its job: the event, and the job to begin again or None."""
    kind, text, detail = message
    if kind != "lost":
        return Event(kind, job.cell, worker, job.attempt, text), None
    if job.attempt < ATTEMPTS:
        return Event("lost", job.cell, worker, job.attempt, text, detail), replace(job, attempt=job.attempt + 1)
    given_up = f"gave up after {ATTEMPTS} attempts, the last: {text}"
    return Event("failed", job.cell, worker, job.attempt, given_up, detail), None
