import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ekd_export.convert.onnx
from ekd_edge.errors import ConfigError, ExportError
from ekd_edge.signal.spec import SignalSpec
from ekd_export.convert.fold import fold
from ekd_export.convert.onnx import OPSET, write_onnx
from tests.helpers.packages import hide_packages
from tests.helpers.paths import ROOT

onnx = pytest.importorskip("onnx", reason="the onnx extra is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")


@pytest.fixture(scope="session")
def onnx_path(exports, windows, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "student.onnx"
    write_onnx(fold(exports.run.student(), integer=False), exports.float32.manifest, windows.gsr[:4], path)
    return path


def test_onnx_file_has_the_student_logits(onnx_path: Path, exports, windows) -> None:
    session = onnxruntime.InferenceSession(onnx_path, providers=["CPUExecutionProvider"])
    found = np.concatenate([session.run(None, {"window": window[None]})[0] for window in windows.gsr])
    expected = exports.run.student()(torch.tensor(windows.gsr)).logits.detach().flatten(1).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert [(each.name, each.shape) for each in session.get_inputs()] == [("window", [1, windows.gsr.shape[1]])]
    assert [(each.name, each.shape) for each in session.get_outputs()] == [("logits", [1, 4])]


def test_onnx_file_has_its_metadata(onnx_path: Path, exports) -> None:
    model = onnx.load(onnx_path)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", OPSET)]
    about = json.loads({each.key: each.value for each in model.metadata_props}["ekd.json"])
    assert SignalSpec.from_json(about["signal"]) == exports.run.signal
    assert [target["labels"] for target in about["targets"]] == [["low", "high"]] * 2
    assert about["training"]["synthetic"] is True
    assert not {"sha256", "size_bytes"} & about.keys()


def test_onnx_file_contains_no_paths(onnx_path: Path) -> None:
    content = onnx_path.read_bytes()
    assert b".py" not in content
    assert str(ROOT).encode() not in content


def test_write_onnx_prints_nothing_and_leaves_no_other_file(exports, windows, tmp_path, capfd) -> None:
    write_onnx(fold(exports.run.student(), integer=False), exports.float32.manifest, windows.gsr[:1], tmp_path / "a")
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


class _ExportDependent(torch.nn.Module):
    """Computes other logits while it is exported."""

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        return window[:, :4] * (1.0 if torch.compiler.is_exporting() else 1.01)


class _ValueDependent(torch.nn.Module):
    """Has control flow that depends on the values, which a graph cannot express."""

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        return window[:, :4] if window.sum() > 0 else window[:, 4:8]


@pytest.mark.parametrize(
    ("student", "complaint"),
    [(_ExportDependent(), "logits differ by 0"), (_ValueDependent(), "cannot be written as ONNX")],
)
def test_student_changed_by_the_export_is_refused(student, complaint: str, exports, windows, tmp_path) -> None:
    with pytest.raises(ExportError, match=complaint):
        write_onnx(student, exports.float32.manifest, windows.gsr[:4], tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_a_file_is_refused(exports, windows, tmp_path) -> None:
    (tmp_path / "folder").write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        write_onnx(
            fold(exports.run.student(), integer=False),
            exports.float32.manifest,
            windows.gsr[:1],
            tmp_path / "folder" / "a.onnx",
        )


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_missing_package_is_one_sentence(package: str, exports, windows, tmp_path, monkeypatch):
    hide_packages(monkeypatch, package)
    with pytest.raises(ConfigError, match=rf"needs {package}, which is not installed: run `pip install .*\[onnx\]'`"):
        write_onnx(
            fold(exports.run.student(), integer=False),
            exports.float32.manifest,
            windows.gsr[:1],
            tmp_path / "a.onnx",
        )


def test_onnx_is_imported_lazily() -> None:
    code = f"import sys, {ekd_export.convert.onnx.__name__}; assert not {{'onnx', 'onnxruntime'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
