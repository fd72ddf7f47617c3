"""Numbers of text fields, in bulk: exact, and refused as a whole where one field is not a plain decimal number."""

import re
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["column_of", "is_number", "numbers_of"]

_Number = TypeVar("_Number", np.int64, np.float64)

_NUMBER = re.compile(rb"[ \t\r]*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[ \t\r]*")
_COMMA, _POINT = b",."
_DIGITS = b"0123456789"
_EXACT, _EXACT_PLACES = 1 << 53, 22
"""Integers below 2**53 and powers of ten up to 10**22 are exact floats, so their quotient is rounded only once."""


def is_number(field: bytes) -> bool:
    """Whether a field is a plain decimal number, which "nan", "inf", "1_000" and "0x10" are not."""
    return _NUMBER.fullmatch(field) is not None


def column_of(text: NDArray[np.uint8], cuts: NDArray[np.intp], column: int, columns: int) -> bytes:
    """The fields of one column, each with its separator; cuts are the positions of all separators."""
    stops = cuts[column::columns] + 1
    starts = (
        np.concatenate([[0], cuts[columns - 1 : -1 : columns] + 1]) if column == 0 else cuts[column - 1 :: columns] + 1
    )
    inside = np.zeros(len(text) + 1, dtype=np.int8)
    inside[starts] = 1
    inside[stops] -= 1
    return text[np.cumsum(inside[:-1], dtype=np.int8).view(np.bool_)].tobytes()


def numbers_of(fields: bytes, n: int) -> NDArray[np.float64] | None:
    """Parse n fields, each of which ends in a comma or newline, to float64 (n,); None unless all are finite numbers."""
    fields = fields.replace(b"\n", b",")
    rest = fields.translate(None, _DIGITS)
    places = _places(fields, rest, n)
    if places is not None:
        whole = _parsed(fields.translate(None, b"."), n, np.int64)
        if whole is not None and whole.max() < _EXACT:
            quotients: NDArray[np.float64] = whole / float(10**places)
            return quotients
    if rest.translate(None, b"+-.eE,"):
        return None
    values = _parsed(fields, n, np.float64)
    return values if values is not None and np.isfinite(values).all() else None


def _places(fields: bytes, rest: bytes, n: int) -> int | None:
    """The number of decimal places, if it is the same in all n fields and they have only digits and a point, else None.

    rest: the fields without their digits. Such fields are parsed as integers, which takes a third of the time.
    """
    if len(rest) == n:
        return 0
    if len(rest) != 2 * n or rest != b".," * n:
        return None
    places = fields.index(b",") - fields.index(b".") - 1
    text = np.frombuffer(fields, dtype=np.uint8)
    same = (text[np.flatnonzero(text == _COMMA) - 1 - places] == _POINT).all()
    return places if same and places <= _EXACT_PLACES else None


def _parsed(fields: bytes, n: int, dtype: type[_Number]) -> NDArray[_Number] | None:
    """Parse n fields, each of which ends in a comma; integers that exceed int64 become its largest value."""
    try:
        numbers: NDArray[_Number] = np.fromstring(fields, dtype=dtype, sep=",")
    except (ValueError, DeprecationWarning):
        return None
    return numbers if len(numbers) == n else None
