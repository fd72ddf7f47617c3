"""Files that are whole or not there, lines that are never torn, folders with one writer. Importable without torch."""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ekd_edge.errors import ConfigError

__all__ = ["alone_in", "append_line", "write_json", "write_whole"]

_CAUSES = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EFBIG: "the file would exceed the size limit (ulimit -f): lift it",
    errno.EACCES: "writing there is not allowed: change its permissions or choose another --out",
    errno.EPERM: "writing there is not allowed: change its permissions or choose another --out",
    errno.EROFS: "the file system is read-only: choose another --out",
    errno.EEXIST: "a part of the path is no folder: choose another --out",
    errno.ENOTDIR: "a part of the path is no folder: choose another --out",
}


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path`, aside first, then renamed; makes the folder where it is missing.

    Raises ConfigError where it cannot be written (a full disk, a quota, no permission): what was at `path` before
    is intact then, and nothing else is left behind.
    """
    aside = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise _refusal(path, error) from error


def write_json(path: Path, data: Any) -> None:
    """The same for JSON-ready data."""
    write_whole(path, (json.dumps(data, indent=1) + "\n").encode())


def append_line(path: Path, text: str) -> None:
    """Append one line; the half line that a killed process may have left is cut off first.

    Raises ConfigError where it cannot be written; the lines before are intact then.
    """
    line = f"{text}\n".encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # unbuffered: what does not fit must fail here, not when the file is closed
        with path.open("ab+", buffering=0) as file:
            end = _cut_half_line(file.fileno())
            try:
                while line:
                    line = line[file.write(line) :]
            except OSError:
                os.ftruncate(file.fileno(), end)
                raise
    except OSError as error:
        raise _refusal(path, error) from error


@contextlib.contextmanager
def alone_in(folder: Path, what: str) -> Iterator[None]:
    """Hold the folder, made where it is missing, against a second `what`; a process that ends lets go of it.

    Raises ConfigError where the folder cannot be made or is held.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {folder}: {error.strerror}; choose another --out") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another {what} is at work in {folder}: wait for it, or end it first") from None
        except OSError:  # a network file system that locks no folders: nobody is kept out there
            pass
        yield
    finally:
        os.close(descriptor)


def _cut_half_line(descriptor: int) -> int:
    end = os.fstat(descriptor).st_size
    if not end or os.pread(descriptor, 1, end - 1) == b"\n":
        return end
    start = end
    while start:
        start = max(0, start - 4096)
        found = os.pread(descriptor, 4096, start)[: end - start].rfind(b"\n")
        if found >= 0:
            start += found + 1
            break
    os.ftruncate(descriptor, start)
    return start


def _refusal(path: Path, error: OSError) -> ConfigError:
    cause = _CAUSES.get(error.errno or 0, f"{error.strerror or error}")
    return ConfigError(f"cannot write {path}: {cause}; what was saved before is intact")
