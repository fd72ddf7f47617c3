import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ekd_edge.errors import ConfigError, ModelFileError
from ekd_edge.model.file import load_model_file
from ekd_edge.model.find import DEMO_FILE, default_model, describe_signoff, find_model
from ekd_edge.model.manifest import Calibration, Quantization, SignOff, TensorQuantization
from ekd_edge.model.subject_hash import hash_subject

WriteModel = Callable[..., Path]
INT8 = {
    "kind": "int8",
    "recipe": "static",
    "quantization": Quantization(TensorQuantization(0.1, 0), TensorQuantization(0.1, 0)),
    "calibration": Calibration("min-max", (hash_subject("synthetic-test", "s1"),), 8, 0, "0" * 64),
}


def aged(path: Path, seconds: int) -> Path:
    os.utime(path, (seconds, seconds))
    return path


def in_run(folder: Path, run: str, name: str) -> Path:
    (folder / "runs" / run).mkdir(parents=True, exist_ok=True)
    return folder / "runs" / run / name


def test_environment_variable_decides(tmp_path: Path, write_model: WriteModel) -> None:
    write_model(tmp_path / "here.tflite")
    named = write_model(in_run(tmp_path, "a", "other.tflite"))
    assert default_model(tmp_path, {"EKD_MODEL": str(named)}) == named
    assert default_model(tmp_path, {"EKD_MODEL": "demo"}) == DEMO_FILE


def test_demo_model_is_small_int8_and_synthetic() -> None:
    manifest = load_model_file(find_model("demo")).manifest
    assert DEMO_FILE.stat().st_size <= 80_000
    assert manifest.training.synthetic
    assert manifest.signoff is not None
    assert (manifest.kind, manifest.signoff.passed) == ("int8", True)
    assert manifest.signal.settle_s + manifest.signal.window_s <= 30


def test_missing_model_names_the_nearest(tmp_path: Path, write_model: WriteModel, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "student-int8.tflite")
    with pytest.raises(ModelFileError, match=r"file studnt-int8\.tflite: .*did you mean student-int8\.tflite\?"):
        find_model("studnt-int8.tflite")
    with pytest.raises(ModelFileError, match=r"did you mean demo\?"):
        find_model("demmo")
    Path("demo").write_bytes(b"x")
    assert find_model("demo") == Path("demo"), "a file of that name comes first"


def test_newest_run_decides(tmp_path: Path, write_model: WriteModel) -> None:
    aged(write_model(in_run(tmp_path, "a", "student-float32.tflite")), 2000)
    aged(write_model(tmp_path / "student-float32.tflite"), 1000)
    newest = aged(write_model(in_run(tmp_path, "b", "student-float32.tflite")), 3000)
    assert default_model(tmp_path, {}) == newest


def test_int8_model_of_a_run_is_preferred_even_if_older(tmp_path: Path, write_model: WriteModel) -> None:
    aged(write_model(in_run(tmp_path, "b", "student-float32.tflite")), 3000)
    int8 = aged(write_model(in_run(tmp_path, "b", "student-int8.tflite"), **INT8), 2000)
    aged(write_model(in_run(tmp_path, "a", "student-int8.tflite"), **INT8), 2500)
    assert default_model(tmp_path, {}) == int8


def test_damaged_and_foreign_files_are_skipped(tmp_path: Path, write_model: WriteModel) -> None:
    good = aged(write_model(tmp_path / "good.tflite"), 1000)
    (tmp_path / "cut.tflite").write_bytes(good.read_bytes()[:-10])
    (tmp_path / "foreign.tflite").write_bytes(b"no model at all")
    assert default_model(tmp_path, {}) == good


def test_missing_model_names_the_command_that_creates_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model here: try --model demo, run `ekd-export --int8`"):
        default_model(tmp_path, {})
    (tmp_path / "cut.tflite").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"skipped: .*cut\.tflite"):
        default_model(tmp_path, {})


def test_models_without_sign_off_are_skipped(tmp_path: Path, write_model: WriteModel) -> None:
    refused = write_model(in_run(tmp_path, "b", "student-int8.tflite"), **INT8, signoff=SignOff(0.01, "failed"))
    with pytest.raises(ConfigError, match=r"student-int8.tflite: sign-off FAILED for --max-drop 0.01; export it again"):
        default_model(tmp_path, {})
    never = aged(write_model(in_run(tmp_path, "a", "student-int8.tflite"), **INT8), 2000)
    assert default_model(tmp_path, {}) == never
    neighbor = aged(write_model(refused.with_name("student-float32.tflite")), 3000)
    assert default_model(tmp_path, {}) == neighbor
    write_model(refused, **INT8, signoff=SignOff(0.01, "passed"))
    assert default_model(tmp_path, {}) == refused


def test_sign_off_is_described_in_a_few_words(tmp_path: Path, write_model: WriteModel) -> None:
    def said(**changes: object) -> str:
        return describe_signoff(load_model_file(write_model(tmp_path / "a.tflite", **changes)).manifest)

    assert said() == ""
    assert said(**INT8) == "never signed off"
    assert said(**INT8, signoff=SignOff(0.015, "passed")) == ""
    assert said(**INT8, signoff=SignOff(0.015, "undecided")) == "sign-off UNDECIDED for --max-drop 0.015"


def test_unsigned_models_are_skipped_with_trust(tmp_path: Path, write_model: WriteModel, signing_key) -> None:
    signed = aged(write_model(tmp_path / "signed.tflite"), 1000)
    signing_key.sign(signed)
    aged(signed, 1000)
    unsigned = aged(write_model(tmp_path / "unsigned.tflite"), 2000)
    assert default_model(tmp_path, {}) == unsigned
    assert default_model(tmp_path, {}, signing_key.trust) == signed
    signed.unlink()
    with pytest.raises(ConfigError, match=r"skipped: .*unsigned\.tflite is not signed"):
        default_model(tmp_path, {}, signing_key.trust)
