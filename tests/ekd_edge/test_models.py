import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ekd_edge.errors import ConfigError
from ekd_edge.manifest import Calibration, Quantization, TensorQuantization
from ekd_edge.models import default_model
from ekd_edge.subjects import hash_subject

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


def test_the_environment_wins(tmp_path: Path, write_model: WriteModel) -> None:
    write_model(tmp_path / "here.tflite")
    assert default_model(tmp_path, {"EKD_MODEL": "/elsewhere/a.tflite"}) == Path("/elsewhere/a.tflite")


def test_the_newest_run_wins(tmp_path: Path, write_model: WriteModel) -> None:
    aged(write_model(in_run(tmp_path, "a", "student-float32.tflite")), 2000)
    aged(write_model(tmp_path / "student-float32.tflite"), 1000)
    newest = aged(write_model(in_run(tmp_path, "b", "student-float32.tflite")), 3000)
    assert default_model(tmp_path, {}) == newest


def test_of_one_run_int8_wins_even_if_older(tmp_path: Path, write_model: WriteModel) -> None:
    aged(write_model(in_run(tmp_path, "b", "student-float32.tflite")), 3000)
    int8 = aged(write_model(in_run(tmp_path, "b", "student-int8.tflite"), **INT8), 2000)
    aged(write_model(in_run(tmp_path, "a", "student-int8.tflite"), **INT8), 2500)
    assert default_model(tmp_path, {}) == int8


def test_damaged_and_foreign_files_are_passed_over(tmp_path: Path, write_model: WriteModel) -> None:
    good = aged(write_model(tmp_path / "good.tflite"), 1000)
    (tmp_path / "cut.tflite").write_bytes(good.read_bytes()[:-10])
    (tmp_path / "foreign.tflite").write_bytes(b"no model at all")
    assert default_model(tmp_path, {}) == good


def test_nothing_here_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model here: run `ekd-export --int8`"):
        default_model(tmp_path, {})
    (tmp_path / "cut.tflite").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"passed over: .*cut\.tflite"):
        default_model(tmp_path, {})
