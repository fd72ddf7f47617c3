"""Signatures of model files: trusted keys, and the check that one of them signed a file.

Ed25519 (RFC 8032) by the cryptography package, which is loaded only for trusted keys and for signing. A signature
covers the exact bytes of the manifest. They contain size and SHA-256 of the flatbuffer, which is thus covered too.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ekd_edge.errors import ConfigError, EkdError, ModelFileError
from ekd_edge.model.container import Contents
from firmware_bridge.dependencies import install_command
from firmware_bridge.home import expanded

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
    """The trusted public keys, 32 bytes each; at least one. Only model files signed by one of them may run."""

    keys: frozenset[bytes]


def signed_bytes(manifest: bytes) -> bytes:
    """The bytes that a signature covers: a prefix that only ekd's signatures have, then the manifest."""
    return _CONTEXT + manifest


def signer(signature: bytes) -> str:
    """A short name of the key in a container's signature entry: its first 16 hex digits."""
    return f"ed25519 key {signature[_SIGNATURE_BYTES:].hex()[:16]}..."


def read_trust(paths: Sequence[Path]) -> Trust:
    """The public keys in these PEM files, one key in each file.

    Raises ConfigError if a file is missing or is not a public key, and EkdError if cryptography is not installed.
    """
    return Trust(frozenset(_public_key(path) for path in paths))


def trust_from_environment(environment: Mapping[str, str] = os.environ) -> Trust | None:
    """The keys in the files that EKD_TRUST names, separated by colons; None if it is not set.

    Raises ConfigError if it is set but names no file: a set variable means that signatures are required.
    """
    named = environment.get("EKD_TRUST")
    if named is None:
        return None
    if not all(named.split(os.pathsep)):
        raise ConfigError(
            f"EKD_TRUST is {named!r}: name the files of public keys, with {os.pathsep!r} between them, or unset it"
        )
    return read_trust([Path(expanded(name)) for name in named.split(os.pathsep)])


def check_signature(path: Path, contents: Contents, trust: Trust) -> None:
    """Raise ModelFileError unless a trusted key signed the exact bytes of the manifest."""
    if contents.signature is None:
        raise ModelFileError(
            f"{path} is not signed: sign it with `ekd-export sign {path} --key KEY`, or run without --trust"
        )
    value, key = contents.signature[:_SIGNATURE_BYTES], contents.signature[_SIGNATURE_BYTES:]
    if key not in trust.keys:
        raise ModelFileError(f"{path} is signed by a key that is not trusted ({signer(contents.signature)})")
    require_cryptography()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(value, signed_bytes(contents.manifest))
    except (InvalidSignature, ValueError) as error:
        raise ModelFileError(f"{path} was altered: its signature does not match its manifest; copy it again") from error


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
            f"{path} is a private key, which is for signing only: trust its public key "
            f"(`openssl pkey -in {path} -pubout`)"
        )
    try:
        if pem.count(b"-----BEGIN ") != 1:
            raise ValueError("the file must contain one key")
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{path} is not a public key in PEM form: `ekd-export new-key KEY` creates KEY.pub"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path} is not an ed25519 key: create one with `ekd-export new-key KEY`")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def require_cryptography() -> None:
    """Raise EkdError if the cryptography package is not installed."""
    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
    except ImportError as error:
        raise EkdError(f"signatures need the cryptography package: run `{install_command('pi')}`") from error
