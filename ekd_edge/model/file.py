"""The model file: a model with everything that running it needs; docs/reference/model-file.md describes the format.

The model is interpreted only after all checks have passed: container, signature (if keys are trusted), manifest, hash.
"""

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

from ekd_edge.errors import ModelFileError
from ekd_edge.model.container import Contents, read_contents, write_contents
from ekd_edge.model.manifest import Manifest
from ekd_edge.model.manifest_json import encode_manifest, parse_manifest
from ekd_edge.model.signature import Trust, check_signature

__all__ = ["ModelFile", "check_contents", "load_model_file", "save_model_file"]

_MAX_REASON = 1000


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A verified model file: its manifest, its TFLite flatbuffer and its path."""

    manifest: Manifest
    flatbuffer: bytes = field(repr=False)
    path: Path


def save_model_file(path: Path, flatbuffer: bytes, manifest: Manifest) -> Manifest:
    """Write an unsigned model file atomically: a reader finds the old file or the complete new one.

    Args:
        path: of the file.
        flatbuffer: the TFLite model.
        manifest: of the model; its sha256 and size_bytes are replaced by those of `flatbuffer`.

    Returns:
        The manifest as written.

    Raises:
        ModelFileError: the flatbuffer is not a TFLite model, a part is too large or the file cannot be written; no
            temporary file remains then.
    """
    manifest = replace(manifest, sha256=hashlib.sha256(flatbuffer).hexdigest(), size_bytes=len(flatbuffer))
    write_contents(path, Contents(flatbuffer, encode_manifest(manifest)))
    return manifest


def load_model_file(path: Path, trust: Trust | None = None) -> ModelFile:
    """Read and verify a model file; with `trust`, it must be signed by a trusted key.

    Raises ModelFileError if it is missing, truncated, of another kind or format version, altered, or not signed by a
    trusted key.
    """
    return check_contents(path, read_contents(path), trust)


def check_contents(path: Path, contents: Contents, trust: Trust | None = None) -> ModelFile:
    """Verify the contents of a file; see `load_model_file`."""
    if trust is not None:
        check_signature(path, contents, trust)
    try:
        manifest = parse_manifest(contents.manifest)
    except ModelFileError as error:
        reason = str(error)  # it may quote the manifest, whose texts have any length
        shown = reason if len(reason) <= _MAX_REASON else f"{reason[:_MAX_REASON]}..."
        raise ModelFileError(f"{path} cannot be used: {shown}") from error
    flatbuffer = contents.flatbuffer
    if manifest.size_bytes != len(flatbuffer) or manifest.sha256 != hashlib.sha256(flatbuffer).hexdigest():
        raise ModelFileError(f"{path} was altered: model and manifest do not match; copy or export it again")
    return ModelFile(manifest, flatbuffer, path)
