"""In namespaces of its own: a Ray cluster of two nodes, a sweep on both, and one during which a node is killed.

Prints one JSON object: what became of either.
"""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import drive  # noqa: F401 (its sweeps run the stand-in)
import standin_cells
from rich.console import Console

from ekd_train.cli import main
from ekd_train.sweep.plan import SweepPlan
from ekd_train.sweep.progress import SweepReporter
from ekd_train.sweep.ray_cluster import RayExecutor
from ekd_train.sweep.run import run_sweep

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


def kill_other_node_in_the_middle(folder: Path) -> None:
    """Wait until both nodes have come to the second epoch and the driver has the first's checkpoints, then kill."""
    for fold in (0, 1):
        standin_cells.wait_for(folder / f"cells/arousal-seed0-fold0{fold}/checkpoint-student.safetensors")
    (worker,) = [event["worker"] for event in lines(folder / "events.jsonl") if event["worker"].startswith(OTHER)]
    doomed = [int(worker.rpartition(" ")[2])]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                arguments = (entry / "cmdline").read_bytes().decode().replace("\0", " ")
                if OTHER in arguments and int(entry.name) != os.getpid():
                    doomed.append(int(entry.name))
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)
    (standin_cells.scratch() / "go").touch()


def both_nodes(folder: Path) -> dict[str, Any]:
    order(fold00="meet", fold01="meet", fold02="kill", fold03="refuse")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = main(["sweep", *BEGIN, "--split", "k-fold:4", "--out", str(folder), "--json"])
    return _what_became(folder) | {"status": status, "out": json.loads(out.getvalue())}


def one_killed(folder: Path) -> dict[str, Any]:
    order(fold00="wait", fold01="wait")
    plan = SweepPlan.load(folder.with_name("both"))
    executor = RayExecutor(f"{HEAD}:{PORT}", device="cpu", work="standin_cells:run", files_every_s=0.3)
    killer = threading.Thread(target=kill_other_node_in_the_middle, args=[folder])
    killer.start()
    with contextlib.redirect_stdout(io.StringIO()), SweepReporter(Console(stderr=True)) as reporter:
        outcome = run_sweep(plan, folder, executor, reporter)
    killer.join()
    return _what_became(folder) | {"failed": dict(outcome.failed), "finished": outcome.finished}


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
    print(json.dumps({"both": both_nodes(here / "both"), "killed": one_killed(here / "killed")}))
