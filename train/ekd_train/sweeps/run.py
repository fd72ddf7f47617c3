"""Run a sweep. Finished results are skipped and events are logged.

sweep.json                      the plan
cells/CELL/METHOD.json          one result, next to the method's weights and checkpoints
events.jsonl                    events of each cell, notes about the data, tracebacks
"""

import contextlib
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ekd_edge.atomic_files import append_line, lock_folder
from ekd_edge.errors import ConfigError
from ekd_train.sweeps.cell import Cell
from ekd_train.sweeps.jobs import Event, Executor, Job
from ekd_train.sweeps.plan import SweepPlan
from ekd_train.sweeps.progress import SilentSweepReporter, SweepReporter

__all__ = ["SweepOutcome", "cell_folder", "is_finished", "run_sweep"]

RESULT_FORMAT = 1


@dataclass(frozen=True, slots=True)
class SweepOutcome:
    """The outcome of a sweep.

    planned, finished: numbers of results. found: finished results of earlier runs. failed: reasons by cell name.
    """

    planned: int
    finished: int
    found: int
    failed: Mapping[str, str]
    seconds: float


def cell_folder(folder: Path, cell: Cell) -> Path:
    """The folder of a cell's files in the folder of its sweep."""
    return folder / "cells" / cell.name


def is_finished(folder: Path, cell: Cell, method: str) -> bool:
    """Whether the sweep in `folder` holds this result.

    Raises ConfigError if its file is damaged or belongs to another cell: it is never overwritten automatically.
    """
    path = cell_folder(folder, cell) / f"{method}.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = tuple(data[name] for name in ("format", "method", "target", "seed", "fold"))
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): delete it to compute it again") from error
    if found != (RESULT_FORMAT, method, cell.target, cell.seed, cell.fold):
        raise ConfigError(f"{path} is not a result of this cell: delete it to compute it again")
    return True


def run_sweep(
    plan: SweepPlan, folder: Path, executor: Executor, reporter: SweepReporter | SilentSweepReporter, stack: int = 1
) -> SweepOutcome:
    """Compute the missing results of the sweep in `folder`.

    After an interruption it resumes from the finished epochs. A failed cell does not affect the others.

    Args:
        plan: of the sweep.
        folder: of the sweep.
        executor: runs the cells.
        reporter: shows progress.
        stack: number of folds that are trained together as one network.

    Returns:
        Counts of results and the failed cells.

    Raises:
        ConfigError: the folder cannot be written, or another process uses it.
    """
    started = time.monotonic()
    with lock_folder(folder, "ekd-train sweep"):
        plan.save(folder)
        cells, methods = plan.cells(), plan.methods
        missing_methods = {
            cell: [method for method in methods if not is_finished(folder, cell, method)] for cell in cells
        }
        planned = len(cells) * len(methods)
        found = planned - sum(map(len, missing_methods.values()))
        jobs = _jobs(plan, folder, missing_methods, stack)
        together = {job.cell: (job.cell, *job.others) for job in jobs}
        failed: dict[str, str] = {}
        noted: set[str] = set()
        reporter.begin(planned, found)
        with contextlib.closing(executor.run(jobs)) as events:
            for event in events if jobs else ():
                for cell in together[event.cell]:
                    for method in [
                        name for name in missing_methods[cell] if (cell_folder(folder, cell) / f"{name}.json").exists()
                    ]:
                        missing_methods[cell].remove(method)
                        reporter.result(dataclasses.replace(event, cell=cell), method)
                without_result = [name for cell in together[event.cell] for name in missing_methods[cell]]
                if event.kind == "finished" and without_result:
                    reason = f"it ended without {without_result[0]}.json"
                    event = dataclasses.replace(event, kind="failed", text=reason)
                if event.kind == "failed":
                    failed |= {cell.name: event.text for cell in together[event.cell]}
                if event.kind == "noted":
                    if event.text in noted:  # another worker read the same data
                        continue
                    noted.add(event.text)
                if event.kind != "progress":
                    append_line(folder / "events.jsonl", _record(event))
                reporter.event(event)
        finished = planned - sum(map(len, missing_methods.values()))
    return SweepOutcome(planned, finished, found, failed, time.monotonic() - started)


def _jobs(plan: SweepPlan, folder: Path, missing_methods: Mapping[Cell, Sequence[str]], stack: int) -> list[Job]:
    """Return a job for each cell with missing methods, or for each `stack` of such cells that differ only in the fold.

    Stacked cells miss the same methods, so none is trained twice.
    """
    groups: dict[tuple[str, int, tuple[str, ...]], list[Cell]] = {}
    for cell in (cell for cell, methods in missing_methods.items() if methods):
        groups.setdefault((cell.target, cell.seed, tuple(missing_methods[cell])), []).append(cell)
    jobs = []
    for (_, _, methods), cells in groups.items():
        for start in range(0, len(cells), stack):
            first, *others = cells[start : start + stack]
            jobs.append(Job(plan.config, first, methods, cell_folder(folder, first), others=tuple(others)))
    return jobs


def _record(event: Event) -> str:
    fields = dataclasses.asdict(event) | {"cell": event.cell.name, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    return json.dumps({name: value for name, value in fields.items() if value != ""})
