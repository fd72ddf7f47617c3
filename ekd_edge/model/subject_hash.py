"""Subjects by hash: a model file says who shaped it without naming anybody.

A pseudonym, not anonymity: whoever knows a dataset's identity can hash its subjects' names and compare. That is what
held-out evaluation does.
"""

import hashlib
import re
from collections.abc import Iterable

__all__ = ["hash_subject", "hash_subjects", "is_subject_hash"]

_HASH = re.compile(r"[0-9a-f]{16}")


def hash_subject(dataset_identity: str, name: str) -> str:
    """16 hex digits of SHA-256, the same for the same subject of the same dataset."""
    told = "\0".join(("ekd subject", dataset_identity, name))
    return hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()[:16]


def hash_subjects(dataset_identity: str, names: Iterable[str]) -> tuple[str, ...]:
    """The hash of each, sorted, so that the order tells nothing."""
    return tuple(sorted(hash_subject(dataset_identity, name) for name in names))


def is_subject_hash(text: str) -> bool:
    """Whether the text has the form of a `hash_subject`."""
    return _HASH.fullmatch(text) is not None
