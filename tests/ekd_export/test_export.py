import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import ekd_export
import ekd_export.candidate
from ekd_edge.errors import ConfigError, DataError, ExportError
from ekd_edge.model.interpreter import open_classifier
from ekd_edge.model.subject_hash import hash_subjects
from ekd_edge.signal.spec import SignalSpec
from ekd_export.candidate import float_manifest
from ekd_export.cli.main import main
from ekd_export.inputs import read_inputs
from ekd_export.quantization.quantize import calibration_windows, fingerprint
from ekd_train.data.windows import LeftOut
from ekd_train.run import Run
from tests.helpers.packages import hide_packages


def test_float_file_has_the_student_logits(exports, windows) -> None:
    assert exports.float32.manifest.evaluation is not None
    values = [each["value"] for each in exports.float32.manifest.evaluation["temperatures"]]
    logits = exports.run.student()(torch.tensor(windows.gsr[:40])).logits.detach().numpy()
    expected = logits / np.array(values, np.float32)[:, None]
    np.testing.assert_allclose(open_classifier(exports.float32).predict(windows.gsr[:40]), expected, atol=2e-5)


def test_int8_file_agrees_with_the_float_file(exports, windows) -> None:
    exact, coarse = (open_classifier(each).predict(windows.gsr) for each in (exports.float32, exports.int8))
    noise = np.sqrt(np.mean((coarse - exact) ** 2)) / exact.std()
    assert noise < 0.25
    clear = np.abs(exact[..., 0] - exact[..., 1]) > 2 * np.abs(coarse - exact).max()
    assert (coarse.argmax(-1) == exact.argmax(-1))[clear].all()
    assert (coarse.argmax(-1) == exact.argmax(-1)).mean() > 0.9


def test_manifest_describes_the_run(exports, windows) -> None:
    run, manifest = exports.run, exports.int8.manifest
    assert manifest.signal == run.signal
    assert isinstance(manifest.signal, SignalSpec)
    assert [(target.name, target.labels) for target in manifest.targets] == [
        ("arousal", ("low", "high")),
        ("valence", ("low", "high")),
    ]
    training = manifest.training
    assert (training.source, training.dataset, training.synthetic) == (run.source, run.identity, True)
    assert (training.threshold, training.high) == (5.0, "at-or-above")
    assert training.normalization_state == "carried"
    assert training.train_subjects == hash_subjects(run.identity, ["s000", "s001"])
    assert training.seen_subjects == set(hash_subjects(run.identity, ["s000", "s001", "s002"]))
    calibration = manifest.calibration
    assert calibration is not None
    assert set(calibration.subjects) <= set(training.train_subjects)
    expected = calibration_windows(windows.of_subjects(run.split.train), run.config.seed)
    assert (calibration.windows, calibration.sha256) == (len(expected), fingerprint(expected))
    assert manifest.evaluation is not None
    assert manifest.evaluation["synthetic"] is True
    arousal, valence = manifest.evaluation["verdict"]["targets"]
    assert {each["subject"] for each in arousal["subjects"]} == set(hash_subjects(run.identity, run.split.test))
    assert valence["target"] == "valence"
    assert manifest.signoff is None
    assert not [name for name in windows.subjects if name in json.dumps(manifest.to_json())]
    assert manifest.made_by.startswith("ekd ")
    assert exports.float32.manifest.calibration is None
    assert (manifest.recipe, exports.float32.manifest.recipe, manifest.student) == ("static", "float32", "paper")


def test_int8_file_is_smaller_and_the_summary_says_synthetic(exports) -> None:
    assert exports.int8.manifest.size_bytes < exports.float32.manifest.size_bytes
    out, err = exports.printed["int8"]
    assert "0 float tensors" in out
    assert "same class as the float student on" in out
    assert "next       sign it off before it runs" in out
    assert "kB float32" in next(line for line in out.splitlines() if line.startswith("size"))
    assert "ms float32" in next(line for line in out.splitlines() if line.startswith("latency"))
    accuracies = [line for line in out.splitlines() if "test subjects: accuracy" in line]
    assert len(accuracies) == 2
    assert all("always the larger class: " in line for line in accuracies)
    figures = [line for line in out.splitlines() if "%" in line]
    assert figures
    assert all("[synthetic data]" in line for line in figures)
    assert "quantizing to int8 with" in err
    assert "Warning" not in err
    assert "INFO" not in err


def test_json_has_the_report(exports) -> None:
    out, err = exports.printed["float32"]
    result = json.loads(out)
    assert result["path"] == "runs/tiny/student-float32.tflite"
    assert result["kind"] == "float32"
    assert result["sha256"] == exports.float32.manifest.sha256
    assert result["synthetic"] is True
    assert [each["target"] for each in result["verdict"]["targets"]] == ["arousal", "valence"]
    assert "converting" in err
    quality = result["signal_quality"]
    assert quality["keep_bad_windows"] is False
    assert {side: counts["left_out"] for side, counts in quality["sides"].items()} == {
        "training": 0,
        "validation": 0,
        "test": 0,
    }
    assert quality["sides"]["test"]["windows"] == result["windows"]["test"]
    assert result["normalization_state"] == "carried"


def _fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()[-1]


def test_run_of_restarted_trials_is_exported_with_a_warning(run: Run) -> None:
    signal = replace(run.config.signal, normalization_state="restarted")
    notes: list[str] = []
    inputs = read_inputs(replace(run, config=replace(run.config, signal=signal)), notes.append)
    assert "was trained on trials that each restart the running mean" in notes[-1]
    assert "signal.normalization_state=carried" in notes[-1]
    assert float_manifest(inputs).training.restarted


@pytest.mark.parametrize(("side", "purpose"), [("training", "calibrate int8"), ("test", "judge the loss")])
def test_subjects_with_bad_windows_alone_are_refused(
    run: Run, windows, monkeypatch: pytest.MonkeyPatch, side: str, purpose: str
) -> None:
    subjects = run.subject_split.train if side == "training" else run.subject_split.test
    left_out = tuple(LeftOut(name, name, "t00", 20) for name in subjects)
    remaining = replace(windows.select(~np.isin(windows.subject, subjects)), left_out=left_out)
    monkeypatch.setattr("ekd_export.inputs._read_windows", lambda *_: remaining)
    with pytest.raises(DataError, match=rf"all {20 * len(subjects)} windows of the {side} subjects, which {purpose}"):
        read_inputs(run, lambda _: None)


def test_missing_run_student_or_folder_is_refused(run: Run, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert "ekd-train" in _fails(capsys)
    assert "is not a run folder" in _fails(capsys, tmp_path)
    assert "does not exist" in _fails(capsys, run.path, "-o", tmp_path / "none" / "a.tflite")
    empty = tmp_path / "empty"
    replace(run, path=empty).save()
    assert "has no student" in _fails(capsys, empty)
    assert list(empty.glob("*.tflite")) == []


def test_changed_data_is_refused(run: Run, tmp_path, capsys) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    replace(run, path=tmp_path / "run", identity="another").save()
    assert "changed since" in _fails(capsys, tmp_path / "run", "-o", tmp_path / "a.tflite")
    assert not (tmp_path / "a.tflite").exists()


def test_notes_on_the_data_are_printed(run: Run, tmp_path, monkeypatch, capsys) -> None:
    def stop(*_: object) -> None:
        raise ExportError("far enough")

    monkeypatch.setenv("EKD_CACHE", str(tmp_path))
    monkeypatch.setattr(ekd_export.candidate, "convert", stop)
    assert main([str(run.path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == f"reading {run.source} ..."
    assert lines[2].startswith(f"the windows of {run.source} are stored in {tmp_path}")
    assert not lines[2].endswith("...")


@pytest.mark.parametrize(
    ("package", "options", "name"),
    [
        ("torch", [], "torch"),
        ("litert_torch", [], "litert-torch"),
        ("torchao", [], "torchao"),
        ("ai_edge_litert", [], "ai-edge-litert"),
        ("onnx", ["--onnx"], "onnx"),
    ],
)
def test_missing_package_is_refused_before_any_work(
    package: str, options: list[str], name: str, run: Run, monkeypatch, capsys
) -> None:
    hide_packages(monkeypatch, package)
    error = _fails(capsys, run.path, *options)
    assert re.search(rf"needs {name}, which is not installed: run `pip install .*\[\w+\]'`", error)


def test_misspelled_recipe_and_run_name_the_nearest(run: Run, monkeypatch, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(run.path), "--recipe", "statik"])
    assert "did you mean static?" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"unknown recipe 'statik': .*did you mean static\?"):
        ekd_export.export(run.path, "statik")
    monkeypatch.chdir(run.path.parents[1])
    assert "did you mean runs/tiny?" in _fails(capsys, "runs/tinny")


def test_public_export_is_silent_and_returns_the_result(run: Run, tmp_path, capsys) -> None:
    result = ekd_export.export(run.path, "static", max_drop=0.5, output=tmp_path / "a.tflite")
    assert capsys.readouterr() == ("", "")
    assert (result.path, result.model_file.manifest.recipe) == (tmp_path / "a.tflite", "static")
    assert result.verdict.passed
    assert result.report["verdict"]["result"] == "passed"
    assert result.page == tmp_path / "a.html"


def test_python_m_runs_the_command() -> None:
    command = [sys.executable, "-m", "ekd_export", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("ekd ")
