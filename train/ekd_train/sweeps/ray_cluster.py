"""Training of cells on a Ray cluster. Its nodes need access to the data, but no shared folder.

A cell's files (results, weights, checkpoints) are sent to the node with its job, and changed files are sent back
during training, so a lost node loses seconds of work. Each node needs ekd with the extra train and ray, and must have
the data under the same name. A relative path is resolved from the folder in which the sweep was started.
"""

import logging
import math
import os
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from ekd_edge.atomic_files import write_whole
from ekd_edge.errors import ConfigError
from ekd_train.sweeps.jobs import UNDER_WAY, Event, Job, Message, ending
from ekd_train.sweeps.worker import attempt
from firmware_bridge.dependencies import require_packages

__all__ = ["RayExecutor"]

PATIENCE_S = 5.0
HEAD_PATIENCE_S = 30.0
"""Shorter than 60 s, because Ray ends the process after 60 s without its head node."""

Files = Mapping[str, bytes | None]
"""File contents by path in the cell's folder; None for a removed file."""


@dataclass(frozen=True, slots=True)
class RayExecutor:
    """Runs cells as tasks of the Ray cluster at `address`: "auto", HOST:PORT, or "local" for one on this machine.

    workers: maximum of concurrent cells; None for one per GPU, or per `threads` cores without a GPU.
    device: as on the command line; "auto" uses GPUs if the cluster has them. work: as of `LocalExecutor`.
    files_every_s: interval of sending back changed files of a running cell.
    Ray's own retries are off, so a cell is started at most `jobs.ATTEMPTS` times.
    """

    address: str
    workers: int | None = None
    threads: int = 1
    device: str = "auto"
    work: str = "ekd_train.sweeps.train_cell:run_cell"
    files_every_s: float = 5.0

    def run(self, jobs: Sequence[Job]) -> Generator[Event, None, None]:
        """See `jobs.Executor`. Raises ConfigError if Ray is missing, or the cluster does not exist or is too small."""
        ray = _connect(self.address)
        queue = deque(jobs)
        running: dict[Any, tuple[Job, str]] = {}
        try:
            needs = self._needs(ray)
            capacity = _Capacity(ray, needs)
            task = ray.remote(max_retries=0, num_returns="streaming", **needs)(_remote_cell)
            while queue or running:
                cells = capacity.cells()
                while queue and len(running) < (self.workers or cells):
                    job = queue.popleft()
                    running[task.remote(self, job, _contents(job.folder), str(Path.cwd()))] = job, ""
                for stream in ray.wait(list(running), num_returns=1, timeout=PATIENCE_S)[0]:
                    job, node = running[stream]
                    parcel = _receive(ray, stream)
                    if not node and parcel.node:
                        node = parcel.node
                        running[stream] = job, node
                        yield Event("started", job.cell, node, job.attempt)
                    _store(parcel.files, job.folder)
                    if parcel.message[0] in UNDER_WAY:
                        if parcel.message[1]:
                            yield Event(parcel.message[0], job.cell, node, job.attempt, parcel.message[1])
                        continue
                    del running[stream]
                    event, retry = ending(job, node, parcel.message)
                    queue.extend([retry] if retry else [])
                    yield event
        finally:
            for stream in running:
                ray.cancel(stream, force=True)
            ray.shutdown()

    def _needs(self, ray: Any) -> dict[str, int]:
        """Return the resources of one cell."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = any(node.get("GPU", 0) >= 1 for node in nodes)
        if self.device.startswith("cuda") and not gpus:
            raise ConfigError(f"the Ray cluster at {self.address} has no GPU: leave --device {self.device} out")
        if gpus and self.device != "cpu":
            return {"num_gpus": 1}
        if not any(node.get("CPU", 0) >= self.threads for node in nodes):
            raise ConfigError(f"no node of the Ray cluster at {self.address} has {self.threads} cores: lower --threads")
        return {"num_cpus": self.threads}


def _connect(address: str) -> Any:
    require_packages("--ray", "ray")
    if "://" in address:
        raise ConfigError(f"--ray {address}: start the sweep on a machine of the cluster, with --ray auto")
    host, _, port = address.rpartition(":")
    if address not in ("auto", "local"):
        if not host or not port.isdigit():
            raise ConfigError(f"--ray {address}: write HOST:PORT of the cluster's head node, or auto")
        if not _is_reachable(address):  # Ray itself retries for five minutes
            raise ConfigError(
                f"no Ray cluster responds at {address}: start one with ray start --head, or correct --ray"
            )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # errors of tasks that have ended already
    import ray

    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise ConfigError(
            "no Ray cluster was found: start one with ray start --head, or write --ray HOST:PORT"
        ) from error
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"the Ray cluster {address} cannot be used: {_first_line(error)}") from error
    return ray


def _is_reachable(address: str) -> bool:
    """Return whether a TCP connection to HOST:PORT succeeds."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), PATIENCE_S).close()
    except (OSError, OverflowError):
        return False
    return True


class _Capacity:
    """The number of cells that the cluster can run concurrently; nodes may join and leave."""

    def __init__(self, ray: Any, needs: Mapping[str, int]) -> None:
        self._ray = ray
        ((need, self._each),) = needs.items()
        self._name = {"num_gpus": "GPU", "num_cpus": "CPU"}[need]
        self._head: str = ray.get_runtime_context().gcs_address
        self._looked_s = self._answered_s = -math.inf
        self._cells = 1

    def cells(self) -> int:
        """Return the number, at most a few seconds old. Raises ConfigError if the head node stays unreachable."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= PATIENCE_S:
            self._looked_s = now_s
            if _is_reachable(self._head) and (resources := self._resources()) is not None:
                self._answered_s = now_s
                self._cells = max(1, int(resources.get(self._name, 0)) // self._each)
            elif now_s - self._answered_s >= HEAD_PATIENCE_S:
                raise ConfigError(
                    f"the head node {self._head} of the Ray cluster is unreachable: start the cluster again"
                )
        return self._cells

    def _resources(self) -> Mapping[str, float] | None:
        """Return the cluster's resources, or None after a timeout: Ray's call does not return without the head node."""
        answer: SimpleQueue[Mapping[str, float]] = SimpleQueue()
        threading.Thread(target=lambda: answer.put(self._ray.cluster_resources()), daemon=True).start()
        try:
            return answer.get(timeout=PATIENCE_S)
        except Empty:
            return None


@dataclass(frozen=True, slots=True)
class _Parcel:
    """A message of a node, with its address and the changed files of the cell."""

    node: str
    files: Files
    message: Message


def _receive(ray: Any, stream: Any) -> _Parcel:
    try:
        parcel: _Parcel = ray.get(next(stream))
    except StopIteration:
        return _Parcel("", {}, ("lost", "its task ended without a message", ""))
    except ray.exceptions.RayTaskError as error:
        return _Parcel("", {}, ("lost", str(error).strip().splitlines()[-1], str(error)))
    except ray.exceptions.RayError as error:
        return _Parcel("", {}, ("lost", f"{type(error).__name__}: {_first_line(error)}", ""))
    return parcel


def _remote_cell(executor: RayExecutor, job: Job, files: Files, started_in: str) -> Iterator[_Parcel]:
    """On a node: train in a temporary folder and send its changed files."""
    import ray

    no_message: Message = ("progress", "", "")
    node = f"{ray.util.get_node_ip_address()}, process {os.getpid()}"
    yield _Parcel(node, {}, no_message)
    if Path(started_in).is_dir():
        os.chdir(started_in)
    with tempfile.TemporaryDirectory(prefix="ekd-sweep-") as name:
        folder = Path(name)
        _store(files, folder)
        known = _versions(folder)
        messages: SimpleQueue[Message] = SimpleQueue()

        def train() -> None:
            messages.put(attempt(executor.work, job, folder, executor.device, executor.threads, messages.put))

        threading.Thread(target=train, daemon=True).start()  # the parcel is sent by this thread
        looked = time.monotonic()
        message = no_message
        while message[0] in UNDER_WAY:
            try:
                message = messages.get(timeout=executor.files_every_s)
            except Empty:
                message = no_message
            changed: Files = {}
            if message[0] not in UNDER_WAY or time.monotonic() - looked >= executor.files_every_s:
                changed, known = _changes(folder, known)
                looked = time.monotonic()
            if changed or message != no_message:
                yield _Parcel(node, changed, message)
    if message[0] == "lost":  # end the process like a local worker, because its state is unknown
        time.sleep(1)  # wait until the parcel is sent
        os._exit(1)


Versions = Mapping[str, tuple[int, int, int]]


def _versions(folder: Path) -> Versions:
    """The version of each complete file."""
    found = {}
    for path in folder.rglob("*"):
        try:
            state = path.stat()
        except FileNotFoundError:  # replaced or removed since; the next pass finds it
            continue
        if path.is_file() and path.suffix != ".part":
            found[path.relative_to(folder).as_posix()] = state.st_ino, state.st_mtime_ns, state.st_size
    return found


def _changes(folder: Path, known: Versions) -> tuple[Files, Versions]:
    """The files that differ from `known`, and the versions with them."""
    before = _versions(folder)
    # only results that existed before this listing, because their weights exist then
    now = {name: version for name, version in _versions(folder).items() if name in before or not name.endswith(".json")}
    changed: dict[str, bytes | None] = dict.fromkeys(known.keys() - now.keys())
    for name in sorted(name for name in now if known.get(name) != now[name]):
        try:
            changed[name] = (folder / name).read_bytes()
        except FileNotFoundError:
            changed[name] = None
            del now[name]
    return changed, now


def _contents(folder: Path) -> Files:
    return _changes(folder, {})[0]


def _store(files: Files, folder: Path) -> None:
    """Write or remove files: results after their weights, removals last."""
    for name in sorted(files, key=lambda name: (files[name] is None, name.endswith(".json"))):
        data = files[name]
        if data is None:
            (folder / name).unlink(missing_ok=True)
        else:
            write_whole(folder / name, data)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0]
