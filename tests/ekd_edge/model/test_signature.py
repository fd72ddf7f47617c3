import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ekd_edge.errors import ConfigError, ModelFileError
from ekd_edge.model.container import SIGNATURE_BYTES, pack, read_contents, write_contents
from ekd_edge.model.file import check_contents, load_model_file
from ekd_edge.model.manifest import Manifest
from ekd_edge.model.manifest_json import encode_manifest
from ekd_edge.model.signature import Trust, read_trust, signed_bytes, trust_from_environment
from tests.helpers.edge_command import EDGE

WriteModel = Callable[..., Path]


@pytest.fixture
def signed(tmp_path: Path, write_model: WriteModel, signing_key) -> Path:
    return signing_key.sign(write_model(tmp_path / "student.tflite"))


def test_signed_file_is_loaded_with_and_without_trust(signed: Path, signing_key, other_key) -> None:
    assert load_model_file(signed, signing_key.trust) == load_model_file(signed)
    both = read_trust([other_key.public_path, signing_key.public_path])
    assert load_model_file(signed, both) == load_model_file(signed)


def test_signature_is_readable_by_any_zip_program(signed: Path) -> None:
    with zipfile.ZipFile(signed) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["ekd.json", "ekd.sig"]
        assert archive.getinfo("ekd.sig").file_size == SIGNATURE_BYTES


def test_signed_file_opens_in_a_tflite_runtime_as_it_is(signed: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    Interpreter(model_path=str(signed)).allocate_tensors()


def test_unsigned_and_untrusted_files_are_refused(signed: Path, write_model, tmp_path, signing_key, other_key) -> None:
    unsigned = write_model(tmp_path / "unsigned.tflite")
    with pytest.raises(
        ModelFileError,
        match=r"unsigned\.tflite is not signed: .*`ekd-export sign .*unsigned\.tflite --key KEY`",
    ):
        load_model_file(unsigned, signing_key.trust)
    with pytest.raises(ModelFileError, match=r"signed by a key that is not trusted .*ed25519 key [0-9a-f]{16}\.\.\."):
        load_model_file(signed, other_key.trust)
    with pytest.raises(ModelFileError, match="a key that is not trusted"):
        load_model_file(signed, Trust(frozenset()))


def test_signature_covers_the_context_and_the_manifest(signed: Path, signing_key) -> None:
    contents = read_contents(signed)
    assert contents.signature is not None
    key = contents.signature[64:]
    for message in (contents.manifest, signed_bytes(contents.manifest + b" "), b"", contents.flatbuffer):
        forged = signing_key.private.sign(message) + key
        write_contents(signed, replace(contents, signature=forged))
        with pytest.raises(ModelFileError, match="its signature does not match its manifest"):
            load_model_file(signed, signing_key.trust)
    messages = (
        b"ekd model file, signature 1\0" + contents.manifest
    )  # as docs/reference/model-file.md says, and as files in the field are signed
    write_contents(signed, replace(contents, signature=signing_key.private.sign(messages) + key))
    load_model_file(signed, signing_key.trust)


def test_altered_signature_is_refused_even_with_a_new_checksum(signed: Path, signing_key) -> None:
    contents = read_contents(signed)
    assert contents.signature is not None
    for bit in range(8 * SIGNATURE_BYTES):
        mutant = bytearray(contents.signature)
        mutant[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ModelFileError):
            check_contents(signed, replace(contents, signature=bytes(mutant)), signing_key.trust)


def test_damaged_signature_is_refused_without_trust_as_well(signed: Path) -> None:
    content = signed.read_bytes()
    signature = read_contents(signed).signature
    assert signature is not None
    start = content.index(signature)
    for position in range(start, start + SIGNATURE_BYTES):
        signed.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(ModelFileError, match="signature is damaged"):
            load_model_file(signed)


def test_signature_of_another_model_is_refused(signed: Path, tmp_path, write_model, signing_key) -> None:
    other = signing_key.sign(write_model(tmp_path / "other.tflite", made_by="another"))
    mine, theirs = read_contents(signed), read_contents(other)
    write_contents(signed, replace(mine, signature=theirs.signature))
    with pytest.raises(ModelFileError, match="does not match its manifest"):
        load_model_file(signed, signing_key.trust)
    signed.write_bytes(pack(replace(theirs, flatbuffer=theirs.flatbuffer[:-1] + b"!")))
    with pytest.raises(ModelFileError, match="do not match"):
        load_model_file(signed, signing_key.trust)


def test_signature_is_checked_before_the_manifest_is_parsed(signed: Path, other_key, signing_key) -> None:
    contents = read_contents(signed)
    garbage = replace(contents, manifest=b"{" * 100)
    write_contents(signed, garbage)
    with pytest.raises(ModelFileError, match="does not match its manifest"):
        load_model_file(signed, signing_key.trust)
    with pytest.raises(ModelFileError, match="a key that is not trusted"):
        load_model_file(signed, other_key.trust)


def test_file_that_holds_no_public_key_is_refused(tmp_path: Path, signing_key) -> None:
    path = tmp_path / "key.pub"
    public = signing_key.public_path.read_bytes()
    wrong = X25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for content, complaint in (
        (b"", "is not a public key"),
        (os.urandom(300), "is not a public key"),
        (public + public, "is not a public key"),
        (public.replace(b"MC", b"NC"), "is not a public key"),
        (wrong, "is not an ed25519 key"),
        (signing_key.public_path.with_name("key").read_bytes(), "private key, which is for signing only"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=complaint):
            read_trust([path])
    with pytest.raises(ConfigError, match="cannot read the trusted key"):
        read_trust([tmp_path])


def test_trust_is_read_from_the_environment(signing_key, other_key) -> None:
    named = f"{signing_key.public_path}:{other_key.public_path}"
    assert trust_from_environment({}) is None
    assert trust_from_environment({"EKD_TRUST": named}) == Trust(signing_key.trust.keys | other_key.trust.keys)
    for empty in ("", ":", f"{signing_key.public_path}:"):
        with pytest.raises(ConfigError, match="EKD_TRUST"):
            trust_from_environment({"EKD_TRUST": empty})


def edge(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    around = {name: value for name, value in os.environ.items() if not name.startswith("EKD_")}
    command = [EDGE, *map(str, arguments), "--port", "sim://", "--seconds", "0.2"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=around | environment)


def test_command_runs_only_trusted_models(signed: Path, signing_key, other_key) -> None:
    assert edge("--model", signed, "--trust", other_key.public_path, "--trust", signing_key.public_path).returncode == 0
    for refused in (
        edge("--model", signed, "--trust", other_key.public_path),
        edge("--model", signed, EKD_TRUST=str(other_key.public_path)),
        edge(EKD_MODEL=str(signed), EKD_TRUST=str(other_key.public_path)),
        edge("--model", signed, EKD_TRUST=""),
    ):
        assert refused.returncode == 2
        assert refused.stdout == ""
        assert refused.stderr.startswith("ekd-edge: ")
        assert refused.stderr.count("\n") == 1


def test_missing_cryptography_names_the_install_command(signed: Path, signing_key) -> None:
    code = "import sys; sys.modules['cryptography'] = None; from ekd_edge.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "--port", "sim://", "--model", signed, "--seconds", "0.2"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    command += ["--trust", signing_key.public_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "signatures need the cryptography package: run `pip install" in done.stderr


def test_signature_of_another_length_cannot_be_written(signed: Path, gsr_manifest: Manifest) -> None:
    contents = replace(read_contents(signed), manifest=encode_manifest(gsr_manifest), signature=b"short")
    before = signed.read_bytes()
    with pytest.raises(ValueError, match="96 bytes"):
        write_contents(signed, contents)
    assert signed.read_bytes() == before
