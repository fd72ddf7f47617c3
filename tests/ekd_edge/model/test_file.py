import io
import json
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ekd_edge.errors import ModelFileError
from ekd_edge.model import container
from ekd_edge.model.container import MAX_FLATBUFFER_BYTES, Contents, pack
from ekd_edge.model.file import load_model_file, save_model_file
from ekd_edge.model.manifest import Manifest
from ekd_edge.model.manifest_json import encode_manifest

FLATBUFFER = b"\x1c\0\0\0TFL3" + bytes(range(256)) * 3


@pytest.fixture
def path(tmp_path: Path, gsr_manifest: Manifest) -> Path:
    save_model_file(tmp_path / "student.tflite", FLATBUFFER, gsr_manifest)
    return tmp_path / "student.tflite"


def _zip(**options: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in options.items():
            archive.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


def test_saved_model_file_loads_unchanged(tmp_path: Path, gsr_manifest: Manifest) -> None:
    written = save_model_file(tmp_path / "a.tflite", FLATBUFFER, gsr_manifest)
    loaded = load_model_file(tmp_path / "a.tflite")
    assert (loaded.manifest, loaded.flatbuffer, loaded.path) == (written, FLATBUFFER, tmp_path / "a.tflite")
    assert written.size_bytes == len(FLATBUFFER)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tflite"]


def test_equal_contents_give_equal_bytes(path: Path, gsr_manifest: Manifest) -> None:
    first = path.read_bytes()
    save_model_file(path, FLATBUFFER, gsr_manifest)
    assert path.read_bytes() == first


def test_manifest_is_readable_by_any_zip_program(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["ekd.json"]
        assert json.loads(archive.read("ekd.json"))["kind"] == "float32"


def test_file_opens_in_a_tflite_runtime_as_it_is(model_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(model_path))
    interpreter.allocate_tensors()
    assert interpreter.get_output_details()[0]["shape"].tolist() == [1, 4]


def test_truncated_file_is_refused(path: Path) -> None:
    content = path.read_bytes()
    for length in range(0, len(content), 3):
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError):
            load_model_file(path)


def test_altered_byte_is_refused(path: Path) -> None:
    content = path.read_bytes()
    chance = random.Random(1)
    for position in range(len(content)):
        mutant = bytearray(content)
        mutant[position] ^= chance.randrange(1, 256)
        path.write_bytes(mutant)
        with pytest.raises(ModelFileError):
            load_model_file(path)


def test_insertions_deletions_and_splices_are_refused(path: Path) -> None:
    content = path.read_bytes()
    chance = random.Random(2)
    for _ in range(300):
        start, stop = sorted(chance.choices(range(len(content)), k=2))
        piece = content[start : stop + 1]
        at = chance.randrange(len(content))
        mutants = (content[:start] + content[stop + 1 :], content[:at] + piece + content[at:], content + piece)
        for mutant in mutants:
            path.write_bytes(mutant)
            with pytest.raises(ModelFileError):
                load_model_file(path)


def test_manifest_of_another_model_is_refused(path: Path, tmp_path: Path, gsr_manifest: Manifest) -> None:
    other = tmp_path / "other.tflite"
    save_model_file(other, FLATBUFFER[:-1] + b"!", gsr_manifest)
    other.write_bytes(FLATBUFFER + other.read_bytes()[len(FLATBUFFER) :])
    with pytest.raises(ModelFileError, match="do not match"):
        load_model_file(other)


def test_newer_format_asks_for_an_upgrade(path: Path) -> None:
    encoded = zipfile.ZipFile(path).read("ekd.json").replace(b'"format_version": 2', b'"format_version": 3')
    path.write_bytes(pack(Contents(FLATBUFFER, encoded)))
    with pytest.raises(ModelFileError, match=r"newer ekd.*upgrade"):
        load_model_file(path)


@pytest.mark.parametrize("kind", ["extra", "compressed", "elsewhere", "comment", "twice"])
def test_noncanonical_zip_is_refused(path: Path, kind: str) -> None:
    encoded = zipfile.ZipFile(path).read("ekd.json")
    if kind == "compressed":
        path.write_bytes(FLATBUFFER)
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("ekd.json", encoded)
    elif kind == "elsewhere":
        path.write_bytes(FLATBUFFER)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("../ekd.json", encoded)
    else:
        with zipfile.ZipFile(path, "a") as archive:
            if kind == "extra":
                archive.writestr("more.json", b"{}")
            elif kind == "comment":
                archive.comment = b"hello"
            else:
                with pytest.warns(UserWarning, match="Duplicate"):
                    archive.writestr("ekd.json", encoded)
    with pytest.raises(ModelFileError, match=r"student.tflite"):
        load_model_file(path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not a TFLite model"),
        (b"PK", "not a TFLite model"),
        (_zip(ekd_json=b"{}"), "not a TFLite model"),
        (np.random.default_rng(0).bytes(5000), "not a TFLite model"),
        (FLATBUFFER, "cut short or not from ekd-export"),
        (FLATBUFFER + _zip(labels_txt=b"cat"), "altered"),
    ],
)
def test_other_file_kinds_are_refused_by_name(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=complaint) as caught:
        load_model_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_a_folder_have_their_own_sentences(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"there is no model file.*ekd-export"):
        load_model_file(tmp_path / "none.tflite")
    with pytest.raises(ModelFileError, match="not a file"):
        load_model_file(tmp_path)


def test_sentence_about_a_manifest_has_a_limited_length(tmp_path: Path, gsr_manifest: Manifest) -> None:
    whole = json.loads(encode_manifest(gsr_manifest))
    whole["signal"]["rate_hz"] = whole["y" * 70_000] = "x" * 70_000
    (tmp_path / "m.tflite").write_bytes(pack(Contents(FLATBUFFER, json.dumps(whole).encode())))
    with pytest.raises(ModelFileError, match=r"m\.tflite cannot be used: manifest: ") as refused:
        load_model_file(tmp_path / "m.tflite")
    assert len(str(refused.value)) < 1200 + len(str(tmp_path))


def test_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.tflite"
    with path.open("wb") as file:
        file.truncate(4 * MAX_FLATBUFFER_BYTES)
    with pytest.raises(ModelFileError, match="larger than"):
        load_model_file(path)


def test_refused_save_leaves_no_file(tmp_path: Path, gsr_manifest: Manifest) -> None:
    path = tmp_path / "a.tflite"
    huge = FLATBUFFER + bytes(MAX_FLATBUFFER_BYTES)
    for flatbuffer, complaint in ((b"no model", "not a TFLite model"), (huge, "too large")):
        with pytest.raises(ModelFileError, match=complaint):
            save_model_file(path, flatbuffer, gsr_manifest)
    with pytest.raises(ModelFileError, match="cannot write"):
        save_model_file(tmp_path / "none" / "a.tflite", FLATBUFFER, gsr_manifest)
    assert list(tmp_path.iterdir()) == []


def test_failing_save_keeps_the_old_file(path: Path, gsr_manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr(container.os, "fsync", fail)
    with pytest.raises(ModelFileError, match="the disk is full"):
        save_model_file(path, FLATBUFFER + b"!", gsr_manifest)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["student.tflite"]
