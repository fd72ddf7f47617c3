"""Nobody is examined on what a model learned from: not under the same name, and not under another one.

A window that is not constant is as good as a fingerprint: two recordings do not share one by chance. So windows are
compared by SHA-256 of their bytes. Processed on another kind of machine, a copy may differ in a last bit and pass;
names are compared besides. Runs without torch.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError
from ekd_edge.model.manifest import Manifest
from ekd_train.data.windows import WindowSet

__all__ = ["check_disjoint", "check_never_learned", "with_window_hashes"]

HASHES_AT_MOST = 256
HASHES_A_RECORDING = 4
_HEX_DIGITS = 16
_NAMED_AT_MOST = 5


def check_disjoint(learned: Sequence[WindowSet], examined: WindowSet) -> None:
    """Raise DataError where subjects or windows of `examined` are among those that shaped the model.

    learned: windows of training (calibration is a part of it) and of validation.
    """
    both = {name for part in learned for name in part.subjects} & set(examined.subjects)
    if both:
        raise DataError(f"{_some(both)} would be examined on a model that learned from them: split by subject again")
    mine = dict(_fingerprints(examined))
    known = {digest: subject for part in learned for digest, subject in _fingerprints(part) if digest in mine}
    if known:
        copies = [subject for digest, subject in _fingerprints(examined) if digest in known]
        raise DataError(
            f"{len(copies)} windows of {_some(copies)} are also windows of {_some(known.values())}, from whom the "
            "model learned: the same recordings under two names; keep one of them and train again"
        )


def with_window_hashes(manifest: Manifest, learned: Sequence[WindowSet]) -> Manifest:
    """The manifest with hashes of a few windows of each recording that shaped the model, see `Training`."""
    everything = [part for part in learned if len(part)]
    recordings = sum(len(np.unique(part.recording)) for part in everything)
    each = min(HASHES_A_RECORDING, max(1, HASHES_AT_MOST // max(1, recordings)))
    hashes: list[str] = []
    for part in everything:
        for name in np.unique(part.recording):
            rows = part.gsr[part.recording == name]
            digests = [digest for digest, _ in _digests(rows)]
            hashes += [digest[:_HEX_DIGITS] for digest in _spread(digests, each)]
    chosen = tuple(sorted(set(_spread(hashes, HASHES_AT_MOST))))
    return replace(manifest, training=replace(manifest.training, window_hashes=chosen))


def check_never_learned(manifests: Sequence[Manifest], examined: WindowSet) -> None:
    """Raise DataError where a window of `examined` is one whose hash a manifest carries."""
    known = {digest for manifest in manifests for digest in manifest.training.window_hashes}
    copies = [subject for digest, subject in _fingerprints(examined) if digest[:_HEX_DIGITS] in known] if known else []
    if copies:
        raise DataError(
            f"{len(copies)} windows of {_some(copies)} shaped one of these models, under another name: evaluate on "
            "people whom it has never seen"
        )


def _fingerprints(windows: WindowSet) -> Iterator[tuple[str, str]]:
    """SHA-256 and subject of each window that is not constant."""
    for digest, row in _digests(windows.gsr):
        yield digest, str(windows.subject[row])


def _digests(windows: NDArray[np.float32]) -> Iterator[tuple[str, int]]:
    """SHA-256 of the little-endian bytes, and row, of each window (n, window_samples) that is not constant."""
    for row, window in enumerate(windows):
        if (window != window[0]).any():
            yield hashlib.sha256(np.ascontiguousarray(window, "<f4").data).hexdigest(), row


def _spread(items: list[str], count: int) -> list[str]:
    """At most `count` of them, evenly spread."""
    if len(items) <= count:
        return items
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]


def _some(names: Iterable[str]) -> str:
    unique = sorted(set(names))
    more = f" and {len(unique) - _NAMED_AT_MOST} more" if len(unique) > _NAMED_AT_MOST else ""
    return ", ".join(unique[:_NAMED_AT_MOST]) + more
