"""Files that are whole or not there, lines that are never torn, folders with one writer."""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ekd_edge.errors import ConfigError

__all__ = ["alone_in", "append_line", "cannot_write", "pending_file", "write_json", "write_whole"]

_CAUSES = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EFBIG: "the file would exceed the size limit (ulimit -f): lift it",
    errno.EACCES: "writing there is not allowed: change its permissions or choose another folder",
    errno.EPERM: "writing there is not allowed: change its permissions or choose another folder",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.EEXIST: "a part of the path is not a folder: choose another folder",
    errno.ENOTDIR: "a part of the path is not a folder: choose another folder",
    errno.ENOENT: "the folder does not exist: make it, or choose another one",
    errno.EISDIR: "a folder has that name: choose another file name",
}
_LEFTOVERS = ".*.part"


@contextlib.contextmanager
def pending_file(
    path: Path, content: bytes | Callable[[BinaryIO], object], *, sync: bool = True
) -> Iterator[Callable[[], None]]:
    """Write a file next to `path` under a temporary name, and rename it when the block calls the function it is given.

    Where the block does not call it, or raises, the temporary file is removed and what was at `path` stays.

    Args:
        path: the final name; its folder must exist.
        content: the bytes, or a function that writes them to the open file.
        sync: wait until the data and the rename are on the disk.

    Yields:
        A function without arguments that renames the temporary file to `path`.

    Raises:
        OSError: the file cannot be written or renamed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")

    def commit() -> None:
        temporary.replace(path)
        if sync:
            _sync_folder(path.parent)

    try:
        with temporary.open("wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        yield commit
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data` in one step; makes the folder where it is missing.

    Raises ConfigError where it cannot be written (a full disk, a quota, no permission): what was at `path` before
    is intact then, and nothing else is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pending_file(path, data) as commit:
            commit()
    except OSError as error:
        raise ConfigError(cannot_write(path, error)) from error


def write_json(path: Path, data: Any) -> None:
    """The same as `write_whole` for JSON-ready data."""
    write_whole(path, (json.dumps(data, indent=1) + "\n").encode())


def cannot_write(path: Path, error: OSError) -> str:
    """The sentence for a file that cannot be written: the cause and the remedy."""
    cause = _CAUSES.get(error.errno or 0, f"{error.strerror or error}")
    return f"cannot write {path}: {cause}; what was saved before is intact"


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
        raise ConfigError(cannot_write(path, error)) from error


@contextlib.contextmanager
def alone_in(folder: Path, what: str) -> Iterator[None]:
    """Lock the folder, made where it is missing, against a second `what` until the block or the process ends.

    Temporary files that a killed process left in it are removed. Raises ConfigError where the folder cannot be made
    or is held.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {folder}: {error.strerror}; choose another folder") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another {what} is at work in {folder}: wait for it, or end it first") from None
        except OSError:  # a network file system that cannot lock folders
            pass
        else:
            for leftover in folder.rglob(_LEFTOVERS):  # of a process that was killed
                leftover.unlink(missing_ok=True)
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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
