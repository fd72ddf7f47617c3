"""Strict parsing of untrusted JSON: the type of every field is checked, and unknown fields are rejected."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ekd_edge.errors import ModelFileError
from ekd_edge.model.subject_hash import is_subject_hash

__all__ = ["Fields", "check_texts", "parse_object"]

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class Fields:
    """Typed access to one JSON object that consumes its fields; every ModelFileError names the field."""

    def __init__(self, name: str, data: Mapping[str, Any]) -> None:
        self._name = name
        self._left = dict(data)

    def take(self, key: str, kind: type, what: str) -> Any:
        """Remove and return the value of a key. kind: its exact type. what: the type's name in the error sentence."""
        value = self._left.pop(key, None)
        if type(value) is not kind:
            raise ModelFileError(f"manifest: {self._name}.{key} must be {what}")
        return value

    def text(self, key: str) -> str:
        """A printable text."""
        value: str = self.take(key, str, "text")
        if not value.isprintable():
            raise ModelFileError(f"manifest: {self._name}.{key} holds control characters")
        return value

    def optional_text(self, key: str) -> str | None:
        """A printable text, or None where the key is absent or null."""
        if self._left.get(key) is None:
            self._left.pop(key, None)
            return None
        return self.text(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of distinct printable texts."""
        return check_texts(f"{self._name}.{key}", self.items(key))

    def name(self, key: str) -> str:
        """A name such as float32 or per-channel."""
        value = self.text(key)
        if not _NAME.fullmatch(value):
            raise ModelFileError(f"manifest: {self._name}.{key} must be a name such as float32")
        return value

    def hashes(self, key: str) -> tuple[str, ...]:
        """A list of distinct hashes, see `ekd_edge.model.subject_hash`."""
        values = self.texts(key)
        if not all(is_subject_hash(value) for value in values):
            raise ModelFileError(f"manifest: {self._name}.{key} must hold hashes, 16 hex digits each")
        return values

    def integer(self, key: str, low: int, high: int = 2**63 - 1) -> int:
        """A whole number in this range, both ends included."""
        value: int = self.take(key, int, f"a whole number from {low}")
        if not low <= value <= high:
            raise ModelFileError(f"manifest: {self._name}.{key} must be between {low} and {high}")
        return value

    def number(self, key: str) -> float:
        """A number written with a decimal point or an exponent."""
        value: float = self.take(key, float, "a number with a decimal point")
        return value

    def positive(self, key: str) -> float:
        """A `number` above zero."""
        value = self.number(key)
        if not value > 0:
            raise ModelFileError(f"manifest: {self._name}.{key} must be above zero")
        return value

    def flag(self, key: str) -> bool:
        """true or false."""
        value: bool = self.take(key, bool, "true or false")
        return value

    def items(self, key: str) -> list[Any]:
        """A list of anything."""
        value: list[Any] = self.take(key, list, "a list")
        return value

    def mapping(self, key: str) -> dict[str, Any]:
        """An object."""
        value: dict[str, Any] = self.take(key, dict, "an object")
        return value

    def optional(self, key: str) -> dict[str, Any] | None:
        """An object, or None for null."""
        if key in self._left and self._left[key] is None:
            return self._left.pop(key)  # type: ignore[no-any-return]
        return self.mapping(key)

    def done(self) -> None:
        """Reject the fields that were not read."""
        if self._left:
            raise ModelFileError(f"manifest: {self._name} has unknown fields: {', '.join(sorted(self._left))}")


def parse_object(encoded: bytes) -> Mapping[str, Any]:
    """The JSON object in UTF-8 text: no key twice, no NaN, no number out of range. Raises ModelFileError."""
    try:
        data = json.loads(encoded.decode(), object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"the manifest is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise ModelFileError("the manifest is not a JSON object")
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key appears twice")
    return fields


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value


def check_texts(name: str, values: Iterable[Any]) -> tuple[str, ...]:
    """The values, if all are distinct printable texts. Raises ModelFileError."""
    texts = tuple(values)
    if not all(type(text) is str and text and text.isprintable() for text in texts):
        raise ModelFileError(f"manifest: {name} must be a list of printable texts")
    if len(set(texts)) != len(texts):
        raise ModelFileError(f"manifest: {name} holds a text twice")
    return texts
