"""Signing model files with ed25519 keys in PEM form; `ekd_edge.model.signature` checks the signatures.

Runs without torch.

A key is made by `ekd-export new-key KEY`, or by `openssl genpkey -algorithm ed25519 -out KEY` and
`openssl pkey -in KEY -pubout -out KEY.pub`.
"""

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ekd_edge.errors import ConfigError
from ekd_edge.model.container import read_contents, write_contents
from ekd_edge.model.file import check_contents
from ekd_edge.model.signature import require_cryptography, signed_bytes, signer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["Signed", "new_key", "read_private_key", "sign", "sign_in_place", "signed_path"]

_LARGEST_PEM = 1 << 16


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed model file. signer: the key it was signed by, as messages name it."""

    path: Path
    signer: str


def new_key(path: Path | str) -> Path:
    """Write a new private key to `path`, readable by its owner only, and its public key to `path`.pub.

    Returns the path of the public key. Raises ConfigError where either file exists or cannot be written, and EkdError
    where cryptography is not installed.
    """
    require_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    path = Path(path)
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
    """Read the ed25519 key in a PEM file (PKCS8) that only its owner may read.

    Raises ConfigError where the file is missing, open to others, protected by a passphrase or another kind of key, and
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
            f"the key {path} is protected by a passphrase, which ekd-export does not ask for: sign with a copy made by "
            f"`openssl pkey -in {path} -out COPY`"
        )
    if b"PUBLIC KEY" in pem:
        raise ConfigError(f"{path} is a public key: models are signed with the private one")
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} is not a private key in PEM form: make one with `ekd-export new-key KEY`") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"the key {path} is not of the kind ed25519: make one with `ekd-export new-key KEY`")
    return key


def sign(path: Path | str, key: "Ed25519PrivateKey | Path | str", output: Path | str | None = None) -> Signed:
    """Write a signed copy of a model file; the file itself is not changed.

    Args:
        path: the model file; a signature that it already has is replaced in the copy.
        key: a private key, or the PEM file of one.
        output: the copy; None writes NAME.signed.tflite next to NAME.tflite.

    Returns:
        The copy's path and the key that signed it.

    Raises:
        ModelFileError: the file is not a whole model file, or the copy cannot be written.
        ConfigError: `output` is the file itself, or the key cannot be used.
        EkdError: cryptography is not installed.
    """
    path = Path(path)
    target = signed_path(path) if output is None else Path(output)
    if target.resolve() == path.resolve():
        raise ConfigError(f"{target} is the file to sign, which is never changed: name another one with -o")
    return _sign(path, key if not isinstance(key, str | Path) else read_private_key(Path(key)), target)


def sign_in_place(path: Path, key: "Ed25519PrivateKey") -> Signed:
    """Replace a model file by its signed form, in one step; raises ModelFileError as `sign` does."""
    return _sign(path, key, path)


def signed_path(path: Path) -> Path:
    """NAME.signed.tflite next to NAME.tflite."""
    return path.with_suffix(f".signed{path.suffix}")


def _sign(path: Path, key: "Ed25519PrivateKey", output: Path) -> Signed:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    contents = read_contents(path)
    check_contents(path, contents)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signature = key.sign(signed_bytes(contents.manifest)) + public
    write_contents(output, replace(contents, signature=signature))
    return Signed(output, signer(signature))


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise ConfigError(f"{path} exists already: a key is never overwritten, name another file") from error
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
