"""Runs cells in a worker process on this machine or on a node of a cluster.

Numerical libraries read the number of threads when they are loaded, so this module does not import them at the top.
"""

import importlib
import os
import threading
import traceback
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekd_edge.errors import EkdError
from ekd_train.process_tuning import keep_freed_memory, let_idle_threads_sleep

if TYPE_CHECKING:
    from ekd_train.sweeps.jobs import Job, Message

__all__ = ["attempt", "serve"]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def attempt(
    work: str, job: "Job", folder: Path, device: str, threads: int, send: Callable[["Message"], None]
) -> "Message":
    """Run a job's cell in `folder` by the function that `work` names as "module:function".

    An EkdError gives "failed". Any other exception gives "lost": the state of this process is unknown.

    Args:
        work: see `ekd_train.sweeps.train_cell`.
        job: the cell and its methods.
        folder: of the cell's files.
        device: as of `ekd_train.training.device.pick_device`.
        threads: CPU threads.
        send: takes progress lines and notes.

    Returns:
        The message that ends the attempt.
    """

    def on_progress(text: str) -> None:
        send(("progress", text, ""))

    def notify(text: str) -> None:
        send(("noted", text, ""))

    try:
        if job.others:
            from ekd_train.sweeps.train_cell import run_stack

            cells = [job.cell, *job.others]
            folders = [folder, *(folder.parent / other.name for other in job.others)]
            run_stack(job.config, cells, job.methods, folders, device, threads, on_progress, notify)
        else:
            _function(work)(job.config, job.cell, job.methods, folder, device, threads, on_progress, notify)
    except EkdError as error:
        return "failed", str(error), ""
    except Exception as error:  # noqa: BLE001 (the driver must learn about every exception)
        lines = str(error).splitlines() or [""]
        return "lost", f"{type(error).__name__}: {lines[0]}", traceback.format_exc()
    return "finished", "", ""


def serve(pipe: Connection, work: str, device: str, threads: int) -> None:
    """The main function of a worker process: reads jobs from `pipe`, sends messages, and ends with its parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.dup2(2, 1)  # only the driver's result goes to stdout
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    let_idle_threads_sleep()
    keep_freed_memory()

    def send(message: "Message") -> None:
        try:
            pipe.send(message)
        except OSError:  # the parent has exited
            os._exit(1)

    while True:
        try:
            job: Job = pipe.recv()
        except (EOFError, OSError):
            return
        message = attempt(work, job, job.folder, device, threads, send)
        send(message)
        if message[0] == "lost":
            return


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _function(work: str) -> Callable[..., Any]:
    module, _, name = work.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function
