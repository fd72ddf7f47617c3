import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import ekd_export.candidate
from ekd_edge.errors import ExportError
from ekd_edge.model.interpreter import open_classifier
from ekd_edge.model.subject_hash import hash_subjects
from ekd_edge.signal.spec import SignalSpec
from ekd_export.cli.export import main
from ekd_export.quantization.quantize import calibration_windows, fingerprint
from ekd_train.run import Run


def test_the_float_file_says_what_the_student_says(exports, windows) -> None:
    expected = exports.run.student()(torch.tensor(windows.gsr[:40])).logits.detach().numpy()
    np.testing.assert_allclose(open_classifier(exports.float32).predict(windows.gsr[:40]), expected, atol=2e-5)


def test_the_int8_file_agrees_with_the_float_file(exports, windows) -> None:
    exact, coarse = (open_classifier(each).predict(windows.gsr) for each in (exports.float32, exports.int8))
    noise = np.sqrt(np.mean((coarse - exact) ** 2)) / exact.std()
    assert noise < 0.25
    clear = np.abs(exact[..., 0] - exact[..., 1]) > 2 * np.abs(coarse - exact).max()
    assert (coarse.argmax(-1) == exact.argmax(-1))[clear].all()
    assert (coarse.argmax(-1) == exact.argmax(-1)).mean() > 0.9


def test_the_manifest_tells_the_whole_story(exports, windows) -> None:
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


def test_int8_is_the_smaller_file_and_people_are_told(exports) -> None:
    assert exports.int8.manifest.size_bytes < exports.float32.manifest.size_bytes
    out, err = exports.printed["int8"]
    assert "0 float tensors" in out
    assert "same class as the float student on" in out
    assert "ekd-edge --model runs/tiny/student-int8.tflite" in out
    figures = [line for line in out.splitlines() if "%" in line]
    assert figures
    assert all("[synthetic data]" in line for line in figures)
    assert "quantizing to int8 with" in err
    assert "Warning" not in err
    assert "INFO" not in err


def test_json_for_programs(exports) -> None:
    out, err = exports.printed["float32"]
    result = json.loads(out)
    assert result["path"] == "runs/tiny/student-float32.tflite"
    assert result["kind"] == "float32"
    assert result["sha256"] == exports.float32.manifest.sha256
    assert result["synthetic"] is True
    assert [each["target"] for each in result["verdict"]["targets"]] == ["arousal", "valence"]
    assert "converting" in err


def _fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()[-1]


def test_no_run_no_student_no_folder(run: Run, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert "ekd-train" in _fails(capsys)
    assert "no run folder" in _fails(capsys, tmp_path)
    assert "does not exist" in _fails(capsys, run.path, "-o", tmp_path / "none" / "a.tflite")
    empty = tmp_path / "empty"
    replace(run, path=empty).save()
    assert "holds no student" in _fails(capsys, empty)
    assert list(empty.glob("*.tflite")) == []


def test_data_that_changed_is_refused(run: Run, tmp_path, capsys) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    replace(run, path=tmp_path / "run", identity="another").save()
    assert "changed since" in _fails(capsys, tmp_path / "run", "-o", tmp_path / "a.tflite")
    assert not (tmp_path / "a.tflite").exists()


def test_what_is_to_be_known_of_the_data_is_said(run: Run, tmp_path, monkeypatch, capsys) -> None:
    def stop(*_: object) -> None:
        raise ExportError("far enough")

    monkeypatch.setenv("EKD_CACHE", str(tmp_path))
    monkeypatch.setattr(ekd_export.candidate, "convert", stop)
    assert main([str(run.path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == f"reading {run.source} ..."
    assert lines[2].startswith(f"the windows of {run.source} are kept in {tmp_path}")
    assert not lines[2].endswith("...")


def test_a_student_without_torch_is_no_crash(run: Run) -> None:
    code = "import sys; sys.modules['torch'] = None; from ekd_export.cli.export import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, str(run.path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'ekd[export]'" in done.stderr
