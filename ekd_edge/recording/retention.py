"""The oldest recordings of a folder are removed while its disk is too full."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ekd_edge.recording.files import file_name, in_order

__all__ = ["Retention", "file_limit", "make_room"]

_MAX_FREE_SHARE = 10
_LEAST_FILE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Retention:
    """file_bytes: size at which a new file is started, see `file_limit`; one is also started at the end of a day (UTC).

    free_bytes: the oldest recordings in the folder are removed while less than this is free on its disk; on a small
    disk, a tenth of the disk.
    """

    file_bytes: int = 64 << 20
    free_bytes: int = 500 << 20


def file_limit(folder: Path, retention: Retention) -> int:
    """The size in bytes at which a new file is started in this folder: half of the space that is left free, at most.

    Room is made when a file is started: a larger file would fill the disk, and make room only by its own removal.
    Raises OSError where the disk cannot be read.
    """
    if not (free := _wanted_free(retention, shutil.disk_usage(folder).total)):
        return retention.file_bytes
    return min(retention.file_bytes, max(_LEAST_FILE_BYTES, free // 2))


def make_room(folder: Path, retention: Retention, own_run: int) -> Iterator[Path]:
    """Remove the oldest recordings of a folder while its disk is too full.

    A file that a process writes is kept, and so are the other files of that process.

    Args:
        folder: of the recordings, locked by `ekd_edge.recording.files.folder_lock`.
        retention: how much of the disk is left free.
        own_run: number of the run that needs the space; its own closed files are removed too.

    Yields:
        Each file that was removed. A file that cannot be removed is skipped.

    Raises:
        OSError: the disk cannot be read.
    """
    files = in_order(folder)
    running: set[int] | None = None
    for path in files:
        disk = shutil.disk_usage(folder)
        if disk.free >= _wanted_free(retention, disk.total):
            return
        if running is None:
            running = {name.run for each in files if (name := file_name(each)) and _in_use(each)} - {own_run}
        name = file_name(path)
        if (name is not None and name.run in running) or _in_use(path):
            continue
        with suppress(OSError):
            path.unlink()
            yield path


def _wanted_free(retention: Retention, total_bytes: int) -> int:
    return min(retention.free_bytes, total_bytes // _MAX_FREE_SHARE)


def _in_use(path: Path) -> bool:
    """Whether a process has locked the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
