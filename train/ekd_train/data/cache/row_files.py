"""Growing arrays of float32 rows, in memory or in an .npy file. A conversion writes its windows to them."""

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
    """A file of rows could not be written, because of a full disk, a quota or a file size limit."""


class Rows(Protocol):
    """A growing array of windows: float32 (n, ...)."""

    def append(self, rows: NDArray[np.float32]) -> None:
        """Append float32 (m, ...). Raises DataError if the shape of a row differs from that of the first rows."""
        ...


class RowArray:
    """Rows in one array that is resized in place. The system remaps large arrays to new addresses without a copy."""

    def __init__(self) -> None:
        self._array: NDArray[np.float32] | None = None

    def append(self, rows: NDArray[np.float32]) -> None:
        """Append float32 (m, ...). Raises DataError if the shape of a row differs from that of the first rows."""
        if self._array is None:
            self._array = np.array(rows, dtype=np.float32, order="C")
            return
        _check(rows, self._array.shape[1:])
        done = len(self._array)
        self._array.resize((done + len(rows), *rows.shape[1:]), refcheck=False)
        self._array[done:] = rows

    def array(self) -> NDArray[np.float32]:
        """Return all rows; the shape is (0,) if `append` was never called."""
        return np.empty(0, np.float32) if self._array is None else self._array


class RowFile:
    """Rows in an .npy file that numpy.load can read after `finish`.

    The methods raise WriteError, not OSError, if the file cannot be written, so that callers can distinguish it from
    a data file that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        with _write_faults():
            self._file = path.open("wb")
        self._row: tuple[int, ...] | None = None
        self._count = 0

    def append(self, rows: NDArray[np.float32]) -> None:
        """Append float32 (m, ...). Raises DataError if the shape of a row differs from that of the first rows."""
        with _write_faults():
            if self._row is None:
                self._row = rows.shape[1:]
                self._file.write(_header((0, *self._row)))
            _check(rows, self._row)
            if len(rows):
                self._file.write(np.ascontiguousarray(rows, dtype=np.float32).data)
                self._count += len(rows)

    def finish(self) -> tuple[int, ...]:
        """Write the header, sync the file to disk and return the array's shape."""
        shape = (self._count, *(self._row or ()))
        with _write_faults():
            self._file.seek(0)
            self._file.write(_header(shape))
            self._file.flush()
            os.fsync(self._file.fileno())
        return shape

    def close(self) -> None:
        """Close the file without completing it."""
        with contextlib.suppress(OSError):
            self._file.close()


@contextlib.contextmanager
def _write_faults() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WriteError(error.strerror or str(error)) from error


def map_rows(path: Path, shape: tuple[int, ...]) -> "np.memmap[tuple[int, ...], np.dtype[np.float32]]":
    """Map the rows of a finished file copy-on-write, so that writes to the array do not change the file.

    Raises ValueError if the header or size is not what `RowFile` writes for this shape, and OSError if the file cannot
    be opened.
    """
    header = _header(shape)
    size = len(header) + 4 * int(np.prod(shape))
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size != size or file.read(len(header)) != header:
            raise ValueError(f"{path} is not an array of shape {shape}")
    return np.memmap(path, np.float32, "c", len(header), shape)


def gather(array: NDArray[np.float32], spans: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    """Return the rows of each span (begin, end), concatenated: a view for at most one span, else a copy.

    The rows of a mapped array are read from its file, so that the mapped pages do not occupy memory too.
    Raises DataError if the file was truncated.
    """
    if len(spans) <= 1:
        begin, end = spans[0] if spans else (0, 0)
        return np.asarray(array[begin:end])
    rows = np.empty((sum(end - begin for begin, end in spans), *array.shape[1:]), np.float32)
    done = 0
    with contextlib.ExitStack() as stack:
        file = None
        if isinstance(array, np.memmap):
            with contextlib.suppress(FileNotFoundError):  # deleted, but the map is still valid
                file = stack.enter_context(Path(str(array.filename)).open("rb"))
        for begin, end in spans:
            span_rows = rows[done : done + end - begin]
            done += end - begin
            if file is None:
                span_rows[:] = array[begin:end]
                continue
            file.seek(array.offset + begin * array.strides[0])  # type: ignore[attr-defined]
            if file.readinto(span_rows.data) != span_rows.nbytes:
                raise DataError(f"{file.name} was truncated while it was read: start again")
    return rows


def _header(shape: tuple[int, ...]) -> bytes:
    """Return the .npy header. numpy pads it, so its length is the same for any number of rows."""
    out = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue()


def _check(rows: NDArray[np.float32], row: tuple[int, ...]) -> None:
    if rows.shape[1:] != row:
        raise DataError(
            f"windows of shape {rows.shape[1:]} cannot be added to windows of shape {row}: use recordings with the "
            "same channels"
        )
