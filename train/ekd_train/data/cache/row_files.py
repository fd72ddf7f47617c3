"""Growing arrays of float32 rows, in memory or in an .npy file: the output of a conversion."""

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError

__all__ = ["RowArray", "RowFile", "Rows", "WriteError", "gather", "map_rows"]


class WriteError(Exception):
    """A file of rows could not be written: a full disk, a quota, a limit."""


class Rows(Protocol):
    """Collects windows: float32 (n, ...), all of one shape but for n."""

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add these; raises DataError where their shape differs from the first ones'."""
        ...


class RowArray:
    """Rows in one array, which grows in place: large blocks are moved by the system's tables, not copied."""

    def __init__(self) -> None:
        self._array: NDArray[np.float32] | None = None

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add these; raises DataError where their shape differs from the first ones'."""
        if self._array is None:
            self._array = np.array(rows, dtype=np.float32, order="C")
            return
        _check(rows, self._array.shape[1:])
        done = len(self._array)
        self._array.resize((done + len(rows), *rows.shape[1:]), refcheck=False)
        self._array[done:] = rows

    def array(self) -> NDArray[np.float32]:
        """All rows; of shape (0,) where none was ever appended."""
        return np.empty(0, np.float32) if self._array is None else self._array


class RowFile:
    """Rows in an .npy file, which numpy.load reads once `finish` has returned.

    Raises WriteError where the disk does not take them, which differs from the
    error of a source file that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        with _write_faults():
            self._file = path.open("wb")
        self._row: tuple[int, ...] | None = None
        self._count = 0

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add these; raises DataError where their shape differs from the first ones'."""
        with _write_faults():
            if self._row is None:
                self._row = rows.shape[1:]
                self._file.write(_header((0, *self._row)))
            _check(rows, self._row)
            if len(rows):
                self._file.write(np.ascontiguousarray(rows, dtype=np.float32).data)
                self._count += len(rows)

    def finish(self) -> tuple[int, ...]:
        """Complete the file and wait until it is on disk; return the array's shape."""
        shape = (self._count, *(self._row or ()))
        with _write_faults():
            self._file.seek(0)
            self._file.write(_header(shape))
            self._file.flush()
            os.fsync(self._file.fileno())
        return shape

    def close(self) -> None:
        """Close the file as it is."""
        with contextlib.suppress(OSError):
            self._file.close()


@contextlib.contextmanager
def _write_faults() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WriteError(error.strerror or str(error)) from error


def map_rows(path: Path, shape: tuple[int, ...]) -> "np.memmap[tuple[int, ...], np.dtype[np.float32]]":
    """The rows of a finished file, mapped: writing to the array would never reach the file.

    Raises ValueError where the file is not exactly what `RowFile` writes for that shape, OSError as files do.
    """
    header = _header(shape)
    size = len(header) + 4 * int(np.prod(shape))
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size != size or file.read(len(header)) != header:
            raise ValueError(f"{path} does not hold an array of shape {shape}")
    return np.memmap(path, np.float32, "c", len(header), shape)


def gather(array: NDArray[np.float32], spans: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    """The rows from begin to end of each span, in turn: a view where there is one span at most, else a copy.

    Copies of a mapped file are read from the file, so that memory never holds both.
    """
    if len(spans) <= 1:
        begin, end = spans[0] if spans else (0, 0)
        return np.asarray(array[begin:end])
    rows = np.empty((sum(end - begin for begin, end in spans), *array.shape[1:]), np.float32)
    done = 0
    with contextlib.ExitStack() as stack:
        file = None
        if isinstance(array, np.memmap):
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile: the map still has it
                file = stack.enter_context(Path(str(array.filename)).open("rb"))
        for begin, end in spans:
            part = rows[done : done + end - begin]
            done += end - begin
            if file is None:
                part[:] = array[begin:end]
                continue
            file.seek(array.offset + begin * array.strides[0])  # type: ignore[attr-defined]
            if file.readinto(part.data) != part.nbytes:
                raise DataError(f"{file.name} was cut short while it was read: start again")
    return rows


def _header(shape: tuple[int, ...]) -> bytes:
    """The .npy header, of one length for any number of rows, because numpy reserves room for growth."""
    out = io.BytesIO()
    about = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, about)
    return out.getvalue()


def _check(rows: NDArray[np.float32], row: tuple[int, ...]) -> None:
    if rows.shape[1:] != row:
        raise DataError(
            f"windows of shape {rows.shape[1:]} follow others of {row}: all recordings need the same channels"
        )
