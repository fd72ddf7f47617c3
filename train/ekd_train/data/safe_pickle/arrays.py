"""The names that numpy writes into a pickle of an array, and safe replacements of their constructors.

The names are not imported. Each one is a marker, and this module implements the constructors.
Source: `numpy.ndarray.__reduce_ex__` and `numpy.dtype.__reduce__` of numpy 1 and 2.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ArrayMark", "DamagedError", "ForeignError", "NameMark", "call", "fill", "text_of"]

LONGEST_NAME: Final = 200

_NAMES: Final = {
    "numpy.core.multiarray._reconstruct": "reconstruct",
    "numpy._core.multiarray._reconstruct": "reconstruct",
    "numpy.core.numeric._frombuffer": "frombuffer",
    "numpy._core.numeric._frombuffer": "frombuffer",
    "numpy.ndarray": "ndarray",
    "numpy.dtype": "dtype",
    "_codecs.encode": "encode",
}
_DTYPES: Final = frozenset(("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"))
_LARGEST_AXIS: Final = 2**40
_MOST_AXES: Final = 8


class ForeignError(Exception):
    """The pickle contains something other than arrays. The message names it."""


class DamagedError(Exception):
    """The pickle is malformed. The message is a clause that says how."""


@dataclass(frozen=True, slots=True)
class NameMark:
    """Marker of one of numpy's names. Raises ForeignError for any other name."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in _NAMES:
            raise ForeignError(self.name[:LONGEST_NAME])


@dataclass(slots=True)
class _DtypeMark:
    code: str
    order: str = "="


@dataclass(slots=True)
class ArrayMark:
    """Marker of an array; `fill` sets the values."""

    value: NDArray[Any] | None = None


def call(function: Any, arguments: Any) -> Any:
    """Return the result of a call of one of the known names. Raises ForeignError for any other call."""
    if not isinstance(function, NameMark) or not isinstance(arguments, tuple):
        raise ForeignError("a call that does not construct an array")
    meaning = _NAMES[function.name]
    match meaning, arguments:
        case "reconstruct", (NameMark(name="numpy.ndarray"), _, _):
            return ArrayMark()
        case "dtype", (str() | memoryview() | bytes() as code, _, _):
            if text_of(code) not in _DTYPES:
                raise ForeignError(f"an array of type {text_of(code)!r}")
            return _DtypeMark(text_of(code))
        case "frombuffer", (memoryview() | bytes() as raw, _DtypeMark() as dtype, tuple() as shape, order):
            return ArrayMark(_shaped(raw, dtype, shape, text_of(order) == "F"))
        case "encode", (str() as text, str() | memoryview() as encoding) if text_of(encoding) == "latin1":
            try:
                return text.encode("latin1")
            except UnicodeEncodeError:
                raise DamagedError("its bytes are not latin1 text") from None
    raise ForeignError(f"a call of {function.name} that numpy does not write")


def fill(target: Any, state: Any) -> None:
    """Set the values of an array, or the byte order of a type. Raises ForeignError for any other state."""
    match target, state:
        case ArrayMark(), (int(), tuple() as shape, _DtypeMark() as dtype, int() as fortran, raw):
            if not isinstance(raw, memoryview | bytes):
                raise ForeignError("an array of objects")
            target.value = _shaped(raw, dtype, shape, bool(fortran))
        case _DtypeMark(), (int(), str() | memoryview() | bytes() as order, None, None, None, *_):
            if text_of(order) not in ("<", ">", "|", "="):
                raise DamagedError("a byte order is invalid")
            target.order = text_of(order)
        case _:
            raise ForeignError("a state that is not of an array")


def _shaped(raw: memoryview | bytes, dtype: _DtypeMark, shape: tuple[Any, ...], fortran: bool) -> NDArray[Any]:
    described = np.dtype(dtype.order + dtype.code)
    if len(shape) > _MOST_AXES or not all(type(n) is int and 0 <= n <= _LARGEST_AXIS for n in shape):
        raise DamagedError("the shape of an array is invalid")
    count = math.prod(shape)
    if count * described.itemsize != len(raw):
        raise DamagedError(f"an array of {count} numbers has {len(raw)} bytes")
    flat = np.frombuffer(raw, described) if count else np.empty(0, described)
    return flat.reshape(shape, order="F" if fortran else "C")


def text_of(value: Any) -> str:
    """Return the text of a str, or of the bytes of a Python 2 string. Raises DamagedError for another value."""
    if isinstance(value, str):
        return value
    if isinstance(value, memoryview | bytes):
        return bytes(value[:LONGEST_NAME]).decode("latin1")
    raise DamagedError("a name is not text")
