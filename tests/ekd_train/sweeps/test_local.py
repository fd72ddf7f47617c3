"""Local sweeps with real worker processes, some of them killed."""

import errno
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from ekd_edge.errors import ConfigError
from ekd_train.sweeps.jobs import Event, Job
from ekd_train.sweeps.local import LocalExecutor
from ekd_train.sweeps.plan import SweepPlan
from ekd_train.sweeps.progress import SweepReporter
from ekd_train.sweeps.run import run_sweep

from .conftest import STANDIN, WORK, Bench

Plans = Callable[..., SweepPlan]


def test_local_sweep_computes_every_result_once_in_persistent_workers(bench: Bench, make_plan: Plans) -> None:
    plan = make_plan(folds=4, methods=("student", "kd"), seeds=(0, 1))
    outcome = bench.run(plan)
    assert (outcome.planned, outcome.finished, outcome.found, outcome.failed) == (16, 16, 0, {})
    assert bench.results() == {f"{cell.name}/{method}.json" for cell in plan.cells() for method in plan.methods}
    counts = Counter((row["cell"], row["method"], row["epoch"]) for row in bench.computed())
    assert len(counts) == 16 * 3
    assert set(counts.values()) == {1}
    assert 1 <= len({row["pid"] for row in bench.computed()}) <= 2
    assert os.getpid() not in {row["pid"] for row in bench.computed()}
    assert not list(bench.folder.rglob("checkpoint-*"))
    kinds = Counter(event["kind"] for event in bench.events())
    assert kinds == {"started": 8, "noted": 1, "finished": 8}, "what all cells say of the data is noted once"
    assert SweepPlan.load(bench.folder) == plan


def test_stack_joins_only_cells_with_the_same_missing_methods(bench: Bench, make_plan: Plans) -> None:
    seen: list[Job] = []

    class Idle:
        def run(self, jobs: Sequence[Job]) -> Iterator[Event]:
            seen.extend(jobs)
            yield from ()

    bench.run(make_plan(folds=1))
    plan = make_plan(folds=6, methods=("student", "kd"))
    with SweepReporter(Console(file=io.StringIO())) as reporter:
        run_sweep(plan, bench.folder, Idle(), reporter, stack=3)  # type: ignore[arg-type]
    folds = [(job.methods, [job.cell.fold, *(cell.fold for cell in job.others)]) for job in seen]
    assert folds == [(("kd",), [0]), (("student", "kd"), [1, 2, 3]), (("student", "kd"), [4, 5])]


def test_workers_run_concurrently(bench: Bench, make_plan: Plans) -> None:
    bench.order(fold00="meet", fold01="meet")
    assert not bench.run(make_plan(folds=2)).failed


@pytest.mark.parametrize(
    ("order", "message"), [("kill", "SIGKILL, possibly out of memory"), ("segfault", "SIGSEGV"), ("exit", "status 7")]
)
def test_dead_worker_is_replaced_and_its_cell_resumes(order: str, message: str, bench: Bench, make_plan: Plans) -> None:
    bench.order(fold01=f"{order} once")
    console = Console(file=io.StringIO())
    outcome = bench.run(make_plan(), console=console)
    assert (outcome.finished, outcome.failed) == (3, {})
    lost = [event for event in bench.events() if event["kind"] == "lost"]
    assert [(event["cell"], event["attempt"]) for event in lost] == [("arousal-seed0-fold01", 1)]
    assert message in lost[0]["text"]
    assert message in console.file.getvalue()
    # the epoch that was finished before is not computed again
    assert bench.epochs_of("arousal-seed0-fold01") == [0, 1, 1, 2]


def test_cell_that_kills_its_worker_fails_after_three_attempts(bench: Bench, make_plan: Plans) -> None:
    bench.order(fold00="kill")
    outcome = bench.run(make_plan(folds=4))
    assert (outcome.planned, outcome.finished) == (4, 3)
    assert list(outcome.failed) == ["arousal-seed0-fold00"]
    assert "after 3 attempts" in outcome.failed["arousal-seed0-fold00"]
    assert "SIGKILL" in outcome.failed["arousal-seed0-fold00"]
    assert bench.epochs_of("arousal-seed0-fold00") == [0, 1, 1, 1]
    assert [event["attempt"] for event in bench.events() if event["kind"] == "lost"] == [1, 2]


def test_ekd_error_is_not_retried(bench: Bench, make_plan: Plans) -> None:
    bench.order(fold00="refuse")
    outcome = bench.run(make_plan())
    assert outcome.failed == {"arousal-seed0-fold00": "the recording of s001 is empty: leave it out"}
    assert outcome.finished == 2
    assert bench.epochs_of("arousal-seed0-fold00") == [0, 1]
    # a later sweep tries it again
    bench.order()
    outcome = bench.run(make_plan())
    assert (outcome.found, outcome.finished, outcome.failed) == (2, 3, {})


def test_unexpected_exception_is_retried_in_a_new_process_and_logged(bench: Bench, make_plan: Plans) -> None:
    bench.order(fold01="blunder once", fold02="blunder")
    console = Console(file=io.StringIO())
    outcome = bench.run(make_plan(), console=console)
    assert outcome.failed == {
        "arousal-seed0-fold02": "gave up after 3 attempts, the last: RuntimeError: CUDA out of memory"
    }
    assert len({row["pid"] for row in bench.computed() if row["cell"].endswith("fold02")}) == 3
    assert "Traceback" not in console.file.getvalue()
    assert all("Traceback" in event["detail"] for event in bench.events() if event["kind"] in ("lost", "failed"))


def test_finished_results_are_not_computed_again(bench: Bench, make_plan: Plans) -> None:
    bench.run(make_plan())
    before = bench.computed()
    outcome = bench.run(make_plan())
    assert (outcome.planned, outcome.finished, outcome.found) == (3, 3, 3)
    assert bench.computed() == before
    outcome = bench.run(make_plan(methods=("student", "kd"), seeds=(0, 1)))
    assert (outcome.planned, outcome.finished, outcome.found) == (12, 12, 3)
    added = bench.computed()[len(before) :]
    assert {(row["cell"], row["method"]) for row in added if row["method"] == "student"} == {
        (f"arousal-seed1-fold{fold:02d}", "student") for fold in range(3)
    }
    assert len(added) == 9 * 3


def test_worker_sets_thread_variables_and_keeps_stdout_free(
    bench: Bench, make_plan: Plans, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    bench.run(make_plan(folds=1), LocalExecutor(1, 1, work=f"{STANDIN}.standin_cells:environment"))
    assert bench.computed() == [{"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "threads": 1, "torch": 1}]
    out, err = capfd.readouterr()
    assert out == ""
    assert "what a library prints" in err


def test_cell_without_its_result_has_failed(bench: Bench, make_plan: Plans) -> None:
    outcome = bench.run(make_plan(), LocalExecutor(2, 1, work=f"{STANDIN}.standin_cells:idle"))
    assert set(outcome.failed.values()) == {"it ended without student.json"}
    assert (len(outcome.failed), outcome.finished) == (3, 0)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 1, "method": "kd"}'])
def test_damaged_result_is_named_and_kept(content: str, bench: Bench, make_plan: Plans) -> None:
    bench.run(make_plan())
    path = bench.folder / "cells/arousal-seed0-fold01/student.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"fold01/student.json.*delete it"):
        bench.run(make_plan())
    assert path.read_text() == content


def test_result_of_another_cell_is_refused(bench: Bench, make_plan: Plans) -> None:
    bench.run(make_plan())
    cells = bench.folder / "cells"
    (cells / "arousal-seed0-fold02/student.json").replace(cells / "arousal-seed0-fold01/student.json")
    with pytest.raises(ConfigError, match="not a result of this cell"):
        bench.run(make_plan())


def test_sweep_folder_is_used_by_one_process_at_a_time(bench: Bench, make_plan: Plans) -> None:
    class Second:
        def run(self, jobs: object) -> object:
            with pytest.raises(ConfigError, match="another ekd-train sweep is running"):
                bench.run(make_plan())
            yield from ()

    bench.run(make_plan(), Second())  # type: ignore[arg-type]
    assert not bench.run(make_plan()).failed


def test_sweep_folder_that_cannot_be_created_is_named(bench: Bench, make_plan: Plans, tmp_path: Path) -> None:
    (tmp_path / "sweep").write_text("mine")
    with pytest.raises(ConfigError, match="choose another folder"):
        bench.run(make_plan())


def test_workers_end_if_the_driver_cannot_write(bench: Bench, make_plan: Plans) -> None:
    """An unwritable events.jsonl gives one sentence, and no worker keeps running."""
    bench.order(fold01="wait")
    (bench.folder / "events.jsonl").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"cannot write .*events\.jsonl"):
        bench.run(make_plan(folds=2))
    for pid in {row["pid"] for row in bench.computed()}:
        with pytest.raises(OSError, match=os.strerror(errno.ESRCH)):
            os.kill(pid, 0)


def test_unknown_work_function_fails_with_its_name(bench: Bench, make_plan: Plans) -> None:
    outcome = bench.run(make_plan(folds=1), LocalExecutor(1, 1, work=f"{STANDIN}.standin_cells:nowhere"))
    assert "nowhere" in outcome.failed["arousal-seed0-fold00"]


def test_default_work_function_is_run_cell() -> None:
    assert LocalExecutor(1, 1).work == "ekd_train.sweeps.train_cell:run_cell" != WORK
