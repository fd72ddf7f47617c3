"""A sweep from its plan to its results: what is there is skipped, what happens is written down.

sweep.json                      the plan
cells/CELL/METHOD.json          one result; beside it the cell's weights and, unfinished, its checkpoints
events.jsonl                    what happened to each cell, notes on the data, the tracebacks that nobody should see
"""

import contextlib
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ekd_edge.atomic_files import alone_in, append_line
from ekd_edge.errors import ConfigError
from ekd_train.sweeps.cell import Cell
from ekd_train.sweeps.jobs import Event, Executor, Job
from ekd_train.sweeps.plan import SweepPlan
from ekd_train.sweeps.progress import SilentSweepReporter, SweepReporter

__all__ = ["SweepOutcome", "cell_folder", "is_finished", "run_sweep"]

RESULT_FORMAT = 1


@dataclass(frozen=True, slots=True)
class SweepOutcome:
    """How a sweep ended: results there are, those among them from before, and why cells failed, by their names."""

    planned: int
    finished: int
    found: int
    failed: Mapping[str, str]
    seconds: float


def cell_folder(folder: Path, cell: Cell) -> Path:
    """Where a cell's files are in the folder of its sweep."""
    return folder / "cells" / cell.name


def is_finished(folder: Path, cell: Cell, method: str) -> bool:
    """Whether the sweep in `folder` holds this result.

    Raises ConfigError where its file is damaged or another's: nothing is computed over it unasked.
    """
    path = cell_folder(folder, cell) / f"{method}.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = tuple(data[name] for name in ("format", "method", "target", "seed", "fold"))
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): delete it to have it computed again") from error
    if found != (RESULT_FORMAT, method, cell.target, cell.seed, cell.fold):
        raise ConfigError(f"{path} is no result of this cell: delete it to have it computed again")
    return True


def run_sweep(
    plan: SweepPlan, folder: Path, executor: Executor, reporter: SweepReporter | SilentSweepReporter, stack: int = 1
) -> SweepOutcome:
    """Compute what the plan's sweep in `folder` still lacks; `stack` folds at a time are trained side by side.

    Interrupted or killed at any moment, it goes on from the epochs that were finished. A cell that fails leaves the
    others alone. Raises ConfigError where the folder cannot be written or another process is at work in it.
    """
    started = time.monotonic()
    with alone_in(folder, "ekd-train sweep"):
        plan.save(folder)
        cells, methods = plan.cells(), plan.methods
        lacking = {cell: [method for method in methods if not is_finished(folder, cell, method)] for cell in cells}
        planned = len(cells) * len(methods)
        found = planned - sum(map(len, lacking.values()))
        jobs = _jobs(plan, folder, lacking, stack)
        together = {job.cell: (job.cell, *job.others) for job in jobs}
        failed: dict[str, str] = {}
        noted: set[str] = set()
        reporter.begin(planned, found)
        with contextlib.closing(executor.run(jobs)) as events:
            for event in events if jobs else ():
                for cell in together[event.cell]:
                    for method in [
                        name for name in lacking[cell] if (cell_folder(folder, cell) / f"{name}.json").exists()
                    ]:
                        lacking[cell].remove(method)
                        reporter.result(dataclasses.replace(event, cell=cell), method)
                missing = [name for cell in together[event.cell] for name in lacking[cell]]
                if event.kind == "finished" and missing:
                    reason = f"it ended without {missing[0]}.json"
                    event = dataclasses.replace(event, kind="failed", text=reason)
                if event.kind == "failed":
                    failed |= {cell.name: event.text for cell in together[event.cell]}
                if event.kind == "noted":
                    if event.text in noted:  # by another worker, who reads the same
                        continue
                    noted.add(event.text)
                if event.kind != "progress":
                    append_line(folder / "events.jsonl", _record(event))
                reporter.event(event)
        finished = planned - sum(map(len, lacking.values()))
    return SweepOutcome(planned, finished, found, failed, time.monotonic() - started)


def _jobs(plan: SweepPlan, folder: Path, lacking: Mapping[Cell, Sequence[str]], stack: int) -> list[Job]:
    """A job for every cell that lacks something, or for every `stack` of them that differ in the fold alone.

    Cells side by side lack the same: none is trained once more for another's sake.
    """
    groups: dict[tuple[str, int, tuple[str, ...]], list[Cell]] = {}
    for cell in (cell for cell, methods in lacking.items() if methods):
        groups.setdefault((cell.target, cell.seed, tuple(lacking[cell])), []).append(cell)
    jobs = []
    for (_, _, methods), cells in groups.items():
        for start in range(0, len(cells), stack):
            first, *others = cells[start : start + stack]
            jobs.append(Job(plan.config, first, methods, cell_folder(folder, first), others=tuple(others)))
    return jobs


def _record(event: Event) -> str:
    fields = dataclasses.asdict(event) | {"cell": event.cell.name, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    return json.dumps({name: value for name, value in fields.items() if value != ""})
