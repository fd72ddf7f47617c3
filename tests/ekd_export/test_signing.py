import contextlib
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
from ekd_export.cli.main import main
from ekd_export.signing import new_key, read_private_key, sign_in_place


@pytest.fixture
def model(exports, tmp_path: Path) -> Path:
    path = tmp_path / "student.tflite"
    path.write_bytes(exports.int8.path.read_bytes())
    return path


def pem(key: object, private_format: PrivateFormat = PrivateFormat.PKCS8, passphrase: bytes = b"") -> bytes:
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, private_format, protection)  # type: ignore[attr-defined,no-any-return]


def test_new_key_is_private_and_never_overwritten(tmp_path: Path, capsys) -> None:
    key = tmp_path / "mine"
    assert main(["new-key", str(key)]) == 0
    assert f"ekd-export sign FILE --key {key}" in capsys.readouterr().out
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert read_trust([tmp_path / "mine.pub"]).keys
    before = key.read_bytes()
    assert main(["new-key", str(key)]) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert key.read_bytes() == before


def test_existing_public_key_leaves_no_private_one(tmp_path: Path) -> None:
    (tmp_path / "mine.pub").write_text("another's")
    with pytest.raises(ConfigError, match=r"mine\.pub exists"):
        new_key(tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.pub"]


def test_sign_writes_a_copy_and_leaves_the_original(model: Path, tmp_path: Path, capsys) -> None:
    trust = read_trust([new_key(tmp_path / "key")])
    content, before = model.read_bytes(), read_contents(model)
    for options, output in (([], tmp_path / "student.signed.tflite"), (["-o", "other.tflite"], Path("other.tflite"))):
        with contextlib.chdir(tmp_path):
            assert main(["sign", str(model), "--key", str(tmp_path / "key"), *options]) == 0
        assert capsys.readouterr().out.startswith(f"signed     {output} by ed25519 key ")
        signed = tmp_path / output
        after = read_contents(signed)
        assert (after.flatbuffer, after.manifest) == (before.flatbuffer, before.manifest)
        assert load_model_file(signed, trust).path == signed
    assert model.read_bytes() == content
    assert main(["sign", str(model), "--key", str(tmp_path / "key"), "-o", str(model)]) == 2
    assert "is never changed" in capsys.readouterr().err
    assert model.read_bytes() == content


def test_old_spellings_work_and_name_the_new_ones(model: Path, tmp_path: Path, capsys) -> None:
    content = model.read_bytes()
    assert main(["--new-key", str(tmp_path / "key")]) == 0
    assert "write `ekd-export new-key" in capsys.readouterr().err
    assert main([str(model), "--sign", str(tmp_path / "key"), "-o", str(tmp_path / "a.tflite")]) == 0
    assert "write `ekd-export sign" in capsys.readouterr().err
    load_model_file(tmp_path / "a.tflite", read_trust([tmp_path / "key.pub"]))
    assert main([str(model), "--c-array"]) == 0
    assert "write `ekd-export c-source" in capsys.readouterr().err
    assert model.read_bytes() == content


def test_second_signature_replaces_the_first(model: Path, tmp_path: Path) -> None:
    first, second = new_key(tmp_path / "first"), new_key(tmp_path / "second")
    sign_in_place(model, read_private_key(tmp_path / "first"))
    once = model.read_bytes()
    sign_in_place(model, read_private_key(tmp_path / "second"))
    load_model_file(model, read_trust([second]))
    with pytest.raises(ModelFileError, match="is signed by a key that is not trusted"):
        load_model_file(model, read_trust([first]))
    sign_in_place(model, read_private_key(tmp_path / "first"))
    assert model.read_bytes() == once


def test_export_signs_the_written_file(exports, tmp_path: Path, capsys) -> None:
    public = new_key(tmp_path / "key")
    output = tmp_path / "a.tflite"
    assert main([str(exports.run.path), "-o", str(output), "--sign", str(tmp_path / "key")]) == 0
    assert "signed     " in capsys.readouterr().err
    load_model_file(output, read_trust([public]))


def test_missing_key_stops_the_export(exports, tmp_path: Path, capsys) -> None:
    output = tmp_path / "a.tflite"
    assert main([str(exports.run.path), "-o", str(output), "--sign", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not output.exists()


def test_model_file_in_place_of_a_run_is_refused(model: Path, capsys) -> None:
    before = model.read_bytes()
    assert main([str(model)]) == 2
    assert "is a model file already: name a run, or write `ekd-export sign" in capsys.readouterr().err
    assert model.read_bytes() == before


def test_damaged_file_is_not_signed(model: Path, tmp_path: Path) -> None:
    new_key(tmp_path / "key")
    content = bytearray(model.read_bytes())
    content[100] ^= 1
    model.write_bytes(content)
    with pytest.raises(ModelFileError, match="do not match"):
        sign_in_place(model, read_private_key(tmp_path / "key"))
    assert model.read_bytes() == content


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_key_readable_by_others_is_refused(tmp_path: Path, mode: int) -> None:
    new_key(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigError, match=rf"mode 0{mode:o}\): run `chmod 600"):
        read_private_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o400)
    read_private_key(tmp_path / "key")


def test_unusable_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    public = new_key(tmp_path / "good")
    ed25519, rsa = Ed25519PrivateKey.generate(), generate_private_key(65537, 2048)
    for content, complaint in (
        (pem(ed25519, passphrase=b"secret"), "passphrase"),
        (pem(rsa), "not of the kind ed25519"),
        (pem(rsa, PrivateFormat.TraditionalOpenSSL), "not of the kind ed25519"),
        (pem(ed25519, PrivateFormat.OpenSSH), "not a private key in PEM form"),
        (public.read_bytes(), "public key"),
        (b"", "not a private key in PEM form"),
        (os.urandom(100), "not a private key in PEM form"),
    ):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(ConfigError, match=complaint):
            read_private_key(path)
    with pytest.raises(ConfigError, match="cannot read the key"):
        read_private_key(tmp_path / "none")


def test_openssl_keys_sign_and_are_trusted(model: Path, tmp_path: Path) -> None:
    if which("openssl") is None:
        pytest.skip("openssl is not installed")

    def openssl(*arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    key, public = tmp_path / "key.pem", tmp_path / "key.pub"
    openssl("genpkey", "-algorithm", "ed25519", "-out", key)
    openssl("pkey", "-in", key, "-pubout", "-out", public)
    sign_in_place(model, read_private_key(key))
    load_model_file(model, read_trust([public]))
    openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", tmp_path / "locked.pem")
    (tmp_path / "locked.pem").chmod(0o600)
    with pytest.raises(ConfigError, match="passphrase"):
        read_private_key(tmp_path / "locked.pem")
    new_key(tmp_path / "ours")
    openssl("pkey", "-in", tmp_path / "ours", "-pubout", "-out", tmp_path / "ours-by-openssl.pub")
    assert read_trust([tmp_path / "ours-by-openssl.pub"]) == read_trust([tmp_path / "ours.pub"])
