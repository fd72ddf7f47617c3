"""Run sweeps on a Ray cluster of two nodes in namespaces: one on both nodes, and two in which a node is killed.

Prints one JSON object with the outcomes.
"""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from ekd_edge.errors import ConfigError
from ekd_train.cli.main import main
from ekd_train.config import TrainConfig
from ekd_train.sweeps import ray_cluster
from ekd_train.sweeps.plan import SweepPlan, plan_sweep
from ekd_train.sweeps.progress import SweepReporter
from ekd_train.sweeps.run import SweepOutcome, run_sweep
from tests.ekd_train.sweeps.standin import drive, standin_cells  # noqa: F401 (drive: its sweeps run the stand-in)

WORK = "tests.ekd_train.sweeps.standin.standin_cells:run"
HEAD, OTHER, PORT = "127.0.0.1", "127.0.0.2", 6399
BEGIN = ("--data", "synthetic?subjects=4", "--methods", "student,kd", "--ray", f"{HEAD}:{PORT}", "--device", "cpu")


def start_node(*arguments: str) -> None:
    ray = Path(sys.executable).with_name("ray")
    common = ("--num-cpus=1", "--num-gpus=0", "--object-store-memory=80000000", "--disable-usage-stats")
    done = subprocess.run([ray, "start", *arguments, *common], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"ray start failed: {done.stdout}{done.stderr}")


def order(**orders: str) -> None:
    named = {f"arousal-seed0-{fold}": what for fold, what in orders.items()}
    (standin_cells.scratch() / "orders.json").write_text(json.dumps(named))
    (standin_cells.scratch() / "computed.jsonl").unlink(missing_ok=True)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def kill_in_the_middle(folder: Path, mark: str) -> None:
    """Kill all processes with `mark` in their command line after cells 0 and 1 have sent a checkpoint."""
    for fold in (0, 1):
        standin_cells.wait_for(folder / f"cells/arousal-seed0-fold0{fold}/checkpoint-student.safetensors")
    started = [event["worker"] for event in lines(folder / "events.jsonl") if event["worker"].startswith(mark)]
    doomed = {int(worker.rpartition(" ")[2]) for worker in started}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "cmdline").read_bytes().decode():
                    doomed.add(int(entry.name))
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)


def both_nodes(folder: Path) -> dict[str, Any]:
    order(fold00="meet", fold01="meet", fold02="kill", fold03="refuse")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = main(["sweep", *BEGIN, "--split", "k-fold:4", "--out", str(folder), "--json"])
    return _what_became(folder) | {"status": status, "out": json.loads(out.getvalue())}


def real(folder: Path) -> dict[str, Any]:
    """Train two real cells, one on each node."""
    plan = plan_sweep(TrainConfig.from_json(standin_cells.REAL), "k-fold:2", 1, ["student"])
    executor = ray_cluster.RayExecutor(f"{HEAD}:{PORT}", device="cpu")
    with contextlib.redirect_stdout(io.StringIO()), SweepReporter(Console(file=io.StringIO())) as reporter:
        outcome = run_sweep(plan, folder, executor, reporter)
    return _what_became(folder) | {"failed": dict(outcome.failed), "folder": str(folder)}


def one_killed(folder: Path) -> dict[str, Any]:
    order(fold00="wait", fold01="wait")

    def kill() -> None:
        kill_in_the_middle(folder, OTHER)
        (standin_cells.scratch() / "go").touch()

    outcome = _run_meanwhile(kill, folder)
    return _what_became(folder) | {"failed": dict(outcome.failed), "finished": outcome.finished}


def head_killed(folder: Path) -> dict[str, Any]:
    (standin_cells.scratch() / "go").unlink()
    start_node(f"--address={HEAD}:{PORT}", f"--node-ip-address={OTHER}")
    order(fold00="wait", fold01="wait")
    ray_cluster.PATIENCE_S, ray_cluster.HEAD_PATIENCE_S = 1.0, 2.0
    answers = ray_cluster._is_reachable

    def answers_and_is_killed(address: str) -> bool:
        """The node is killed after it responded to the check whether it is reachable."""
        there = answers(address)
        if there and len(list(folder.glob("cells/*/checkpoint-student.safetensors"))) == 2:
            kill_in_the_middle(folder, "gcs_server")
        return there

    ray_cluster._is_reachable = answers_and_is_killed
    try:
        _run_meanwhile(lambda: None, folder)
    except ConfigError as error:
        return {"message": str(error)}
    return {}


def _run_meanwhile(what: Callable[[], None], folder: Path) -> SweepOutcome:
    plan = SweepPlan.load(folder.with_name("both"))
    executor = ray_cluster.RayExecutor(f"{HEAD}:{PORT}", device="cpu", work=WORK, files_every_s=0.3)
    meanwhile = threading.Thread(target=what)
    meanwhile.start()
    with contextlib.redirect_stdout(io.StringIO()), SweepReporter(Console(stderr=True)) as reporter:
        outcome = run_sweep(plan, folder, executor, reporter)
    meanwhile.join()
    return outcome


def _what_became(folder: Path) -> dict[str, Any]:
    found = lines(standin_cells.scratch() / "computed.jsonl")
    return {
        "events": lines(folder / "events.jsonl"),
        "computed": found,
        "files": sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()),
    }


if __name__ == "__main__":
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    start_node("--head", f"--node-ip-address={HEAD}", f"--port={PORT}", "--include-dashboard=false",
               f"--temp-dir={sys.argv[2]}")  # fmt: skip
    start_node(f"--address={HEAD}:{PORT}", f"--node-ip-address={OTHER}")
    here = Path(sys.argv[1])
    became = {"both": both_nodes(here / "both"), "real": real(here / "real"), "killed": one_killed(here / "killed")}
    print(json.dumps(became | {"head": head_killed(here / "head")}))
