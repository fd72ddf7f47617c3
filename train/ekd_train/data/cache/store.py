"""Converted windows on disk: written once, then mapped into memory.

FOLDER/windows/KEY/   one entry: the windows of all subjects of a dataset, for one pair of signal specifications
  gsr.npy  eeg.npy    float32, as `Conversion` has them; numpy.load reads them too
  entry.json          the trials, what the entry was made from, and a digest of all that
FOLDER/windows/KEY.lock, KEY.*.part   while an entry is being made
FOLDER/hashes.json    contents of large data files by path, size and times (`ekd_train.data.cache.fingerprint`)

KEY is a digest of the data's content, the specifications and the code, so an entry is never out of date. It is
written to a temporary folder, synced to disk, and renamed into place: readers find a whole entry or none.
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
from ekd_edge.signal.spec import SignalSpec
from ekd_train.data.band_power import EegFeatures
from ekd_train.data.cache.fingerprint import CODE, cache_folder
from ekd_train.data.cache.lock import is_held, locked
from ekd_train.data.cache.row_files import RowFile, Rows, WriteError, map_rows
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

FORMAT = 1
ENTRY, _GSR, _EEG = "entry.json", "gsr.npy", "eeg.npy"
NAME = re.compile(r"[0-9a-f]{64}(\..+\.part)?")
"""Pattern of the cache's own folders; no other folder is ever deleted."""


@dataclass(frozen=True, slots=True)
class Converted:
    """Trials and notes of windows that were written, see `Conversion`."""

    trials: tuple[ConvertedTrial, ...]
    notes: tuple[str, ...] = ()


Convert = Callable[[Rows, Rows | None], Converted]
"""Writes the windows of GSR and EEG of all subjects."""


class DamagedError(Exception):
    """An entry is damaged."""


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

    Several processes that want the same entry wait for the first one. A damaged entry is replaced.
    None where the cache is off or cannot be used; `notice` gets the reason. data: the dataset's name, for people.
    Raises what `convert` raises.
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
            return _make(folder, key, data, window_s, with_eeg, convert, notice)
    except (OSError, WriteError, DamagedError) as error:
        why = error.strerror or error if isinstance(error, OSError) else error
        notice(
            f"the cache {root} cannot be used ({why}), so {data} is converted each time: make room there or name "
            "another folder with EKD_CACHE"
        )
        return None


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
        return _open(entry, window_s)  # another process finished first
    except FileNotFoundError:
        pass
    except DamagedError as error:
        notice(f"{error}: it is made again")
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
        if shapes[0][0] == 0:  # nothing to map
            empty = [np.empty(shape, np.float32) for shape in shapes]
            eeg = empty[1] if with_eeg else None
            return Conversion(empty[0], eeg, converted.trials, window_s, converted.notes)
        _write_entry(part / ENTRY, key, data, shapes, converted)
        size = sum(path.stat().st_size for path in part.iterdir())
        sync_folder(part)
        try:
            part.rename(entry)
        except OSError:
            if not entry.is_dir():  # else written meanwhile by a machine whose locks are not visible here
                raise
        sync_folder(folder)
    finally:
        for file in files:
            file.close()
        shutil.rmtree(part, ignore_errors=True)
    notice(
        f"the windows of {data} are kept in {folder} ({megabytes(size)}): ekd-train cache lists what is there, "
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


def read_entry(entry: Path) -> dict[str, Any]:
    """The content of entry.json. Raises FileNotFoundError where there is no entry, DamagedError for a bad one."""
    if not entry.is_dir():
        raise FileNotFoundError(entry)
    try:
        text = json.loads((entry / ENTRY).read_bytes())
        about: dict[str, Any] = text["entry"]
        sound = text["sha256"] == _digest(about) and about["format"] == FORMAT and about["key"] == entry.name
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise DamagedError(f"the cached windows in {entry} are damaged")
    return about


def _open(entry: Path, window_s: float) -> Conversion:
    """The entry, mapped. Raises FileNotFoundError where there is none, DamagedError for a bad one."""
    about = read_entry(entry)
    try:
        shapes = [tuple(shape) for shape in about["shapes"]]
        arrays = [map_rows(entry / name, shape) for name, shape in zip((_GSR, _EEG), shapes, strict=False)]
        trials = tuple(ConvertedTrial(**(trial | {"end_s": tuple(trial["end_s"])})) for trial in about["trials"])
        eeg = arrays[1] if len(arrays) > 1 else None
        conversion = Conversion(arrays[0], eeg, trials, window_s, tuple(about["notes"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DamagedError(f"the cached windows in {entry} are damaged") from error
    with contextlib.suppress(OSError):  # a cache that may only be read
        os.utime(entry / ENTRY)
    return conversion


def in_progress(folder: Path) -> bool:
    """Whether a process is at work on the entry that this folder belongs to."""
    return is_held(folder.with_name(f"{folder.name.partition('.')[0]}.lock"))


def megabytes(size_bytes: int) -> str:
    """A size for people."""
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"


def _digest(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
