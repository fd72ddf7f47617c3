"""`ekd-export --max-drop`: verdict, exit status, and the choice of qat on validation subjects."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import ekd_export.pipeline
import ekd_export.save
from ekd_edge.errors import ExportError, ModelFileError
from ekd_edge.model.file import load_model_file
from ekd_export.candidate import Candidate
from ekd_export.cli.main import main
from ekd_export.evaluation.equivalence import Limits
from ekd_export.inputs import ExportInputs
from ekd_export.quantization.audit import audit
from ekd_export.quantization.recipes import Recipe
from ekd_train.run import Run


def test_loss_within_the_allowance_is_signed_off(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "a.tflite"
    assert main([str(run.path), "--int8", "--max-drop", "0.5", "-o", str(output), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["verdict"]["result"] == "passed"
    manifest = load_model_file(output).manifest
    assert manifest.signoff is not None
    assert (manifest.signoff.passed, manifest.signoff.max_drop) == (True, 0.5)
    assert json.loads(output.with_suffix(".json").read_text())["verdict"] == result["verdict"]
    assert "PASSED" in output.with_suffix(".html").read_text()
    assert manifest.evaluation is not None
    assert "logits" not in manifest.evaluation["verdict"]["targets"][0], "plot data must not be in the model file"


def test_undecided_exits_with_3_and_the_next_line_is_advice(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "a.tflite"
    assert main([str(run.path), "--int8", "--max-drop", "0.00001", "-o", str(output)]) == 3
    out, err = capsys.readouterr()
    assert "verdict    UNDECIDED: a change beyond 0.001 points is neither shown nor excluded" in out
    assert "next       try another recipe: --recipe" in out
    assert "--recipe float32" in out
    assert "ekd-edge --model" not in out
    assert "layers     that add most quantization error" in out
    manifest = load_model_file(output).manifest
    assert manifest.signoff is not None
    assert manifest.signoff.result == "undecided"
    assert "UNDECIDED" in output.with_suffix(".html").read_text()
    assert manifest.evaluation is not None
    assert manifest.evaluation["layer_errors"]
    choice = manifest.evaluation["validation"]
    assert (choice["entered_qat"], choice["chosen"]) == (False, "static")
    assert choice["why"] in err
    assert choice["why"].endswith(": use the recipe static or dynamic")


def test_qat_is_tried_where_static_changes_too_many_classes_of_a_validation_subject(
    edge_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ekd_export.pipeline, "limits", lambda *_: Limits(0.01, 0.12, disagreement=-1.0, stake=1.0))
    output = tmp_path / "a.tflite"
    assert main([str(edge_run.path), "--int8", "--max-drop", "0.00001", "-o", str(output)]) in (0, 3)
    manifest = load_model_file(output).manifest
    assert manifest.evaluation is not None
    choice = manifest.evaluation["validation"]
    assert choice["entered_qat"]
    assert choice["chosen"] == manifest.recipe
    means = choice["mean_disagreement"]
    assert choice["chosen"] == ("qat" if means["qat"] < means["static"] else "static")
    assert "trying qat" in capsys.readouterr().err


def test_static_is_kept_where_tuning_fails(
    edge_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build = ekd_export.pipeline.build_candidate

    def build_or_fail(inputs: ExportInputs, recipe: Recipe, notify: Callable[[str], None]) -> Candidate:
        if recipe.tuned:
            raise ExportError("a class is lost")
        return build(inputs, recipe, notify)

    monkeypatch.setattr(ekd_export.pipeline, "build_candidate", build_or_fail)
    monkeypatch.setattr(ekd_export.pipeline, "limits", lambda *_: Limits(0.01, 0.12, disagreement=-1.0, stake=1.0))
    output = tmp_path / "a.tflite"
    assert main([str(edge_run.path), "--int8", "--max-drop", "0.01", "-o", str(output)]) in (0, 3)
    manifest = load_model_file(output).manifest
    assert manifest.recipe == "static"
    assert manifest.evaluation is not None
    assert manifest.evaluation["validation"]["why"].endswith("and qat failed: a class is lost")
    assert "qat failed" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["1", "0", "-0.1", "nan"])
def test_max_drop_out_of_range_is_refused(
    wrong: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run.path), "--int8", f"--max-drop={wrong}", "-o", str(tmp_path / "a.tflite")]) == 2
    assert "write 0.01 for one point" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_max_drop_needs_quantization(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run.path), "--max-drop", "0.01", "-o", str(tmp_path / "a.tflite")]) == 2
    assert "--int8" in capsys.readouterr().err


@pytest.mark.parametrize(("recipe", "kind"), [("dynamic", "dynamic"), ("float16", "float16")])
def test_recipe_is_named_in_file_and_output(
    recipe: str, kind: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "a.tflite"
    onnx = ["--onnx"] if recipe == "dynamic" else []
    assert main([str(run.path), "--recipe", recipe, "-o", str(output), *onnx]) == 0
    manifest = load_model_file(output).manifest
    assert (manifest.recipe, manifest.kind) == (recipe, kind)
    assert f"recipe {recipe}" in capsys.readouterr().out
    assert output.with_suffix(".onnx").exists() == bool(onnx)


def test_tuned_file_has_the_operations_of_the_static_one(
    edge_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for recipe in ("static", "qat"):
        output = tmp_path / f"{recipe}.tflite"
        assert main([str(edge_run.path), "--recipe", recipe, "-o", str(output)]) == 0
        files.append(load_model_file(output))
    assert [file.manifest.recipe for file in files] == ["static", "qat"]
    static, tuned = (audit(file.flatbuffer, "int8") for file in files)
    assert (static.operations, static.tensors) == (tuned.operations, tuned.tensors)
    err = capsys.readouterr().err
    assert "fine-tuning for int8" in err
    assert (files[0].flatbuffer == files[1].flatbuffer) == (
        "fine-tuning: no epoch is better than the untuned student" in err
    )


def test_qat_is_refused_for_a_student_with_attention(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run.path), "--recipe", "qat", "-o", str(tmp_path / "a.tflite")]) == 2
    assert "the recipe qat cannot fine-tune this student" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_no_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise ModelFileError("the disk is full")

    monkeypatch.setattr(ekd_export.save, "save_model_file", full)
    assert main([str(run.path), "--onnx", "-o", str(tmp_path / "a.tflite")]) == 2
    assert "disk is full" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.onnx", "a.html", "a.json"])
def test_output_with_the_name_of_a_report_is_refused(
    name: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run.path), "--onnx", "-o", str(tmp_path / name)]) == 2
    assert "ends in .tflite" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
