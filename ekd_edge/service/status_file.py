"""How the `ekd-edge` processes of this user fare: each keeps a small file up to date, `ekd-edge status` reads them."""

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

    The file is replaced whole, and removed at the end: one that stays behind is that of a process that was killed.
    Where it cannot be written, that is told once.
    """

    def __init__(self, folder: Path, describe: Callable[[], dict[str, Any]], notify: Callable[[str], None]) -> None:
        self._folder, self._describe, self._notify = folder, describe, notify
        self._path = folder / f"{_PREFIX}{os.getpid()}.json"
        self._ending = threading.Event()
        self._told = False
        self._head = {"status": VERSION, "pid": os.getpid(), "started": time.time(), "process": _start_of(os.getpid())}
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def __enter__(self) -> "StatusFile":
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for told in read_statuses(self._folder):
                if not alive(told):
                    Path(told["file"]).unlink(missing_ok=True)
        except OSError as error:
            self._complain(error)
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
            self._complain(fault)

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
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            self._notify(f"`ekd-edge status` will not show this process: {self._folder}: {error.strerror}")


def read_statuses(folder: Path) -> list[dict[str, Any]]:
    """What each process has written, oldest process first; "file" is its file. Raises EkdError for a foreign file."""
    found = []
    for path in folder.glob(f"{_PREFIX}*.json"):
        try:
            told = json.loads(path.read_text())
            if told["status"] != VERSION:
                raise EkdError(f"{path} is of another version of ekd: use the same for both, or remove it")
            found.append({**told, "file": str(path)})
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EkdError(f"{path} is no status of ekd-edge: remove it") from error
    return sorted(found, key=lambda told: (told["started"], told["pid"]))


def alive(told: Mapping[str, Any]) -> bool:
    """Whether the process that wrote this still runs."""
    return told["process"] is not None and _start_of(told["pid"]) == told["process"]


def _start_of(pid: int) -> str | None:
    """When a process started, in ticks since boot: it tells a process from a later one of the same number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
