"""Files that are whole or not there, and lines that are never torn. Importable without torch."""

import contextlib
import errno
import json
import os
from pathlib import Path
from typing import Any

from ekd_edge.errors import ConfigError

__all__ = ["append_line", "write_json", "write_whole"]

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
