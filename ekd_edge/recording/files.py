"""The files of recordings: folder of a port, names in the order of recording, and locks against removal."""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["SUFFIX", "FileName", "OpenFile", "file_name", "folder_lock", "in_order", "make_folder", "recording_folder"]

SUFFIX: Final = ".ekdrec"

_NAME = re.compile(r"(\d{6,12})-(\d{4,12})-\d{8}T\d{6}Z" + re.escape(SUFFIX))
_NO_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
_HASHED = re.compile(r".*-[0-9a-f]{8}")
_MAX_NAME = 64


@dataclass(frozen=True, slots=True, order=True)
class FileName:
    """The place of a file in its folder. run: number of the run, from 1. number: of the file in its run, from 1."""

    run: int
    number: int

    def text(self, stamp: str) -> str:
        """The file's name. stamp: when it was started, such as 20261125T101530Z."""
        return f"{self.run:06d}-{self.number:04d}-{stamp}{SUFFIX}"


def file_name(path: Path) -> FileName | None:
    """The place of a file by its name; None for another name, such as that of a recording of format 1."""
    found = _NAME.fullmatch(path.name)
    return None if found is None else FileName(int(found[1]), int(found[2]))


def in_order(folder: Path) -> list[Path]:
    """The recordings of a folder in the order of recording, which a wall clock that was set back does not change.

    Other names, such as those of format 1, come first, in the order of their text. Raises OSError for a folder that
    cannot be read.
    """
    found = [path for path in folder.iterdir() if path.name.endswith(SUFFIX)]  # glob hides a missing permission
    return sorted(found, key=lambda path: (file_name(path) or FileName(0, 0), path.name))


def recording_folder(base: Path, port: str) -> Path:
    """The folder of a port's recordings within a folder for several ports.

    The name is ASCII and printable. Two ports never share a folder: where the name differs from the port, it ends in a
    hash of it.
    """
    name = _NO_NAME.sub("-", port).strip("-.")[:_MAX_NAME]
    if name != port or _HASHED.fullmatch(name):
        digest = hashlib.sha256(port.encode("utf-8", "surrogateescape")).hexdigest()
        name = f"{name or 'port'}-{digest[:8]}"
    return base / name


def make_folder(folder: Path) -> None:
    """Make a folder and the missing ones above it, each open to this user only. Raises OSError."""
    missing = [folder, *folder.parents]
    for each in reversed(missing):
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)
    if not folder.is_dir():
        folder.mkdir(mode=0o700)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Lock a folder while files in it are made or removed; without effect where its file system has no locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class OpenFile:
    """A recording that is being written. It is open to this user only, and locked until it is closed.

    Args:
        folder: of the recording, locked by `folder_lock`.
        name: its place; a later number is taken where this one exists.
        stamp: when it is started.

    Raises:
        OSError: the file cannot be created.
    """

    def __init__(self, folder: Path, name: FileName, stamp: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        while True:
            self.path = folder / name.text(stamp)
            try:
                self._descriptor = os.open(self.path, flags, 0o600)
                break
            except FileExistsError:
                name = FileName(name.run, name.number + 1)
        with suppress(OSError):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.name = name
        self.size = self.samples = 0
        self._synced = True

    @property
    def is_deleted(self) -> bool:
        """Whether the file has no name any more: what is written to it is lost."""
        return os.fstat(self._descriptor).st_nlink == 0

    def append(self, data: bytes) -> None:
        """Append all of the data. Raises OSError; `abandon` then removes the part that was written."""
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]
        self.size += len(data)
        self._synced = False

    def sync(self) -> None:
        """Wait until the data are on the disk. Raises OSError."""
        if not self._synced:
            os.fdatasync(self._descriptor)
            self._synced = True

    def close(self) -> None:
        """Synchronize and close. Raises OSError."""
        try:
            self.sync()
        finally:
            os.close(self._descriptor)

    def abandon(self) -> None:
        """Close after an error: an incomplete last write is cut off, and a file without data is removed."""
        with suppress(OSError):
            if self.size == 0 and not self.is_deleted:
                self.path.unlink()
            os.ftruncate(self._descriptor, self.size)
        with suppress(OSError):
            os.close(self._descriptor)
