"""A sweep of stand-in cells, with their orders and a log of what they compute."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ekd_train.config import TrainConfig
from ekd_train.sweeps.jobs import Executor
from ekd_train.sweeps.local import LocalExecutor
from ekd_train.sweeps.plan import SweepPlan
from ekd_train.sweeps.progress import SweepReporter
from ekd_train.sweeps.run import SweepOutcome, run_sweep

STANDIN = "tests.ekd_train.sweeps.standin"
WORK = f"{STANDIN}.standin_cells:run"


@dataclass(frozen=True)
class Bench:
    """The folder of a sweep and the folder of the stand-in's files."""

    folder: Path
    scratch: Path

    def order(self, **orders: str) -> None:
        """Order the cells of these folds to do something in their second epoch, such as fold01="kill"."""
        named = {f"arousal-seed0-{fold}": order for fold, order in orders.items()}
        (self.scratch / "orders.json").write_text(json.dumps(named))

    def computed(self) -> list[dict[str, Any]]:
        path = self.scratch / "computed.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def epochs_of(self, cell: str, method: str = "student") -> list[int]:
        return [row["epoch"] for row in self.computed() if (row["cell"], row["method"]) == (cell, method)]

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "events.jsonl").read_text().splitlines()]

    def results(self) -> set[str]:
        return {path.relative_to(self.folder / "cells").as_posix() for path in self.folder.glob("cells/*/*.json")}

    def run(self, plan: SweepPlan, executor: Executor | None = None, console: Console | None = None) -> SweepOutcome:
        with SweepReporter(console or Console(file=io.StringIO())) as reporter:
            return run_sweep(plan, self.folder, executor or LocalExecutor(2, 1, work=WORK), reporter)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("EKD_STANDIN", str(scratch))
    made = Bench(tmp_path / "sweep", scratch)
    made.order()
    return made


@pytest.fixture
def make_plan() -> Callable[..., SweepPlan]:
    """Return a plan of three folds, with changes."""

    def make(**changes: Any) -> SweepPlan:
        fields: dict[str, Any] = {
            "config": TrainConfig(),
            "targets": ("arousal",),
            "seeds": (0,),
            "folds": 3,
            "methods": ("student",),
            "split": "k-fold:3",
            "identity": "synthetic?seed=0",
            "synthetic": True,
        }
        return SweepPlan(**fields | changes)

    return make
