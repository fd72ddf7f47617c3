"""Hashes of subjects, by which a model file lists its training subjects without their names.

A hash is a pseudonym, not anonymity: with a dataset's identity and its subjects' names, anyone can compute the hashes
and compare them, as held-out evaluation does.
"""

import hashlib
import re
from collections.abc import Iterable

__all__ = ["hash_subject", "hash_subjects", "is_subject_hash"]

_HASH = re.compile(r"[0-9a-f]{16}")


def hash_subject(dataset_identity: str, name: str) -> str:
    """16 hex digits of SHA-256, the same for the same subject of the same dataset."""
    text = "\0".join(("ekd subject", dataset_identity, name))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def hash_subjects(dataset_identity: str, names: Iterable[str]) -> tuple[str, ...]:
    """The hash of each name, sorted, so that the order reveals nothing."""
    return tuple(sorted(hash_subject(dataset_identity, name) for name in names))


def is_subject_hash(text: str) -> bool:
    """Whether the text has the form of a `hash_subject`."""
    return _HASH.fullmatch(text) is not None
