"""One file that holds a model and all that is needed to run it; ARTEFACT.md describes the format.

The container is canonical: for given contents there is exactly one sequence of bytes, so a reader rebuilds
what follows the flatbuffer and compares. The model is not interpreted before all checks have passed.
"""

import hashlib
import os
import struct
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

from ekd_edge.errors import ArtefactError
from ekd_edge.manifest import Manifest
from ekd_edge.manifest_json import encode_manifest, parse_manifest

__all__ = [
    "MANIFEST_NAME",
    "MAX_FLATBUFFER_BYTES",
    "MAX_MANIFEST_BYTES",
    "Artefact",
    "load_artefact",
    "save_artefact",
]

MANIFEST_NAME = "ekd.json"
MAX_FLATBUFFER_BYTES = 64 << 20
MAX_MANIFEST_BYTES = 1 << 20

_MAGIC = b"TFL3"
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_NAME = MANIFEST_NAME.encode()
_ZIP_VERSION = 20
_UTF8 = 0x800
_DATE_1980 = 0x21
_UNIX_0644 = 0o100644 << 16
_OVERHEAD = _LOCAL.size + _CENTRAL.size + _END.size + 2 * len(_NAME)


@dataclass(frozen=True, slots=True)
class Artefact:
    """A verified model file: its manifest, its TFLite flatbuffer and where it was read from."""

    manifest: Manifest
    flatbuffer: bytes = field(repr=False)
    path: Path


def save_artefact(path: Path, flatbuffer: bytes, manifest: Manifest) -> Manifest:
    """Write a model file in one step: a reader finds the old file or the whole new one, never a part.

    Returns the manifest as written, with sha256 and size_bytes of `flatbuffer`. Raises ArtefactError where
    the flatbuffer is none, something is too large or the file cannot be written; nothing is left behind then.
    """
    if flatbuffer[4:8] != _MAGIC:
        raise ArtefactError(f"cannot write {path}: this is no TFLite model")
    manifest = replace(manifest, sha256=hashlib.sha256(flatbuffer).hexdigest(), size_bytes=len(flatbuffer))
    encoded = encode_manifest(manifest)
    if len(flatbuffer) > MAX_FLATBUFFER_BYTES or len(encoded) > MAX_MANIFEST_BYTES:
        raise ArtefactError(
            f"cannot write {path}: a model of {len(flatbuffer)} bytes or a manifest of {len(encoded)} is too "
            f"large (the limits are {MAX_FLATBUFFER_BYTES} and {MAX_MANIFEST_BYTES})"
        )
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with aside.open("xb") as file:
                file.write(flatbuffer)
                file.write(_container(len(flatbuffer), encoded))
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise ArtefactError(f"cannot write {path}: {error.strerror or error}") from error
    return manifest


def load_artefact(path: Path) -> Artefact:
    """Read and verify a model file.

    Raises ArtefactError, in one sentence, where it is missing, cut short, foreign, altered or of a newer ekd.
    """
    content = _read(path)
    if content[4:8] != _MAGIC:
        raise ArtefactError(f"{path} is not a TFLite model: name a .tflite file that ekd-export wrote")
    length, encoded = _split(path, content)
    try:
        manifest = parse_manifest(encoded)
    except ArtefactError as error:
        raise ArtefactError(f"{path} cannot be used: {error}") from error
    flatbuffer = content[:length]
    if manifest.size_bytes != length or manifest.sha256 != hashlib.sha256(flatbuffer).hexdigest():
        raise ArtefactError(f"{path} was altered: model and manifest do not match; copy or export it again")
    return Artefact(manifest, flatbuffer, path)


def _read(path: Path) -> bytes:
    limit = MAX_FLATBUFFER_BYTES + MAX_MANIFEST_BYTES + _OVERHEAD
    try:
        if not path.exists():
            raise ArtefactError(f"there is no model file {path}: make one with `ekd-export --int8`")
        if not path.is_file():
            raise ArtefactError(f"{path} is not a file: name a .tflite file that ekd-export wrote")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise ArtefactError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > limit:
        raise ArtefactError(f"{path} is not a model file of ekd: it is larger than {limit} bytes")
    return content


def _split(path: Path, content: bytes) -> tuple[int, bytes]:
    """Length of the flatbuffer, and the manifest's bytes, from a canonical container."""
    end = len(content) - _END.size
    if end < 0 or content[end : end + 4] != b"PK\5\6":
        raise ArtefactError(
            f"{path} is cut short or not from ekd-export (no manifest at its end): copy or export it again"
        )
    *_, directory, _comment = _END.unpack_from(content, end)
    size = 0
    if directory + _CENTRAL.size <= end:
        size = _CENTRAL.unpack_from(content, directory)[8]
    length = len(content) - _OVERHEAD - size
    start = length + _LOCAL.size + len(_NAME)
    encoded = content[start : start + size]
    if not 8 <= length <= MAX_FLATBUFFER_BYTES or not 0 < size <= MAX_MANIFEST_BYTES:
        raise ArtefactError(f"{path} was altered: its parts do not fit together; copy or export it again")
    if content[length:] != _container(length, encoded):
        raise ArtefactError(f"{path} was altered: its manifest is damaged; copy or export it again")
    return length, encoded


def _container(offset: int, encoded: bytes) -> bytes:
    """A zip with one stored entry, `ekd.json`, for appending to `offset` bytes (APPNOTE.TXT 4.3)."""
    about = (_UTF8, 0, 0, _DATE_1980, zlib.crc32(encoded), len(encoded), len(encoded), len(_NAME), 0)
    local = _LOCAL.pack(b"PK\3\4", _ZIP_VERSION, *about) + _NAME + encoded
    unix = _ZIP_VERSION | 3 << 8
    central = _CENTRAL.pack(b"PK\1\2", unix, _ZIP_VERSION, *about, 0, 0, 0, _UNIX_0644, offset) + _NAME
    end = _END.pack(b"PK\5\6", 0, 0, 1, 1, len(central), offset + len(local), 0)
    return local + central + end


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
