"""A sweep as one function call: plan, compute, report."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ekd_edge.errors import ConfigError
from ekd_train.config import TrainConfig
from ekd_train.sweeps.jobs import Executor
from ekd_train.sweeps.local import LocalExecutor, available_cores
from ekd_train.sweeps.plan import SweepPlan, plan_sweep
from ekd_train.sweeps.progress import SilentSweepReporter, SweepReporter
from ekd_train.sweeps.run import SweepOutcome, run_sweep

__all__ = ["SweepResult", "local_executor", "new_folder", "run_plan", "sweep"]

WORK = "ekd_train.sweeps.train_cell:run_cell"
MOST_LOCAL_WORKERS = 8


@dataclass(frozen=True, slots=True)
class SweepResult:
    """A finished sweep.

    path: its folder. outcome: numbers of results, and the failed cells. report: as in report.json, or None if there are
    no results.
    """

    path: Path
    outcome: SweepOutcome
    report: dict[str, Any] | None


def sweep(
    config: TrainConfig,
    data: str | None = None,
    out: Path | str | None = None,
    *,
    targets: Sequence[str] | None = None,
    split: str = "leave-one-out",
    seeds: int = 1,
    methods: Sequence[str] | None = None,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "auto",
) -> SweepResult:
    """Train every method on every fold, target and seed on this machine, and report.

    Args:
        config: the settings, such as of `load_preset("paper-16hz")`.
        data: the dataset, such as "deap:FOLDER"; None for the configuration's.
        out: the sweep's folder; None for runs/TIME-sweep. An existing sweep is continued.
        targets: the ratings to predict, one at a time; None for the configuration's.
        split: "leave-one-out", "k-fold:K", "holdout" or "trial-leaky".
        seeds: how many seeds.
        methods: names of `ekd_train.methods.METHODS`; None for those that the data allows.
        workers: number of cells trained at a time; None for one per core, or one on a GPU.
        threads: CPU threads of a worker; None for its share of the cores.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Returns:
        The folder, the outcome and the report.

    Raises:
        EkdError: the data cannot be used, or the folder has another sweep.
    """
    config = dataclasses.replace(
        config,
        data=config.data if data is None else data,
        targets=config.targets if targets is None else tuple(targets),
    )
    folder = Path(out) if out is not None else new_folder("sweep")
    plan = plan_sweep(config, split, seeds, list(methods) if methods is not None else None)
    if (folder / "sweep.json").exists():
        plan = SweepPlan.load(folder).extended(plan, folder)
    executor = local_executor(len(plan.cells()), workers=workers, threads=threads, device=device)
    return run_plan(plan, folder, executor)


def run_plan(
    plan: SweepPlan,
    folder: Path,
    executor: Executor,
    reporter: SweepReporter | SilentSweepReporter | None = None,
    stack: int = 1,
) -> SweepResult:
    """Compute the missing results of a sweep and write its report.

    Args:
        plan: of the sweep.
        folder: of the sweep.
        executor: runs the cells.
        reporter: shows progress; None for silence.
        stack: number of folds that are trained together as one network.

    Returns:
        The folder, the outcome and the report.

    Raises:
        ConfigError: the folder cannot be written, or another process works in it.
    """
    from ekd_train.report import write_report

    outcome = run_sweep(plan, folder, executor, reporter or SilentSweepReporter(), stack)
    return SweepResult(folder, outcome, write_report(folder) if outcome.finished else None)


def local_executor(
    cells: int, *, workers: int | None = None, threads: int | None = None, device: str = "auto", stack: int = 1
) -> LocalExecutor:
    """Return an executor of worker processes on this machine; their default number depends on its cores and GPU.

    Args:
        cells: number of cells of the sweep.
        workers: cells at a time, or None.
        threads: CPU threads of a worker, or None.
        device: as for `sweep`.
        stack: number of folds that are trained together as one network.

    Returns:
        The executor.

    Raises:
        ConfigError: the device cannot be used.
    """
    from ekd_train.training.device import pick_device

    if stack < 1:
        raise ConfigError("stack must be at least 1: leave it out to train each fold on its own")
    on_gpu = device != "cpu" and pick_device(device).type != "cpu"
    cores = available_cores()
    chosen = workers or min(1 if on_gpu else cores, MOST_LOCAL_WORKERS, -(-cells // stack))
    return LocalExecutor(chosen, threads or max(1, cores // chosen), device, WORK)


def new_folder(name: str) -> Path:
    """Return runs/TIME-NAME."""
    return Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
