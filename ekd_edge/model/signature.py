"""Signatures of model files: which keys are trusted, and whether one of them signed this file.

Ed25519 (RFC 8032) by the cryptography package, which is loaded only where somebody trusts a key or signs.
A signature covers the manifest's exact bytes; those hold the flatbuffer's size and SHA-256, and so cover it too.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ekd_edge.errors import ConfigError, EkdError, ModelFileError
from ekd_edge.model.container import Contents

__all__ = [
    "Trust",
    "check_signature",
    "read_trust",
    "require_cryptography",
    "signed_bytes",
    "signer",
    "trust_from_environment",
]

_CONTEXT = b"ekd model file, signature 1\0"
_SIGNATURE_BYTES = 64
_LARGEST_PEM = 1 << 16


@dataclass(frozen=True, slots=True)
class Trust:
    """The public keys, 32 bytes each, whose model files may run; at least one."""

    keys: frozenset[bytes]


def signed_bytes(manifest: bytes) -> bytes:
    """What a signature is made over: a text that no other program's signatures begin with, then the manifest."""
    return _CONTEXT + manifest


def signer(signature: bytes) -> str:
    """How people are told of the key in a container's signature entry: its first 16 hex digits."""
    return f"ed25519 key {signature[_SIGNATURE_BYTES:].hex()[:16]}..."


def read_trust(paths: Sequence[Path]) -> Trust:
    """The public keys in these PEM files, one a file.

    Raises ConfigError where one is missing or holds anything else, and EkdError where cryptography is not installed.
    """
    return Trust(frozenset(_public_key(path) for path in paths))


def trust_from_environment(environment: Mapping[str, str] = os.environ) -> Trust | None:
    """The keys in the files that EKD_TRUST names, separated by colons; None where it is not set.

    Raises ConfigError where it is set and names none: whoever sets it wants signatures.
    """
    named = environment.get("EKD_TRUST")
    if named is None:
        return None
    if not all(named.split(os.pathsep)):
        raise ConfigError(
            f"EKD_TRUST is {named!r}: name the files of public keys, with {os.pathsep!r} between them, or unset it"
        )
    return read_trust([Path(name) for name in named.split(os.pathsep)])


def check_signature(path: Path, contents: Contents, trust: Trust) -> None:
    """Raise ModelFileError unless a trusted key signed the manifest's very bytes."""
    if contents.signature is None:
        raise ModelFileError(
            f"{path} is not signed: sign it with `ekd-export --sign KEY {path}`, or run without --trust"
        )
    value, key = contents.signature[:_SIGNATURE_BYTES], contents.signature[_SIGNATURE_BYTES:]
    if key not in trust.keys:
        raise ModelFileError(f"{path} is signed by another key than those trusted ({signer(contents.signature)})")
    require_cryptography()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(value, signed_bytes(contents.manifest))
    except (InvalidSignature, ValueError) as error:
        raise ModelFileError(f"{path} was altered: its signature is not of this manifest; copy it again") from error


def _public_key(path: Path) -> bytes:
    require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        with path.open("rb") as file:
            pem = file.read(_LARGEST_PEM)
    except OSError as error:
        raise ConfigError(f"cannot read the trusted key {path}: {error.strerror or error}") from error
    if b"PRIVATE KEY" in pem:
        raise ConfigError(
            f"{path} is a private key, which belongs only where models are signed: trust its public key "
            f"(`openssl pkey -in {path} -pubout`)"
        )
    try:
        if pem.count(b"-----BEGIN ") != 1:
            raise ValueError("there must be one key in it")
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} is no public key in PEM form: `ekd-export --new-key KEY` makes KEY.pub") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path} is not of the kind ed25519: make one with `ekd-export --new-key KEY`")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def require_cryptography() -> None:
    """Raise EkdError where the cryptography package is not installed."""
    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
    except ImportError as error:
        raise EkdError("signatures need the cryptography package: run `pip install 'ekd[pi]'`") from error
