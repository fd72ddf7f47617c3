"""Status files: each ekd-edge process writes one every two seconds, and `ekd-edge status` reads those of this user.

The folder may be in a temporary directory that all users share. A folder that another user could have prepared is not
used, and no link, pipe or file of another user in it is followed or opened for writing.
"""

import json
import math
import os
import stat
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from time import monotonic
from typing import Any

from ekd_edge.atomic_files import pending_file, read_plain_file
from ekd_edge.errors import EkdError
from firmware_bridge.home import expanded

__all__ = ["STATUS_EVERY_S", "StatusFile", "Statuses", "alive", "read_statuses", "status_folder"]

STATUS_EVERY_S = 2.0
"""A status file is written at most this often."""
_PREFIX, _SUFFIX = "edge-", ".json"
_MAX_BYTES = 4 << 20
VERSION = 1


@dataclass(frozen=True, slots=True)
class Statuses:
    """What a folder of status files holds.

    found: the status of each process, oldest process first; "file" is the status file. skipped: a sentence for each
    other file with such a name.
    """

    found: tuple[dict[str, Any], ...]
    skipped: tuple[str, ...]


def status_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """$EKD_STATUS, else a folder in memory that belongs to this user."""
    if named := environment.get("EKD_STATUS"):
        return Path(expanded(named))
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "ekd"
    return Path(tempfile.gettempdir()) / f"ekd-{os.getuid()}"


class StatusFile:
    """A job of a `Worker` that writes what `describe` returns, as JSON, at most every two seconds.

    The file is replaced in one step and removed by `finish`. A file that is left belongs to a process that was killed;
    the next process removes it.

    Args:
        folder: see `status_folder`.
        describe: the present status, JSON-ready; called in the worker's thread.
        notify: called once where the file cannot be written.
    """

    name = "status file"

    def __init__(self, folder: Path, describe: Callable[[], dict[str, Any]], notify: Callable[[str], None]) -> None:
        self._folder, self._describe, self._notify = folder, describe, notify
        self._path = folder / f"{_PREFIX}{os.getpid()}{_SUFFIX}"
        self._head = {"status": VERSION, "pid": os.getpid(), "started": time.time(), "process": _start_of(os.getpid())}
        self._due_s = -math.inf
        self._prepared = self._notified = False

    def run(self) -> None:
        """Write the status, unless it was written less than two seconds ago."""
        if monotonic() < self._due_s:
            return
        self._due_s = monotonic() + STATUS_EVERY_S
        try:
            if not self._prepared:
                self._prepare()
            text = json.dumps({**self._head, "updated": time.time(), **self._describe()})
            with pending_file(self._path, text.encode(), sync=False, private=True) as commit:
                commit()
        except OSError as error:
            self._notify_once(f"{self._folder}: {error.strerror}")
        except EkdError as error:
            self._notify_once(str(error))

    def finish(self) -> None:
        """Remove the file."""
        if not self._prepared:
            return
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            self._notify_once(f"{self._folder}: {error.strerror}")

    def _prepare(self) -> None:
        """Make the folder, and remove the files of killed processes from it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for status in read_statuses(self._folder).found:
            if not alive(status):
                Path(status["file"]).unlink(missing_ok=True)
        self._prepared = True

    def _notify_once(self, reason: str) -> None:
        if not self._notified:
            self._notified = True
            self._notify(f"`ekd-edge status` will not show this process: {reason}")


def read_statuses(folder: Path) -> Statuses:
    """The statuses of the processes of this user, and the files that are none.

    Raises EkdError for a folder that another user may have prepared, or that cannot be read.
    """
    found, skipped = [], []
    try:
        _check_folder(folder)
        paths = sorted(each for each in folder.iterdir() if fnmatch(each.name, f"{_PREFIX}*{_SUFFIX}"))
    except FileNotFoundError:
        return Statuses((), ())
    except OSError as error:
        raise EkdError(
            f"cannot read the status folder {folder}: {error.strerror}; set EKD_STATUS to another"
        ) from error
    for path in paths:
        try:
            found.append({**_checked(json.loads(read_plain_file(path, _MAX_BYTES, own=True))), "file": str(path)})
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            skipped.append(f"{path} is not a status file of ekd-edge ({reason}): remove it")
    return Statuses(tuple(sorted(found, key=lambda each: (each["started"], each["pid"]))), tuple(skipped))


def alive(status: Mapping[str, Any]) -> bool:
    """Whether the process that wrote the status still runs."""
    return status["process"] is not None and _start_of(status["pid"]) == status["process"]


def _check_folder(folder: Path) -> None:
    """Raise EkdError where others than this user can have put files in the folder, OSError where it is missing."""
    about = folder.lstat()
    reason = None
    if not stat.S_ISDIR(about.st_mode):
        reason = "is not a folder"
    elif about.st_uid != os.getuid():
        reason = "belongs to another user"
    elif about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        reason = "can be written by other users"
    if reason is not None:
        raise EkdError(
            f"the status folder {folder} {reason}: remove it, or set EKD_STATUS to a folder of yours with mode 700"
        )


def _checked(status: Any) -> dict[str, Any]:
    """The status, if it has the keys that every status has. Raises ValueError otherwise."""
    if not isinstance(status, dict) or "status" not in status:
        raise ValueError("it has no status")
    if status["status"] != VERSION:
        raise ValueError("it is of another version of ekd")
    kinds: dict[str, Any] = {
        "pid": int,
        "started": (int, float),
        "updated": (int, float),
        "process": (str, type(None)),
        "model": dict,
        "ports": list,
    }
    for key, kind in kinds.items():
        value = status.get(key, ...)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"it has no valid {key}")
    if not all(0 <= status[key] < 1e12 for key in ("pid", "started", "updated")):
        raise ValueError("its times are invalid")
    if not all(isinstance(port, dict) for port in status["ports"]):
        raise ValueError("it has no valid ports")
    return status


def _start_of(pid: int) -> str | None:
    """When a process started, in ticks since boot; distinguishes processes that had the same pid one after another."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError, ValueError):
        return None
