"""The container of a model file: a flatbuffer with a small zip appended; docs/reference/model-file.md describes it.

The container is canonical: for given contents there is exactly one sequence of bytes. A reader rebuilds the bytes after
the flatbuffer and compares them. This module does not interpret the contents.
"""

import errno
import os
import stat
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from ekd_edge.atomic_files import cannot_write, pending_file
from ekd_edge.errors import ModelFileError

__all__ = [
    "MANIFEST_NAME",
    "MAX_FLATBUFFER_BYTES",
    "MAX_MANIFEST_BYTES",
    "SIGNATURE_BYTES",
    "SIGNATURE_NAME",
    "Contents",
    "pack",
    "read_contents",
    "unpack",
    "write_contents",
]

MANIFEST_NAME = "ekd.json"
SIGNATURE_NAME = "ekd.sig"
MAX_FLATBUFFER_BYTES = 64 << 20
MAX_MANIFEST_BYTES = 1 << 20
SIGNATURE_BYTES = 96

_MAGIC = b"TFL3"
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_NAMES = MANIFEST_NAME.encode(), SIGNATURE_NAME.encode()
_ZIP_VERSION = 20
_UTF8 = 0x800
_DATE_1980 = 0x21
_UNIX_0644 = 0o100644 << 16


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a model file: TFLite flatbuffer, JSON of the manifest, and `SIGNATURE_BYTES` if it is signed."""

    flatbuffer: bytes = field(repr=False)
    manifest: bytes
    signature: bytes | None = None


def pack(contents: Contents) -> bytes:
    """The file's bytes: the flatbuffer and a zip of stored entries (APPNOTE.TXT 4.3)."""
    return contents.flatbuffer + _tail(len(contents.flatbuffer), _entries(contents))


def unpack(path: Path, content: bytes) -> Contents:
    """The contents of a canonical container. path: named in error sentences.

    Raises ModelFileError if any bit differs from a canonical container.
    """
    if content[4:8] != _MAGIC:
        raise ModelFileError(f"{path} is not a TFLite model: name a .tflite file that ekd-export wrote")
    end = len(content) - _END.size
    if end < 0 or content[end : end + 4] != b"PK\5\6":
        raise ModelFileError(
            f"{path} is cut short or not from ekd-export (no manifest at its end): copy or export it again"
        )
    _, _, _, _, count, _, directory, _ = _END.unpack_from(content, end)
    size = 0
    if directory + _CENTRAL.size <= end:
        size = _CENTRAL.unpack_from(content, directory)[8]
    sizes = (size, SIGNATURE_BYTES)[:count]
    length = end - sum(
        _LOCAL.size + _CENTRAL.size + 2 * len(name) + each for name, each in zip(_NAMES, sizes, strict=False)
    )
    if not (1 <= count <= 2 and 8 <= length <= MAX_FLATBUFFER_BYTES and 0 < size <= MAX_MANIFEST_BYTES):
        raise ModelFileError(f"{path} was altered: its parts do not match; copy or export it again")
    found = []
    start = length
    for name, each in zip(_NAMES, sizes, strict=False):
        start += _LOCAL.size + len(name)
        found.append(content[start : start + each])
        start += each
    if content[length:] != _tail(length, found):
        raise ModelFileError(f"{path} was altered: its manifest or signature is damaged; copy or export it again")
    return Contents(content[:length], *found)


def read_contents(path: Path) -> Contents:
    """The contents of a file.

    Raises ModelFileError if the file is missing, not a regular file, unreadable, or not a canonical container.
    """
    limit = len(_tail(0, [b""] * 2)) + MAX_FLATBUFFER_BYTES + MAX_MANIFEST_BYTES + SIGNATURE_BYTES
    try:
        size = _size_of_file(path, path.stat())
        # O_NONBLOCK and a second check: a pipe may have replaced the file in the meantime
        with open(path, "rb", opener=_open_unblocked) as file:
            _size_of_file(path, os.fstat(file.fileno()))
            content = file.read(limit + 1) if size <= limit else None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise ModelFileError(f"there is no model file {path}: create one with `ekd-export --int8`") from error
        reason = error.strerror if isinstance(error, OSError) else None
        raise ModelFileError(f"cannot read {str(path)!r}: {reason or error}") from error
    if content is None or len(content) > limit:
        raise ModelFileError(f"{path} is not a model file of ekd: it is larger than {limit} bytes")
    return unpack(path, content)


def write_contents(path: Path, contents: Contents) -> None:
    """Write a model file atomically: a reader finds the old file or the complete new one.

    Raises ModelFileError if the flatbuffer is not a TFLite model, a part is too large or the file cannot be written; no
    temporary file remains then.
    """
    flatbuffer, manifest = contents.flatbuffer, contents.manifest
    if flatbuffer[4:8] != _MAGIC:
        raise ModelFileError(f"cannot write {path}: this is not a TFLite model")
    if len(flatbuffer) > MAX_FLATBUFFER_BYTES or len(manifest) > MAX_MANIFEST_BYTES:
        raise ModelFileError(
            f"cannot write {path}: a model of {len(flatbuffer)} bytes or a manifest of {len(manifest)} is too "
            f"large (the limits are {MAX_FLATBUFFER_BYTES} and {MAX_MANIFEST_BYTES})"
        )
    try:
        with pending_file(path, pack(contents)) as commit:
            commit()
    except OSError as error:
        raise ModelFileError(cannot_write(path, error)) from error


def _open_unblocked(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)


def _size_of_file(path: Path, about: os.stat_result) -> int:
    if not stat.S_ISREG(about.st_mode):
        raise ModelFileError(f"{path} is not a file: name a .tflite file that ekd-export wrote")
    return about.st_size


def _entries(contents: Contents) -> list[bytes]:
    if contents.signature is None:
        return [contents.manifest]
    if len(contents.signature) != SIGNATURE_BYTES:
        raise ValueError(f"a signature has {SIGNATURE_BYTES} bytes, this one {len(contents.signature)}")
    return [contents.manifest, contents.signature]


def _tail(offset: int, entries: list[bytes]) -> bytes:
    """The zip that follows `offset` bytes of flatbuffer."""
    local, central = b"", b""
    unix = _ZIP_VERSION | 3 << 8
    for name, entry in zip(_NAMES, entries, strict=False):
        about = (_UTF8, 0, 0, _DATE_1980, zlib.crc32(entry), len(entry), len(entry), len(name), 0)
        at = offset + len(local)
        local += _LOCAL.pack(b"PK\3\4", _ZIP_VERSION, *about) + name + entry
        central += _CENTRAL.pack(b"PK\1\2", unix, _ZIP_VERSION, *about, 0, 0, 0, _UNIX_0644, at) + name
    count = len(entries)
    return local + central + _END.pack(b"PK\5\6", 0, 0, count, count, len(central), offset + len(local), 0)
