"""Atomic file writes, appends without torn lines, and folders locked by one process."""

import contextlib
import errno
import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ekd_edge.errors import ConfigError

__all__ = [
    "append_line",
    "cannot_write",
    "lock_folder",
    "pending_file",
    "read_plain_file",
    "sync_folder",
    "write_json",
    "write_whole",
]

_CAUSES = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EFBIG: "the file would exceed the size limit (ulimit -f): lift it",
    errno.EACCES: "writing there is not allowed: change its permissions or choose another folder",
    errno.EPERM: "writing there is not allowed: change its permissions or choose another folder",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.EEXIST: "part of the path is not a folder: choose another folder",
    errno.ENOTDIR: "part of the path is not a folder: choose another folder",
    errno.ENOENT: "the folder does not exist: create it, or choose another one",
    errno.EISDIR: "a folder has that name: choose another file name",
}
_LEFTOVERS = ".*.part"


@contextlib.contextmanager
def pending_file(
    path: Path, content: bytes | Callable[[BinaryIO], object], *, sync: bool = True, private: bool = False
) -> Iterator[Callable[[], None]]:
    """Write a temporary file next to `path`, and rename it to `path` when the block calls the function it receives.

    Without that call, or after an error, the temporary file is removed and the old file stays.

    Args:
        path: the final name; its folder must exist.
        content: the bytes, or a function that writes them to the open file.
        sync: wait until the data and the rename are on the disk.
        private: let only this user read the file (mode 0600), as it is about a person or a process.

    Yields:
        A function without arguments that renames the temporary file to `path`.

    Raises:
        OSError: the file cannot be written or renamed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")

    def commit() -> None:
        temporary.replace(path)
        if sync:
            sync_folder(path.parent)

    try:
        with open(_new_file(temporary, 0o600 if private else 0o666), "wb") as file:
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


def _new_file(path: Path, mode: int) -> int:
    """A descriptor of a new file, which replaces what has its name; a link there is removed and never followed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, mode)
    except FileExistsError:  # of a killed process that had this number
        path.unlink()
        return os.open(path, flags, mode)


def read_plain_file(path: Path, most_bytes: int, *, own: bool = False) -> bytes:
    """The content of a plain file, without waiting for the other end of a pipe.

    Args:
        path: of the file.
        most_bytes: the largest accepted size.
        own: refuse a link, and a file of another user.

    Raises:
        OSError: the file cannot be opened or read.
        ValueError: it is not a plain file, is too large, or is not this user's.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (os.O_NOFOLLOW if own else 0))
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is not a plain file")
        if own and about.st_uid != os.getuid():
            raise ValueError("it belongs to another user")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(most_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > most_bytes:
        raise ValueError("it is too large")
    return data


def write_whole(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data` atomically; a missing folder is created.

    Raises ConfigError where it cannot be written (a full disk, a quota, no permission): the old file is intact then,
    and no temporary file remains.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pending_file(path, data) as commit:
            commit()
    except OSError as error:
        raise ConfigError(cannot_write(path, error)) from error


def write_json(path: Path, data: Any) -> None:
    """Write JSON-ready data as `write_whole` does."""
    write_whole(path, (json.dumps(data, indent=1) + "\n").encode())


def cannot_write(path: Path, error: OSError) -> str:
    """The error sentence for a file that cannot be written, with cause and remedy."""
    cause = _CAUSES.get(error.errno or 0, f"{error.strerror or error}")
    return f"cannot write {path}: {cause}; the files saved before are intact"


def append_line(path: Path, text: str) -> None:
    """Append one line; an incomplete last line, left by a killed process, is cut off first.

    Raises ConfigError where it cannot be written; the existing lines are intact then.
    """
    line = f"{text}\n".encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # unbuffered: a full disk must raise here, not when the file is closed
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
def lock_folder(folder: Path, what: str) -> Iterator[None]:
    """Lock the folder against a second `what` until the block or the process ends; a missing folder is created.

    Temporary files of a killed process are removed. Raises ConfigError where the folder cannot be created or is locked
    by another process.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError(f"cannot create the folder {folder}: {error.strerror}; choose another folder") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another {what} is running in {folder}: wait until it ends, or stop it") from None
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


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
