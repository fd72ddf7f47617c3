"""Keys that sign model files, a sensor's bytes, and an environment without EKD_MODEL and EKD_TRUST."""

import os
import pty
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ekd_edge.model.signature import Trust, read_trust
from ekd_export.signing import new_key, read_private_key, sign_in_place
from tests.helpers.edge_command import Wire


@dataclass(frozen=True)
class SigningKey:
    """A private key, the file of its public key, and a `Trust` in that key."""

    private: Ed25519PrivateKey
    public_path: Path
    trust: Trust

    def sign(self, path: Path) -> Path:
        sign_in_place(path, self.private)
        return path


def make_signing_key(folder: Path) -> SigningKey:
    public_path = new_key(folder / "key")
    return SigningKey(read_private_key(folder / "key"), public_path, read_trust([public_path]))


@pytest.fixture(scope="session")
def signing_key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return make_signing_key(tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="session")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return make_signing_key(tmp_path_factory.mktemp("other-key"))


@pytest.fixture(autouse=True)
def _no_default_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EKD_MODEL", "EKD_TRUST"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def wire() -> Iterator[Wire]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    yield Wire(master, name)
    os.close(slave)
    os.close(master)
