"""Listing and deletion of converted windows for `ekd-train cache`."""

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ekd_train.data.cache.fingerprint import MEMO, cache_folder
from ekd_train.data.cache.store import ENTRY, NAME, DamagedError, in_progress, megabytes, read_entry

__all__ = ["CacheEntry", "clear", "describe", "entries"]


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """An entry of the cache.

    data: the text of `--data`, or the state of an entry that cannot be read. made, used: local times, or None for an
    entry that cannot be read.
    """

    path: Path
    data: str
    windows: int
    size_bytes: int
    made: datetime | None
    used: datetime | None


def entries() -> list[CacheEntry]:
    """Return all entries, the largest first."""
    root = cache_folder()
    if root is None:
        return []
    found = [_describe(path) for path in (root / "windows").glob("*/") if NAME.fullmatch(path.name)]
    return sorted(found, key=lambda entry: entry.size_bytes, reverse=True)


def describe() -> str:
    """Return all entries as a table for the terminal."""
    root = cache_folder()
    if root is None:
        return "the cache is off: set EKD_CACHE to a folder, or unset it for ~/.cache/ekd"
    found = entries()
    lines = [f"{root / 'windows'}: {len(found)} entries, {megabytes(sum(entry.size_bytes for entry in found))}"]
    for entry in found:
        times = [f"{time:%Y-%m-%d %H:%M}" if time is not None else "-" for time in (entry.made, entry.used)]
        lines.append(
            f"{megabytes(entry.size_bytes):>9}  {entry.windows:>7} windows  made {times[0]:16}  used {times[1]:16}  "
            f"{entry.data}"
        )
    return "\n".join(lines)


def clear() -> int:
    """Delete all entries and unfinished folders except those that are being written; return the number of freed bytes.

    Processes that have mapped an entry can still read it.
    """
    root = cache_folder()
    if root is None:
        return 0
    freed = 0
    for entry in entries():
        if not in_progress(entry.path):
            shutil.rmtree(entry.path, ignore_errors=True)
            freed += 0 if entry.path.exists() else entry.size_bytes
    for path in (root / MEMO, *root.glob(f".{MEMO}.*")):
        path.unlink(missing_ok=True)
    return freed


def _describe(path: Path) -> CacheEntry:
    size = 0
    try:
        size = sum(file.stat().st_size for file in path.iterdir())
        about = read_entry(path)
        used = datetime.fromtimestamp((path / ENTRY).stat().st_mtime).astimezone()
        made = datetime.fromisoformat(about["made"])
        return CacheEntry(path, about["data"], about["shapes"][0][0], size, made, used)
    except (DamagedError, OSError):
        state = "being written" if in_progress(path) else "unfinished" if path.suffix == ".part" else "damaged"
        return CacheEntry(path, f"({state})", 0, size, None, None)
