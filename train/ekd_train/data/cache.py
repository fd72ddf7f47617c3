"""Converted windows on disk: made once, then mapped into memory.

FOLDER/windows/KEY/   one entry: the windows of all subjects of a dataset, for one pair of signal specifications
  gsr.npy  eeg.npy    float32, as `Conversion` has them; numpy.load reads them too
  entry.json          the trials, what the entry was made from, and a digest of all that
FOLDER/windows/KEY.lock, KEY.*.part   while an entry is being made
FOLDER/hashes.json    contents of large data files by path, size and times (`ekd_train.data.fingerprint`)

KEY is a digest of the data's content, the specifications and the code, so an entry is never out of date. It is
written aside, brought to disk, and renamed into place: whoever opens it finds all of it or nothing.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from ekd_edge.signal.spec import SignalSpec
from ekd_train.data.eeg import EegFeatures
from ekd_train.data.fingerprint import CODE, cache_folder
from ekd_train.data.rows import RowFile, Rows, WriteError, map_rows
from ekd_train.data.windows import Conversion, ConvertedTrial

__all__ = ["CacheEntry", "Convert", "Converted", "clear", "describe", "entries", "entry_key", "fetch"]

FORMAT = 1
_ENTRY, _GSR, _EEG = "entry.json", "gsr.npy", "eeg.npy"


@dataclass(frozen=True, slots=True)
class Converted:
    """What belongs to windows that were written: see `Conversion`."""

    trials: tuple[ConvertedTrial, ...]
    notes: tuple[str, ...] = ()


Convert = Callable[[Rows, Rows | None], Converted]
"""Writes the windows of GSR and EEG of all subjects."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """An entry as `entries` lists it. data: the dataset as it was named. made, used: local times; None if damaged."""

    path: Path
    data: str
    windows: int
    size_bytes: int
    made: datetime | None
    used: datetime | None


class _DamagedError(Exception):
    """An entry is not as it was written."""


def entry_key(
    fingerprint: str, gsr_spec: SignalSpec, eeg_spec: SignalSpec | None, eeg_features: EegFeatures, code: str = CODE
) -> str:
    """The name of the entry for these data, specifications and code."""
    about = {
        "format": FORMAT,
        "data": fingerprint,
        "gsr": gsr_spec.to_json(),
        "eeg": eeg_spec.to_json() if eeg_spec is not None else None,
        "eeg_features": eeg_features if eeg_spec is not None else None,
        "code": code,
    }
    return _digest(about)


def fetch(
    key: str, data: str, window_s: float, with_eeg: bool, convert: Convert, notice: Callable[[str], None]
) -> Conversion | None:
    """The conversion that the entry `key` holds, its arrays mapped; made first with `convert` where there is none.

    Several processes that want the same entry wait for the first one. A damaged entry is made anew.
    None where the cache is off, or cannot be used, which `notice` is told. data: the dataset's name, for people.
    Raises what `convert` raises.
    """
    root = cache_folder()
    if root is None:
        return None
    folder = root / "windows"
    try:
        with contextlib.suppress(_DamagedError, FileNotFoundError):
            return _open(folder / key, window_s)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder / f"{key}.lock"):
            return _make(folder, key, data, window_s, with_eeg, convert, notice)
    except (OSError, WriteError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        notice(
            f"the cache {root} cannot be used ({why}), so {data} is converted each time: make room there or name "
            "another folder with EKD_CACHE"
        )
        return None


def entries() -> list[CacheEntry]:
    """All entries, the largest first."""
    root = cache_folder()
    found = [_describe(path) for path in (root / "windows").glob("*/")] if root is not None else []
    return sorted(found, key=lambda entry: entry.size_bytes, reverse=True)


def describe() -> str:
    """All entries as a table for people."""
    root = cache_folder()
    if root is None:
        return "the cache is off: set EKD_CACHE to a folder, or unset it for ~/.cache/ekd"
    found = entries()
    lines = [f"{root / 'windows'}: {len(found)} entries, {_megabytes(sum(entry.size_bytes for entry in found))}"]
    for entry in found:
        times = [f"{time:%Y-%m-%d %H:%M}" if time is not None else "-" for time in (entry.made, entry.used)]
        lines.append(
            f"{_megabytes(entry.size_bytes):>9}  {entry.windows:>7} windows  made {times[0]:16}  used {times[1]:16}  "
            f"{entry.data}"
        )
    return "\n".join(lines)


def clear() -> int:
    """Delete all entries and leftovers, but for what is being made just now; return the bytes freed.

    Whoever has an entry mapped keeps it.
    """
    root = cache_folder()
    if root is None:
        return 0
    freed = sum(entry.size_bytes for entry in entries() if not _in_progress(entry.path))
    for path in (root / "windows").glob("*/"):
        if not _in_progress(path):
            shutil.rmtree(path, ignore_errors=True)
    for path in root.glob("*hashes.*"):
        path.unlink(missing_ok=True)
    return freed


def _make(
    folder: Path,
    key: str,
    data: str,
    window_s: float,
    with_eeg: bool,
    convert: Convert,
    notice: Callable[[str], None],
) -> Conversion:
    """The entry, with its lock held."""
    entry = folder / key
    try:
        return _open(entry, window_s)  # another process was faster
    except FileNotFoundError:
        pass
    except _DamagedError as error:
        notice(f"{error}: it is made anew")
        shutil.rmtree(entry)
    for leftover in folder.glob("*.part/"):
        if leftover.name.startswith(key) or not _in_progress(leftover):
            shutil.rmtree(leftover, ignore_errors=True)
    part = Path(mkdtemp(prefix=f"{key}.", suffix=".part", dir=folder))
    files: list[RowFile] = []
    try:
        files += [RowFile(part / name) for name in ((_GSR, _EEG) if with_eeg else (_GSR,))]
        converted = convert(files[0], files[1] if with_eeg else None)
        shapes = [file.finish() for file in files]
        if shapes[0][0] == 0:  # nothing to map
            empty = [np.empty(shape, np.float32) for shape in shapes]
            eeg = empty[1] if with_eeg else None
            return Conversion(empty[0], eeg, converted.trials, window_s, converted.notes)
        _write_entry(part / _ENTRY, key, data, shapes, converted)
        size = sum(path.stat().st_size for path in part.iterdir())
        _sync(part)
        try:
            part.rename(entry)
        except OSError:
            if not entry.is_dir():  # else made meanwhile by a machine whose locks are not seen here
                raise
        _sync(folder)
    finally:
        for file in files:
            file.close()
        shutil.rmtree(part, ignore_errors=True)
    notice(
        f"the windows of {data} are kept in {folder} ({_megabytes(size)}): ekd-train cache lists what is there, "
        "ekd-train cache --clear deletes it"
    )
    return _open(entry, window_s)


def _write_entry(path: Path, key: str, data: str, shapes: list[tuple[int, ...]], converted: Converted) -> None:
    about = {
        "format": FORMAT,
        "key": key,
        "data": data,
        "made": datetime.now().astimezone().isoformat(timespec="seconds"),
        "shapes": [list(shape) for shape in shapes],
        "trials": [
            {
                "subject": trial.subject,
                "recording": trial.recording,
                "name": trial.name,
                "ratings": {target: float(rating) for target, rating in trial.ratings.items()},
                "end_s": list(trial.end_s),
            }
            for trial in converted.trials
        ],
        "notes": list(converted.notes),
    }
    with path.open("w", encoding="utf-8") as file:
        json.dump({"entry": about, "sha256": _digest(about)}, file)
        file.flush()
        os.fsync(file.fileno())


def _read_entry(entry: Path) -> dict[str, Any]:
    """The content of entry.json. Raises FileNotFoundError where there is no entry, _DamagedError for a bad one."""
    if not entry.is_dir():
        raise FileNotFoundError(entry)
    try:
        text = json.loads((entry / _ENTRY).read_bytes())
        about: dict[str, Any] = text["entry"]
        sound = text["sha256"] == _digest(about) and about["format"] == FORMAT and about["key"] == entry.name
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise _DamagedError(f"the cached windows in {entry} are damaged")
    return about


def _open(entry: Path, window_s: float) -> Conversion:
    """The entry, mapped. Raises FileNotFoundError where there is none, _DamagedError for a bad one."""
    about = _read_entry(entry)
    try:
        shapes = [tuple(shape) for shape in about["shapes"]]
        arrays = [map_rows(entry / name, shape) for name, shape in zip((_GSR, _EEG), shapes, strict=False)]
        trials = tuple(ConvertedTrial(**(trial | {"end_s": tuple(trial["end_s"])})) for trial in about["trials"])
        eeg = arrays[1] if len(arrays) > 1 else None
        conversion = Conversion(arrays[0], eeg, trials, window_s, tuple(about["notes"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError, IndexError) as error:
        raise _DamagedError(f"the cached windows in {entry} are damaged") from error
    with contextlib.suppress(OSError):  # a cache that may only be read
        os.utime(entry / _ENTRY)
    return conversion


def _describe(path: Path) -> CacheEntry:
    size = 0
    try:
        size = sum(file.stat().st_size for file in path.iterdir())
        about = _read_entry(path)
        used = datetime.fromtimestamp((path / _ENTRY).stat().st_mtime).astimezone()
        made = datetime.fromisoformat(about["made"])
        return CacheEntry(path, about["data"], about["shapes"][0][0], size, made, used)
    except (_DamagedError, OSError):
        state = "being made" if _in_progress(path) else "unfinished" if path.suffix == ".part" else "damaged"
        return CacheEntry(path, f"({state})", 0, size, None, None)


@contextlib.contextmanager
def _locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock file, alone among processes; a process that ends lets go of it. It is deleted after use.

    Raises BlockingIOError where another process holds it and `wait` is false.
    """
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            try:
                if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    continue  # made anew since it was opened
            except FileNotFoundError:
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _in_progress(part: Path) -> bool:
    """Whether a process is at work on the entry that this folder belongs to."""
    lock = part.with_name(f"{part.name.partition('.')[0]}.lock")
    if not lock.exists():
        return False
    try:
        with _locked(lock, wait=False):
            return False
    except BlockingIOError:
        return True


def _digest(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"
