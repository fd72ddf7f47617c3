"""The files of a folder of recordings, found without regard to the case of the suffix and the Unicode form of names."""

import unicodedata
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Final

from ekd_edge.errors import DataError
from firmware_bridge.suggestions import did_you_mean

__all__ = ["LABELS", "find_labels", "find_recordings", "recording_name"]

LABELS: Final = "labels.csv"
_SUFFIXES: Final = (".csv",)
_HIDDEN: Final = (".", "~$")
"""First characters of files that a system or a spreadsheet made."""


def recording_name(text: str) -> str:
    """The name of a recording: in Unicode's form NFC, without the suffix of its file."""
    name = unicodedata.normalize("NFC", text)
    suffix = next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def find_labels(folder: Path) -> Path:
    """The path of labels.csv, whose name may be in capitals; it may not exist."""
    path = folder / LABELS
    if path.is_file():
        return path
    return next((each for each in sorted(folder.iterdir()) if each.name.lower() == LABELS), path)


def find_recordings(folder: Path, labeled: Collection[str] = ()) -> dict[str, Path]:
    """The files of recordings by name, sorted.

    Args:
        folder: it is searched, its subfolders are not.
        labeled: names of recordings that must be found; "p01/eda" is the file eda.csv of the subfolder p01.

    Returns:
        All recordings of the folder, and the labeled ones of subfolders.

    Raises:
        DataError: a labeled recording has no file, or two.
    """
    found = _files(folder)
    inside = {parent for name in labeled if (parent := str(PurePosixPath(name).parent)) != "."}
    for parent in sorted(inside):
        path = PurePosixPath(parent)
        if path.is_absolute() or ".." in path.parts:
            raise DataError(f"{LABELS} names recordings in {parent}, which is not in {folder}: move them there")
        of_parent = _files(_child(folder, path))
        found |= {f"{parent}/{name}": files for name, files in of_parent.items() if f"{parent}/{name}" in labeled}
    for name in sorted(labeled):
        files = found.get(name, [])
        if not files:
            raise DataError(
                f"{folder / LABELS} has the recording {name!r}, but there is no file {name}.csv: add the file or "
                f"delete the lines{did_you_mean(name, list(found))}"
            )
        if len(files) > 1:
            raise DataError(
                f"{' and '.join(file.name for file in files)} are both the recording {name!r}: rename one of them"
            )
    return {name: files[0] for name, files in sorted(found.items())}


def _files(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    if not folder.is_dir():
        return found
    for path in sorted(folder.iterdir()):
        is_recording = path.suffix.lower() in _SUFFIXES and path.name.lower() != LABELS
        if is_recording and not path.name.startswith(_HIDDEN):
            found.setdefault(recording_name(path.name), []).append(path)
    return found


def _child(folder: Path, path: PurePosixPath) -> Path:
    """A subfolder; its name in the file system may be in another Unicode form."""
    for part in path.parts:
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
        same = (each for each in inside if unicodedata.normalize("NFC", each.name) == part)
        folder = next(same, folder / part)
    return folder
