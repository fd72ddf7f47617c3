"""Converted windows on disk. They are written once and then mapped into memory.

FOLDER/windows/KEY/   one entry: the windows of all subjects of a dataset, for one pair of signal specifications
  gsr.npy  eeg.npy    float32 arrays of `Conversion`, which numpy.load can read
  entry.json          the trials, the dataset's name and notes, the shapes, and a digest of all of these
FOLDER/windows/KEY.lock, KEY.*.part   present while an entry is being written
FOLDER/hashes.json    digests of large data files by path, size and times (`ekd_train.data.cache.fingerprint`)

KEY is a digest of the data's content, the specifications and the code, so an entry is never out of date. An entry is
written to a temporary folder, synced to disk and renamed, so readers never see an incomplete entry.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from ekd_edge.atomic_files import sync_folder
from ekd_train.data.cache.fingerprint import CODE, cache_folder
from ekd_train.data.cache.lock import is_held, locked
from ekd_train.data.cache.row_files import RowFile, Rows, WriteError, map_rows
from ekd_train.data.convert import Cutting
from ekd_train.data.windows import Conversion, ConvertedTrial

__all__ = [
    "ENTRY",
    "NAME",
    "Convert",
    "Converted",
    "DamagedError",
    "entry_key",
    "fetch",
    "in_progress",
    "megabytes",
    "read_entry",
]

FORMAT = 2
ENTRY, _GSR, _EEG = "entry.json", "gsr.npy", "eeg.npy"
NAME = re.compile(r"[0-9a-f]{64}(\..+\.part)?")
"""Pattern of the folders that the cache creates. The cache does not delete other folders."""


@dataclass(frozen=True, slots=True)
class Converted:
    """Trials and notes of windows that were written; `Conversion` describes them."""

    trials: tuple[ConvertedTrial, ...]
    notes: tuple[str, ...] = ()


Convert = Callable[[Rows, Rows | None], Converted]
"""Function that appends the GSR and EEG windows of all subjects to its arguments."""


class DamagedError(Exception):
    """An entry of the cache is damaged."""


def entry_key(fingerprint: str, cutting: Cutting, code: str = CODE) -> str:
    """Return the key of the entry: a digest of the data, the specifications and the code."""
    return _digest({"format": FORMAT, "data": fingerprint, "code": code, **cutting.to_json()})


def fetch(
    key: str, data: str, window_s: float, with_eeg: bool, convert: Convert, notify: Callable[[str], None]
) -> Conversion | None:
    """Return the conversion of the entry `key` with mapped arrays, and write the entry first if it does not exist.

    If several processes need the same entry, one writes it and the others wait. A damaged entry is replaced.
    Exceptions of `convert` are passed on.

    Args:
        key: from `entry_key`.
        data: the dataset's name, for messages.
        window_s: window length in seconds.
        with_eeg: whether the windows have EEG.
        convert: writes the windows.
        notify: called with a sentence if an entry is written or replaced, or if the cache cannot be used.

    Returns:
        The conversion, or None if the cache is off or cannot be used.
    """
    root = cache_folder()
    if root is None:
        return None
    folder = root / "windows"
    try:
        with contextlib.suppress(DamagedError, FileNotFoundError):
            return _open(folder / key, window_s)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(folder / f"{key}.lock"):
            return _write(folder, key, data, window_s, with_eeg, convert, notify)
    except (OSError, WriteError, DamagedError) as error:
        reason = error.strerror or error if isinstance(error, OSError) else error
        notify(
            f"the cache {root} cannot be used ({reason}), so {data} is converted each time: free disk space there or "
            "set EKD_CACHE to another folder"
        )
        return None


def _write(
    folder: Path,
    key: str,
    data: str,
    window_s: float,
    with_eeg: bool,
    convert: Convert,
    notify: Callable[[str], None],
) -> Conversion:
    """Write the entry and return its conversion. The caller holds the lock."""
    entry = folder / key
    try:
        return _open(entry, window_s)  # another process finished first
    except FileNotFoundError:
        pass
    except DamagedError as error:
        notify(f"{error} and are converted again")
        shutil.rmtree(entry)
    for leftover in folder.glob("*.part/"):
        if NAME.fullmatch(leftover.name) and (leftover.name.startswith(key) or not in_progress(leftover)):
            shutil.rmtree(leftover, ignore_errors=True)
    part = Path(mkdtemp(prefix=f"{key}.", suffix=".part", dir=folder))
    files: list[RowFile] = []
    try:
        files += [RowFile(part / name) for name in ((_GSR, _EEG) if with_eeg else (_GSR,))]
        converted = convert(files[0], files[1] if with_eeg else None)
        shapes = [file.finish() for file in files]
        if shapes[0][0] == 0:  # an empty file cannot be mapped
            empty = [np.empty(shape, np.float32) for shape in shapes]
            eeg = empty[1] if with_eeg else None
            return Conversion(empty[0], eeg, converted.trials, window_s, converted.notes)
        _write_entry(part / ENTRY, key, data, shapes, converted)
        size = sum(path.stat().st_size for path in part.iterdir())
        sync_folder(part)
        try:
            part.rename(entry)
        except OSError:
            if not entry.is_dir():  # a machine whose locks are not visible here may have written it
                raise
        sync_folder(folder)
    finally:
        for file in files:
            file.close()
        shutil.rmtree(part, ignore_errors=True)
    notify(
        f"the windows of {data} are stored in {folder} ({megabytes(size)}): ekd-train cache lists the entries, "
        "ekd-train cache --clear deletes them"
    )
    return _open(entry, window_s)


def _write_entry(path: Path, key: str, data: str, shapes: list[tuple[int, ...]], converted: Converted) -> None:
    contents = {
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
                "left_out": trial.left_out,
            }
            for trial in converted.trials
        ],
        "notes": list(converted.notes),
    }
    with path.open("w", encoding="utf-8") as file:
        json.dump({"entry": contents, "sha256": _digest(contents)}, file)
        file.flush()
        os.fsync(file.fileno())


def read_entry(entry: Path) -> dict[str, Any]:
    """Return the content of entry.json.

    Raises FileNotFoundError if there is no entry, and DamagedError if it is damaged.
    """
    if not entry.is_dir():
        raise FileNotFoundError(entry)
    try:
        text = json.loads((entry / ENTRY).read_bytes())
        contents: dict[str, Any] = text["entry"]
        valid = text["sha256"] == _digest(contents) and contents["format"] == FORMAT and contents["key"] == entry.name
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        valid = False
    if not valid:
        raise DamagedError(f"the cached windows in {entry} are damaged")
    return contents


def _open(entry: Path, window_s: float) -> Conversion:
    """Map the entry. Raises FileNotFoundError if there is no entry, DamagedError if it is damaged."""
    contents = read_entry(entry)
    try:
        shapes = [tuple(shape) for shape in contents["shapes"]]
        arrays = [map_rows(entry / name, shape) for name, shape in zip((_GSR, _EEG), shapes, strict=False)]
        trials = tuple(ConvertedTrial(**(trial | {"end_s": tuple(trial["end_s"])})) for trial in contents["trials"])
        eeg = arrays[1] if len(arrays) > 1 else None
        conversion = Conversion(arrays[0], eeg, trials, window_s, tuple(contents["notes"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DamagedError(f"the cached windows in {entry} are damaged") from error
    with contextlib.suppress(OSError):  # the cache may be read-only
        os.utime(entry / ENTRY)
    return conversion


def in_progress(folder: Path) -> bool:
    """Return whether a process is writing the entry to which this folder belongs."""
    return is_held(folder.with_name(f"{folder.name.partition('.')[0]}.lock"))


def megabytes(size_bytes: int) -> str:
    """Return a size in MB or GB as text."""
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"


def _digest(contents: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()
