"""Signing model files: keys in PEM form, and the signature entry that `ekd_edge.model.signature` checks.

Runs without torch.

A key is made by `ekd-export --new-key KEY`, or by `openssl genpkey -algorithm ed25519 -out KEY` and
`openssl pkey -in KEY -pubout -out KEY.pub`.
"""

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ekd_edge.errors import ConfigError
from ekd_edge.model.container import read_contents, write_contents
from ekd_edge.model.file import check_contents
from ekd_edge.model.signature import require_cryptography, signed_bytes, signer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["make_key", "read_private_key", "sign_file"]

_LARGEST_PEM = 1 << 16


def make_key(path: Path) -> Path:
    """Write a new private key to `path`, for its owner alone, and its public key to `path`.pub; returns the latter.

    Raises ConfigError where either exists or cannot be written, and EkdError where cryptography is not installed.
    """
    require_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    public_path = path.with_name(path.name + ".pub")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _write_new(path, private, 0o600)
    try:
        _write_new(public_path, public, 0o644)
    except ConfigError:
        path.unlink(missing_ok=True)
        raise
    return public_path


def read_private_key(path: Path) -> "Ed25519PrivateKey":
    """The ed25519 key in a PEM file (PKCS8) that nobody but its owner may read.

    Raises ConfigError where it is missing, open to others, protected by a passphrase or of another kind, and
    EkdError where cryptography is not installed.
    """
    require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            pem = file.read(_LARGEST_PEM)
    except OSError as error:
        raise ConfigError(f"cannot read the key {path}: {error.strerror or error}") from error
    if mode & 0o077:
        raise ConfigError(f"others may use the key {path} (mode {mode:04o}): run `chmod 600 {path}`")
    if b"ENCRYPTED" in pem:
        raise ConfigError(
            f"the key {path} is protected by a passphrase, which nobody is asked for here: sign with a copy that "
            f"`openssl pkey -in {path} -out COPY` makes"
        )
    if b"PUBLIC KEY" in pem:
        raise ConfigError(f"{path} is a public key: models are signed with the private one")
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} is no private key in PEM form: make one with `ekd-export --new-key KEY`") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"the key {path} is not of the kind ed25519: make one with `ekd-export --new-key KEY`")
    return key


def sign_file(path: Path, key: "Ed25519PrivateKey") -> str:
    """Sign a model file, in place and in one step; an older signature is replaced. Returns who signed, for people.

    Raises ModelFileError where the file is no whole model_file or cannot be written.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    contents = read_contents(path)
    check_contents(path, contents)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signature = key.sign(signed_bytes(contents.manifest)) + public
    write_contents(path, replace(contents, signature=signature))
    return signer(signature)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise ConfigError(f"{path} exists already: a key is never overwritten, name another") from error
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
