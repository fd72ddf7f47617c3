"""An exclusive lock file. A process holds it until it releases the lock or exits."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["is_held", "locked"]


@contextlib.contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock file exclusively until the block or the process ends, and delete it afterwards.

    Raises BlockingIOError if another process holds it and `wait` is false.
    """
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            try:
                if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    continue  # replaced since it was opened
            except FileNotFoundError:
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def is_held(path: Path) -> bool:
    """Return True if a process holds the lock file, or if this process is not permitted to open the file."""
    if not path.exists():
        return False
    try:
        with locked(path, wait=False):
            return False
    except OSError:
        return True
