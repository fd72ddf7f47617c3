"""Leakage checks: no test window may also be a training window, under the same subject name or another one.

Windows are compared by SHA-256 of their bytes, since two recordings do not share a window by chance unless it is
constant. A copy that was processed on another kind of machine may differ in a last bit and is not found; subject names
are compared as well. Runs without torch.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError
from ekd_edge.model.manifest import Manifest
from ekd_train.data.windows import WindowSet

__all__ = ["check_disjoint", "check_unseen", "with_window_hashes"]

MAX_HASHES = 256
HASHES_PER_RECORDING = 4
_HEX_DIGITS = 16
_NAMES_SHOWN = 5


def check_disjoint(seen: Sequence[WindowSet], test: WindowSet) -> None:
    """Raise DataError where subjects or windows of `test` are among those of training or validation.

    seen: windows of training, which calibration takes its windows from, and of validation.
    """
    both = {name for part in seen for name in part.subjects} & set(test.subjects)
    if both:
        raise DataError(
            f"{_list_names(both)} are test subjects of a model that was trained on them: split by subject again"
        )
    test_hashes = dict(_fingerprints(test))
    shared = {digest: subject for part in seen for digest, subject in _fingerprints(part) if digest in test_hashes}
    if shared:
        copies = [subject for digest, subject in _fingerprints(test) if digest in shared]
        raise DataError(
            f"{len(copies)} test windows of {_list_names(copies)} are also training windows of "
            f"{_list_names(shared.values())}: the same recordings are in the data under two names; "
            "keep one of them and train again"
        )


def with_window_hashes(manifest: Manifest, seen: Sequence[WindowSet]) -> Manifest:
    """The manifest with hashes of a few windows of each recording in `seen`; see `Training.window_hashes`."""
    parts = [part for part in seen if len(part)]
    recordings = sum(len(np.unique(part.recording)) for part in parts)
    per_recording = min(HASHES_PER_RECORDING, max(1, MAX_HASHES // max(1, recordings)))
    hashes: list[str] = []
    for part in parts:
        for name in np.unique(part.recording):
            rows = part.gsr[part.recording == name]
            digests = [digest for digest, _ in _digests(rows)]
            hashes += [digest[:_HEX_DIGITS] for digest in _evenly_spaced(digests, per_recording)]
    chosen = tuple(sorted(set(_evenly_spaced(hashes, MAX_HASHES))))
    return replace(manifest, training=replace(manifest.training, window_hashes=chosen))


def check_unseen(manifests: Sequence[Manifest], windows: WindowSet) -> None:
    """Raise DataError where the hash of one of the windows is in a model's manifest."""
    known = {digest for manifest in manifests for digest in manifest.training.window_hashes}
    copies = [subject for digest, subject in _fingerprints(windows) if digest[:_HEX_DIGITS] in known] if known else []
    if copies:
        raise DataError(
            f"{len(copies)} windows of {_list_names(copies)} were used to train one of these models, under another "
            "name: evaluate on subjects that it has not seen"
        )


def _fingerprints(windows: WindowSet) -> Iterator[tuple[str, str]]:
    """SHA-256 and subject of each window that is not constant."""
    for digest, row in _digests(windows.gsr):
        yield digest, str(windows.subject[row])


def _digests(windows: NDArray[np.float32]) -> Iterator[tuple[str, int]]:
    """SHA-256 of the little-endian bytes, and row, of each window that is not constant; windows (n, window_samples)."""
    for row, window in enumerate(windows):
        if (window != window[0]).any():
            yield hashlib.sha256(np.ascontiguousarray(window, "<f4").data).hexdigest(), row


def _evenly_spaced(items: list[str], count: int) -> list[str]:
    """At most `count` of the items, evenly spaced."""
    if len(items) <= count:
        return items
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]


def _list_names(names: Iterable[str]) -> str:
    unique = sorted(set(names))
    more = f" and {len(unique) - _NAMES_SHOWN} more" if len(unique) > _NAMES_SHOWN else ""
    return ", ".join(unique[:_NAMES_SHOWN]) + more
