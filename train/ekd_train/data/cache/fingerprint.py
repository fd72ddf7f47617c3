"""Digests of everything that converted windows depend on: the contents of data files and the converting code."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ekd_edge.signal
import ekd_train.data
import firmware_bridge.devices
import firmware_bridge.synthesis
import firmware_bridge.units
from ekd_edge.atomic_files import pending_file
from ekd_edge.errors import DataError
from firmware_bridge.dependencies import version_of
from firmware_bridge.home import expand_user

__all__ = ["CODE", "MEMO", "cache_folder", "hash_files", "workers"]

MEMO = "hashes.json"
"""The file in the cache folder that stores the digests of large files."""

_MEMO_MIN_BYTES = 1 << 20
_MEMO_MAX_FILES = 20_000
_SETTLED_NS = 2_000_000_000
"""Digests of files changed more recently are not stored: a second change within one tick of the file system's clock
would not change the time stamps."""


def cache_folder() -> Path | None:
    """Return $EKD_CACHE, else $XDG_CACHE_HOME/ekd, else ~/.cache/ekd; None if EKD_CACHE is "off" or empty."""
    named = os.environ.get("EKD_CACHE")
    if named is not None:
        return None if named.strip().lower() in ("", "off") else expand_user(Path(named)).absolute()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (shared if shared.is_absolute() else Path.home() / ".cache") / "ekd"
    except RuntimeError:  # the user has no home folder
        return None


def workers() -> int:
    """Return the number of threads for work that waits for the disk or releases the GIL: one per core, at most four."""
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def hash_files(root: Path, files: Iterable[Path]) -> str:
    """Return the SHA-256 of the names (relative to root) and contents of these files, in this order.

    The cache folder stores the digests of files of 1 MiB and more by path, size and times of change.
    Raises DataError for a file that cannot be read.
    """
    paths = list(files)
    folder = cache_folder()
    memo = _read_memo(folder)
    with ThreadPoolExecutor(workers()) as pool:
        found = list(pool.map(lambda path: _hash(path, memo), paths))
    total = hashlib.sha256()
    fresh: dict[str, list[Any]] = {}
    for path, (digest, entry) in zip(paths, found, strict=True):
        total.update(f"{path.relative_to(root).as_posix()}\0{digest}\n".encode())
        if entry is not None:
            fresh[_memo_key(path)] = entry
    if fresh and folder is not None:
        _write_memo(folder, fresh)
    return total.hexdigest()


def _memo_key(path: Path) -> str:
    return str(path.resolve())


def _stamp(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _hash(path: Path, memo: dict[str, list[Any]]) -> tuple[str, list[Any] | None]:
    """Return the SHA-256 of the content, and the entry to store if it is new and the file is no longer changing."""
    try:
        known = memo.get(_memo_key(path))
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            if known is not None and known[:-1] == _stamp(before):
                return str(known[-1]), None
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            after = os.fstat(file.fileno())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    changed_ns = max(after.st_mtime_ns, after.st_ctime_ns)
    settled = _stamp(before) == _stamp(after) and changed_ns < time.time_ns() - _SETTLED_NS
    return digest, [*_stamp(after), digest] if settled and after.st_size >= _MEMO_MIN_BYTES else None


def _read_memo(folder: Path | None) -> dict[str, list[Any]]:
    """Return the stored digests; none if the file is absent or damaged."""
    if folder is None:
        return {}
    try:
        memo = json.loads((folder / MEMO).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(memo, dict):
        return {}
    return {path: entry for path, entry in memo.items() if isinstance(entry, list) and _is_valid(entry)}


def _is_valid(entry: list[Any]) -> bool:
    *stamp, digest = entry or [None]
    return len(stamp) == 3 and isinstance(digest, str) and len(digest) == 64 and set(digest) <= set("0123456789abcdef")


def _write_memo(folder: Path, fresh: dict[str, list[Any]]) -> None:
    """Add digests to the file atomically. If it cannot be written, the files are hashed again next time."""
    memo = _read_memo(folder)
    memo = {path: entry for path, entry in memo.items() if path not in fresh} | fresh
    text = json.dumps(dict(list(memo.items())[-_MEMO_MAX_FILES:]))
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with pending_file(folder / MEMO, text.encode(), sync=False) as commit:
            commit()


def _hash_code() -> str:
    """Return the SHA-256 of the code that converts files to windows, and of the versions of numpy and scipy."""
    packages = [ekd_edge.signal, firmware_bridge.devices, ekd_train.data]
    folders = [Path(str(package.__file__)).parent for package in packages]
    sources = [source for folder in folders for source in sorted(folder.rglob("*.py"))]
    sources += [Path(str(module.__file__)) for module in (firmware_bridge.synthesis, firmware_bridge.units)]
    total = hashlib.sha256(f"numpy {version_of('numpy')}, scipy {version_of('scipy')}\n".encode())
    for source in sources:
        total.update(hashlib.sha256(source.read_bytes()).digest())
    return total.hexdigest()


CODE = _hash_code()
"""SHA-256 of the code that determines windows. It is computed at import, because later edits of a source do not run."""
