"""Reading of arrays from an untrusted pickle without importing, calling or executing anything in the file.

A pickle is a program that `pickle.load` executes. This reader implements only the instructions with which Python 2 and
3 write a dict of numeric numpy arrays (protocols 0 to 5), and represents names by markers (`arrays`), so the file
cannot call a function. Any other instruction or name is an error.

Strings of Python 2 are read as bytes, as `pickle.load` does with encoding="latin1". The values of an array are mapped
from the file, so the labels of a file of 100 MB can be read without reading the whole file.

Source of the instructions: `pickletools` of the standard library.
"""

import codecs
import mmap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from ekd_edge.errors import DataError
from ekd_train.data.safe_pickle.arrays import (
    LONGEST_NAME,
    ArrayMark,
    DamagedError,
    ForeignError,
    NameMark,
    call,
    fill,
    text_of,
)

__all__ = ["read_arrays"]

_LARGEST_FILE: Final = 512 * 2**20
_MOST_STEPS: Final = 10_000

# Instructions by the kind of their argument, with the size in bytes of the argument or of its length.
_CONSTANTS: Final = {b"N": None, b"\x88": True, b"\x89": False, b")": ()}
_INTEGERS: Final = {b"K": (1, False), b"M": (2, False), b"J": (4, True)}
_BYTES: Final = {b"U": 1, b"T": 4, b"C": 1, b"B": 4, b"\x8e": 8, b"\x96": 8}
_TEXTS: Final = {b"\x8c": 1, b"X": 4, b"\x8d": 8}
_TUPLES: Final = {b"\x85": 1, b"\x86": 2, b"\x87": 3}
_IGNORED: Final = {b"\x80": 1, b"\x95": 8}
_PUTS: Final = {b"q": 1, b"r": 4}
_GETS: Final = {b"h": 1, b"j": 4}


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the numeric arrays of a pickled dict by key, read-only and mapped from the file where possible.

    Raises DataError for a file that cannot be read, is larger than 512 MB, is damaged, or contains other objects.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size == 0:
                raise DataError(f"{path} is empty: copy it again")
            if size > _LARGEST_FILE:
                raise DataError(
                    f"{path} has {size >> 20} MB, but files of up to {_LARGEST_FILE >> 20} MB can be read: replace it"
                )
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): correct the path or the file's permissions"
        ) from error
    try:
        return _Machine(content).run()
    except ForeignError as error:
        raise DataError(
            f"{path} is not a pickle of numeric arrays, because it contains {error}; nothing in it was executed: "
            "download the file from its publisher again"
        ) from None
    except DamagedError as error:
        raise DataError(f"{path} is damaged ({error}): copy it again") from None


@dataclass(slots=True)
class _Machine:
    """The stack machine of pickle without the instructions that import or call.

    outer: the stacks below each mark. copied: number of bytes decoded from text, limited to the file's size.
    """

    file: mmap.mmap
    position: int = 0
    copied: int = 0
    stack: list[Any] = field(default_factory=list)
    outer: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self) -> dict[str, NDArray[Any]]:
        for _ in range(_MOST_STEPS):
            code = bytes(self.take(1))
            if code == b".":
                return self.result()
            if not (self.read_value(code) or self.build(code) or self.remember(code)):
                raise ForeignError(f"the instruction {code!r}")
        raise ForeignError(f"more than {_MOST_STEPS} instructions")

    def result(self) -> dict[str, NDArray[Any]]:
        found = self.stack[-1] if len(self.stack) == 1 and not self.outer else None
        if not isinstance(found, dict):
            raise ForeignError("an object that is not a dict of arrays")
        arrays: dict[str, NDArray[Any]] = {}
        for name, array in found.items():
            if not isinstance(array, ArrayMark):
                raise ForeignError(f"something other than an array under {name[:40]!r}")
            if array.value is None:
                raise DamagedError(f"the array {name[:40]!r} has no values")
            arrays[name] = array.value
        return arrays

    # Each of these methods returns whether it handled the opcode.

    def read_value(self, code: bytes) -> bool:
        value: Any
        if code in _CONSTANTS:
            value = _CONSTANTS[code]
        elif code in _INTEGERS:
            size, signed = _INTEGERS[code]
            value = int.from_bytes(self.take(size), "little", signed=signed)
        elif code == b"\x8a":
            value = int.from_bytes(self.take(self.number(1)), "little", signed=True)
        elif code in (b"I", b"L"):
            value = self.decimal()
        elif code in _BYTES:
            value = self.take(self.number(_BYTES[code]))
        elif code in _TEXTS:
            value = _decoded(self.take(self.number(_TEXTS[code])), "utf-8")
        elif code == b"S":
            value = self.quoted()
        elif code == b"V":
            value = _decoded(self.line(), "raw-unicode-escape")
        elif code == b"c":
            module = _decoded(self.line(LONGEST_NAME), "utf-8")
            value = NameMark(f"{module}.{_decoded(self.line(LONGEST_NAME), 'utf-8')}")
        elif code in _IGNORED:
            self.take(_IGNORED[code])
            return True
        else:
            return False
        self.stack.append(value)
        return True

    def build(self, code: bytes) -> bool:
        if code == b"(":
            self.outer.append(self.stack)
            self.stack = []
        elif code == b"t":
            self.stack, items = self.unmark()
            self.stack.append(tuple(items))
        elif code in _TUPLES:
            items = [self.pop() for _ in range(_TUPLES[code])]
            self.stack.append(tuple(reversed(items)))
        elif code == b"}":
            self.stack.append({})
        elif code == b"d":
            self.stack, items = self.unmark()
            self.stack.append({})
            self.update(items)
        elif code == b"s":
            value, key = self.pop(), self.pop()
            self.update([key, value])
        elif code == b"u":
            self.stack, items = self.unmark()
            self.update(items)
        elif code == b"\x93":
            name, module = text_of(self.pop()), text_of(self.pop())
            self.stack.append(NameMark(f"{module}.{name}"))
        elif code == b"R":
            arguments, function = self.pop(), self.pop()
            self.stack.append(made := call(function, arguments))
            self.copied += len(made) if isinstance(made, bytes) else 0
            if self.copied > len(self.file):
                raise ForeignError("a text that is encoded many times")
        elif code == b"b":
            state = self.pop()
            fill(self.top(), state)
        else:
            return False
        return True

    def remember(self, code: bytes) -> bool:
        if code == b"\x94":
            self.memo[len(self.memo)] = self.top()
        elif code in _PUTS or code == b"p":
            self.memo[self.number(_PUTS[code]) if code in _PUTS else self.decimal()] = self.top()
        elif code in _GETS or code == b"g":
            index = self.number(_GETS[code]) if code in _GETS else self.decimal()
            if index not in self.memo:
                raise DamagedError("it reads a value that was not stored")
            self.stack.append(self.memo[index])
        else:
            return False
        return True

    # the stack

    def pop(self) -> Any:
        if not self.stack:
            raise DamagedError("it reads from an empty stack")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack:
            raise DamagedError("it reads from an empty stack")
        return self.stack[-1]

    def unmark(self) -> tuple[list[Any], list[Any]]:
        """Remove the last mark; return the stack below it and the values above it."""
        if not self.outer:
            raise DamagedError("it uses a mark that does not exist")
        return self.outer.pop(), self.stack

    def update(self, items: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, dict) or len(items) % 2:
            raise DamagedError("it adds items to an object that is not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[text_of(key)] = value

    # the file

    def take(self, size: int) -> memoryview:
        end = self.position + size
        if end > len(self.file):
            raise DamagedError("it is truncated")
        piece = memoryview(self.file)[self.position : end]
        self.position = end
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def line(self, longest: int = _LARGEST_FILE) -> memoryview:
        end = self.file.find(b"\n", self.position, self.position + longest + 1)
        if end < 0:
            raise DamagedError("a line has no end")
        piece = self.take(end - self.position)
        self.position += 1
        return piece

    def decimal(self) -> int:
        text = bytes(self.line(24)).removesuffix(b"L")
        if not text.removeprefix(b"-").isdigit():
            raise DamagedError("a number is invalid")
        return int(text)

    def quoted(self) -> memoryview:
        text = bytes(self.line())
        if len(text) < 2 or text[:1] not in b"'\"" or text[:1] != text[-1:]:
            raise DamagedError("a string has no quotes")
        try:
            return memoryview(codecs.escape_decode(text[1:-1])[0])
        except ValueError:
            raise DamagedError("a string has an invalid escape") from None


def _decoded(raw: memoryview, encoding: str) -> str:
    try:
        return str(raw, encoding)
    except UnicodeDecodeError:
        raise DamagedError("a text is not valid in its encoding") from None
