"""A stand-in for the training of a cell. It is fast, follows orders and logs what it computes.

The folder EKD_STANDIN has orders.json, the orders by cell ("NAME", or "NAME once" for a single order), and gets
computed.jsonl, with one line for each computed epoch or result.
"""

import ctypes
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ekd_edge.atomic_files import write_json, write_whole
from ekd_edge.errors import DataError
from ekd_train.config import TrainConfig
from ekd_train.sweeps.cell import Cell

EPOCHS = 3

REAL = {
    "data": "synthetic?subjects=4&trials=4&trial_s=16&eeg_channels=0",
    "signal": {"rate_hz": "16", "window_s": 4.0, "hop_s": 4.0},
    "network": {"filters": 8, "kernel": 16, "depth": 2, "heads": 2, "key_size": 4, "ffn": 8},
    "student": {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3},
}
"""The configuration of a cell that can be trained in a second or two."""


def scratch() -> Path:
    return Path(os.environ["EKD_STANDIN"])


def run(
    config: TrainConfig,
    cell: Cell,
    methods: Sequence[str],
    folder: Path,
    device: str,
    threads: int,
    tell: Callable[[str], None],
    note: Callable[[str], None],
) -> None:
    note(f"{config.data}: 2 recordings have no ratings (left out)")
    print("what a library prints")
    for method in methods:
        if not (folder / f"{method}.json").exists():
            _train(cell, method, folder, tell)


def _train(cell: Cell, method: str, folder: Path, tell: Callable[[str], None]) -> None:
    checkpoint = folder / f"checkpoint-{method}.safetensors"
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    for epoch in range(done, EPOCHS):
        write_down(cell=cell.name, method=method, epoch=epoch, pid=os.getpid(), folder=str(folder))
        tell(f"{method} epoch {epoch + 1}/{EPOCHS}")
        if epoch == 1:
            _obey(cell, method)
        write_whole(checkpoint, str(epoch + 1).encode())
    write_whole(folder / f"{method}.safetensors", f"weights of {cell.name}".encode())
    write_json(folder / f"{method}.json", result(cell, method))
    checkpoint.unlink()


def _obey(cell: Cell, method: str) -> None:
    orders = json.loads((scratch() / "orders.json").read_text())
    order, once, _ = orders.get(cell.name, "").partition(" once")
    if once:
        marker = scratch() / f"obeyed-{cell.name}"
        if marker.exists():
            return
        marker.touch()
    if order == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif order == "segfault":
        ctypes.string_at(0)
    elif order == "exit":
        os._exit(7)
    elif order == "refuse":
        raise DataError("the recording of s001 is empty: leave it out")
    elif order == "blunder":
        raise RuntimeError("CUDA out of memory\nand more")
    elif order == "wait":
        wait_for(scratch() / "go")
    elif order == "meet":
        (scratch() / f"here-{cell.name}").touch()
        for name in [name for name, what in orders.items() if what == "meet"]:
            wait_for(scratch() / f"here-{name}", at_most_s=20)
    elif order == "burn":
        end = time.thread_time() + float(os.environ["EKD_STANDIN_S"])
        while time.thread_time() < end:
            pass


def wait_for(path: Path, at_most_s: float = 60) -> None:
    end = time.monotonic() + at_most_s
    while not path.exists():
        if time.monotonic() > end:
            raise RuntimeError(f"{path.name} did not come")
        time.sleep(0.01)


def write_down(**fields: Any) -> None:
    with (scratch() / "computed.jsonl").open("a") as file:
        file.write(json.dumps(fields) + "\n")


def result(cell: Cell, method: str) -> dict[str, Any]:
    scores = {"accuracy": 0.75, "macro_f1": (2 / 3 + 4 / 5) / 2}
    subject = {"subject": f"s{cell.fold:03d}", "windows": 4, **scores, "confusion": [[1, 1], [0, 2]]}
    history = [
        {"epoch": epoch, "losses": {"hard": 0.5}, "validation": {"loss": 0.6, **scores}} for epoch in range(EPOCHS)
    ]
    return {
        "format": 1,
        "method": method,
        "target": cell.target,
        "seed": cell.seed,
        "fold": cell.fold,
        "best_epoch": 2,
        "epochs": EPOCHS,
        "history": history,
        "test": {"loss": 0.6, **scores, "subjects": [subject]},
        "seconds": 0.1,
    }


def idle(*_: object) -> None:
    """Compute nothing."""


def environment(
    config: TrainConfig, cell: Cell, methods: Sequence[str], folder: Path, device: str, threads: int, *_: object
) -> None:
    """Log the number of threads that the libraries use, and print to stdout like some libraries."""
    import torch

    print("what a library prints", flush=True)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    write_down(**{name: os.environ.get(name) for name in names}, threads=threads, torch=torch.get_num_threads())
    for method in methods:
        write_json(folder / f"{method}.json", result(cell, method))
