import os
import stat
import subprocess
from pathlib import Path
from shutil import which

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from ekd_edge.errors import ConfigError, ModelFileError
from ekd_edge.model.container import read_contents
from ekd_edge.model.file import load_model_file
from ekd_edge.model.signature import read_trust
from ekd_export.cli.export import main
from ekd_export.signing import make_key, read_private_key, sign_file


@pytest.fixture
def model(exports, tmp_path: Path) -> Path:
    path = tmp_path / "student.tflite"
    path.write_bytes(exports.int8.path.read_bytes())
    return path


def pem(key: object, private_format: PrivateFormat = PrivateFormat.PKCS8, passphrase: bytes = b"") -> bytes:
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, private_format, protection)  # type: ignore[attr-defined,no-any-return]


def test_a_new_key_is_its_owners_alone_and_never_overwritten(tmp_path: Path, capsys) -> None:
    key = tmp_path / "mine"
    assert main(["--new-key", str(key)]) == 0
    assert f"ekd-export --sign {key}" in capsys.readouterr().out
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert read_trust([tmp_path / "mine.pub"]).keys
    before = key.read_bytes()
    assert main(["--new-key", str(key)]) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert key.read_bytes() == before


def test_a_public_key_in_the_way_leaves_no_private_one(tmp_path: Path) -> None:
    (tmp_path / "mine.pub").write_text("another's")
    with pytest.raises(ConfigError, match=r"mine\.pub exists"):
        make_key(tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.pub"]


def test_an_exported_file_is_signed_in_place(model: Path, tmp_path: Path, capsys) -> None:
    trust = read_trust([make_key(tmp_path / "key")])
    before = read_contents(model)
    assert main(["--sign", str(tmp_path / "key"), str(model)]) == 0
    assert capsys.readouterr().out.startswith(f"signed     {model} by ed25519 key ")
    after = read_contents(model)
    assert (after.flatbuffer, after.manifest) == (before.flatbuffer, before.manifest)
    assert load_model_file(model, trust).path == model


def test_signing_again_replaces_the_signature(model: Path, tmp_path: Path) -> None:
    first, second = make_key(tmp_path / "first"), make_key(tmp_path / "second")
    sign_file(model, read_private_key(tmp_path / "first"))
    once = model.read_bytes()
    sign_file(model, read_private_key(tmp_path / "second"))
    load_model_file(model, read_trust([second]))
    with pytest.raises(ModelFileError, match="another key"):
        load_model_file(model, read_trust([first]))
    sign_file(model, read_private_key(tmp_path / "first"))
    assert model.read_bytes() == once


def test_a_run_is_exported_and_signed_in_one_go(exports, tmp_path: Path, capsys) -> None:
    public = make_key(tmp_path / "key")
    output = tmp_path / "a.tflite"
    assert main([str(exports.run.path), "-o", str(output), "--sign", str(tmp_path / "key")]) == 0
    assert "signed     " in capsys.readouterr().err
    load_model_file(output, read_trust([public]))


def test_nothing_is_exported_with_a_key_that_cannot_sign(exports, tmp_path: Path, capsys) -> None:
    output = tmp_path / "a.tflite"
    assert main([str(exports.run.path), "-o", str(output), "--sign", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not output.exists()


def test_a_model_file_without_a_wish_is_no_run(model: Path, capsys) -> None:
    before = model.read_bytes()
    assert main([str(model)]) == 2
    assert "is a model file already: name a run, or say --sign KEY or --c-array" in capsys.readouterr().err
    assert model.read_bytes() == before


def test_a_damaged_file_is_not_signed(model: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    content = bytearray(model.read_bytes())
    content[100] ^= 1
    model.write_bytes(content)
    with pytest.raises(ModelFileError, match="do not match"):
        sign_file(model, read_private_key(tmp_path / "key"))
    assert model.read_bytes() == content


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    make_key(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigError, match=rf"mode 0{mode:o}\): run `chmod 600"):
        read_private_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o400)
    read_private_key(tmp_path / "key")


def test_other_keys_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "key"
    public = make_key(tmp_path / "good")
    ed25519, rsa = Ed25519PrivateKey.generate(), generate_private_key(65537, 2048)
    for content, complaint in (
        (pem(ed25519, passphrase=b"secret"), "passphrase"),
        (pem(rsa), "not of the kind ed25519"),
        (pem(rsa, PrivateFormat.TraditionalOpenSSL), "not of the kind ed25519"),
        (pem(ed25519, PrivateFormat.OpenSSH), "no private key in PEM form"),
        (public.read_bytes(), "public key"),
        (b"", "no private key in PEM form"),
        (os.urandom(100), "no private key in PEM form"),
    ):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(ConfigError, match=complaint):
            read_private_key(path)
    with pytest.raises(ConfigError, match="cannot read the key"):
        read_private_key(tmp_path / "none")


def test_keys_of_openssl_sign_and_are_trusted(model: Path, tmp_path: Path) -> None:
    if which("openssl") is None:
        pytest.skip("openssl is not installed")

    def openssl(*arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    key, public = tmp_path / "key.pem", tmp_path / "key.pub"
    openssl("genpkey", "-algorithm", "ed25519", "-out", key)
    openssl("pkey", "-in", key, "-pubout", "-out", public)
    sign_file(model, read_private_key(key))
    load_model_file(model, read_trust([public]))
    openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", tmp_path / "locked.pem")
    (tmp_path / "locked.pem").chmod(0o600)
    with pytest.raises(ConfigError, match="passphrase"):
        read_private_key(tmp_path / "locked.pem")
    make_key(tmp_path / "ours")
    openssl("pkey", "-in", tmp_path / "ours", "-pubout", "-out", tmp_path / "ours-by-openssl.pub")
    assert read_trust([tmp_path / "ours-by-openssl.pub"]) == read_trust([tmp_path / "ours.pub"])
