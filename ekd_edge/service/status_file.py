"""Status files: each ekd-edge process writes one every two seconds, and `ekd-edge status` reads those of this user."""

import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ekd_edge.atomic_files import pending_file
from ekd_edge.errors import EkdError

__all__ = ["StatusFile", "alive", "read_statuses", "status_folder"]

_EVERY_S = 2.0
_PREFIX = "edge-"
VERSION = 1


def status_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """$EKD_STATUS, else a folder in memory that belongs to this user."""
    if named := environment.get("EKD_STATUS"):
        return Path(named)
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "ekd"
    return Path(tempfile.gettempdir()) / f"ekd-{os.getuid()}"


class StatusFile:
    """A context manager that writes what `describe` returns, as JSON, every two seconds, from a thread of its own.

    The file is replaced in one step and removed at the end. A file that is left belongs to a process that was killed.
    notify: called once where the file cannot be written.
    """

    def __init__(self, folder: Path, describe: Callable[[], dict[str, Any]], notify: Callable[[str], None]) -> None:
        self._folder, self._describe, self._notify = folder, describe, notify
        self._path = folder / f"{_PREFIX}{os.getpid()}.json"
        self._ending = threading.Event()
        self._notified = False
        self._head = {"status": VERSION, "pid": os.getpid(), "started": time.time(), "process": _start_of(os.getpid())}
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def __enter__(self) -> "StatusFile":
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for status in read_statuses(self._folder):
                if not alive(status):
                    Path(status["file"]).unlink(missing_ok=True)
        except OSError as error:
            self._notify_failure(error)
        except EkdError as error:
            self._notify(str(error))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()
        try:
            self._path.unlink(missing_ok=True)
        except OSError as fault:
            self._notify_failure(fault)

    def _run(self) -> None:
        while True:
            self._write()
            if self._ending.wait(_EVERY_S):
                return

    def _write(self) -> None:
        text = json.dumps({**self._head, "updated": time.time(), **self._describe()})
        try:
            with pending_file(self._path, text.encode(), sync=False) as commit:
                commit()
        except OSError as error:
            self._notify_failure(error)

    def _notify_failure(self, error: OSError) -> None:
        if not self._notified:
            self._notified = True
            self._notify(f"`ekd-edge status` will not show this process: {self._folder}: {error.strerror}")


def read_statuses(folder: Path) -> list[dict[str, Any]]:
    """The status of each process, oldest process first; "file" is the status file.

    Raises EkdError for a file that is not a status file, or is of another version.
    """
    found = []
    for path in folder.glob(f"{_PREFIX}*.json"):
        try:
            status = json.loads(path.read_text())
            if status["status"] != VERSION:
                raise EkdError(f"{path} is of another version of ekd: use the same for both, or remove it")
            found.append({**status, "file": str(path)})
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EkdError(f"{path} is not a status file of ekd-edge: remove it") from error
    return sorted(found, key=lambda status: (status["started"], status["pid"]))


def alive(status: Mapping[str, Any]) -> bool:
    """Whether the process that wrote the status still runs."""
    return status["process"] is not None and _start_of(status["pid"]) == status["process"]


def _start_of(pid: int) -> str | None:
    """When a process started, in ticks since boot; distinguishes processes that had the same pid one after another."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
