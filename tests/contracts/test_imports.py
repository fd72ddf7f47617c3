"""Contract of imports: the edge loads no training framework and nothing slow."""

import json
import subprocess
import sys

import pytest

FRAMEWORKS = {
    "torch",
    "tensorflow",
    "jax",
    "onnx",
    "litert_torch",
    "ai_edge_quantizer",
    "torchao",
    "matplotlib",
    "rich",
}
RUNTIMES = {"ai_edge_litert", "tflite_runtime"}
SIGNATURES = {"cryptography"}
PACKAGES = {"firmware_bridge", "ekd_edge", "ekd_train", "ekd_export"}


def loaded_by(statement: str) -> set[str]:
    """Names of the modules that the statement loads in a new interpreter."""
    program = (
        f"import json, sys\nbefore = set(sys.modules)\n{statement}\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    names: list[str] = json.loads(done.stdout)
    return set(names)


def top_levels(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_edge_command_loads_no_framework_and_nothing_slow() -> None:
    names = loaded_by("import ekd_edge.cli.main")
    assert not top_levels(names) & (FRAMEWORKS | RUNTIMES | SIGNATURES | {"scipy", "ekd_train", "ekd_export"})


@pytest.mark.parametrize(
    "module",
    [
        "ekd_edge.pipeline.stream",
        "ekd_edge.model.find",
        "ekd_edge.signal.preprocessor",
        "ekd_edge.sources.sensor",
        "firmware_bridge.synthesis",
    ],
)
def test_edge_loads_no_framework(module: str) -> None:
    assert not top_levels(loaded_by(f"import {module}")) & (FRAMEWORKS | {"ekd_train", "ekd_export"})


@pytest.mark.parametrize(
    "module", ["firmware_bridge.devices.ekd.frame", "firmware_bridge.devices.detect", "firmware_bridge.emulation.pty"]
)
def test_wire_contract_loads_only_numpy_and_cobs(module: str) -> None:
    third_party = top_levels(loaded_by(f"import {module}")) - set(sys.stdlib_module_names) - {"cython_runtime"}
    assert {name for name in third_party if not name.startswith("_")} <= {"firmware_bridge", "numpy", "cobs"}


def test_preprocessing_loads_no_framework_when_it_runs() -> None:
    run = """
from fractions import Fraction
import numpy as np
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.design import gsr_spec
from ekd_edge.signal.preprocessor import Preprocessor
spec = gsr_spec(rate_hz=Fraction(16), window_s=4, hop_s=1)
assert Preprocessor(spec).push(SampleBlock(np.ones(2000), 0, Fraction(100)))
"""
    assert not top_levels(loaded_by(run)) & (FRAMEWORKS | RUNTIMES)


def test_cryptography_loads_only_with_trust() -> None:
    signed = """
from pathlib import Path
from tempfile import TemporaryDirectory
from ekd_edge.model.file import ModelFile, check_contents, load_model_file
from ekd_edge.errors import ModelFileError
import ekd_edge.model.signature, ekd_export.signing, ekd_export.cli.sign, ekd_export.cli.main
with TemporaryDirectory() as folder:
    path = Path(folder) / "a.tflite"
    path.write_bytes(b"no model")
    try:
        load_model_file(path)
    except ModelFileError:
        pass
"""
    assert not top_levels(loaded_by(signed)) & SIGNATURES
    assert top_levels(loaded_by("from ekd_edge.model.signature import require_cryptography as f; f()")) > SIGNATURES


@pytest.mark.parametrize("package", ["firmware_bridge", "ekd_edge", "ekd_train", "ekd_export"])
def test_package_import_loads_only_the_lazy_names(package: str) -> None:
    loaded = loaded_by(f"import {package}")
    ours = {name for name in loaded if name.partition(".")[0] in PACKAGES}
    assert ours <= {package, "firmware_bridge", "firmware_bridge.lazy"}
    assert top_levels(loaded) - PACKAGES <= set(sys.stdlib_module_names)


def test_evaluation_data_loads_without_torch() -> None:
    assert "torch" not in top_levels(loaded_by("import ekd_train.data.source"))


def test_report_loads_no_torch_and_no_matplotlib_at_import() -> None:
    assert not top_levels(loaded_by("import ekd_train.report.__main__")) & FRAMEWORKS


LIGHT = [
    ("ekd_edge.cli.main", "--version"),
    ("ekd_edge.cli.main", "predict --version"),
    ("ekd_edge.cli.main", "--help"),
    ("ekd_edge.cli.main", "predict --help"),
    ("ekd_edge.cli.main", "status"),
    ("ekd_edge.cli.main", "status --help"),
    ("ekd_edge.cli.main", "doctor"),
    ("ekd_edge.cli.main", "doctor --help"),
    ("ekd_edge.cli.recording.main", "--version"),
    ("ekd_edge.cli.recording.main", "--help"),
    ("firmware_bridge.cli.main", "--version"),
    ("firmware_bridge.cli.main", "--help"),
    ("ekd_train.cli.main", "--version"),
    ("ekd_train.cli.main", "train --version"),
    ("ekd_export.cli.main", "--version"),
    ("ekd_export.cli.evaluate", "--version"),
]


@pytest.mark.parametrize(("module", "words"), LIGHT)
def test_command_that_computes_nothing_loads_no_numpy(module: str, words: str) -> None:
    program = f"""
from contextlib import redirect_stdout, suppress
from {module} import main
with redirect_stdout(sys.stderr), suppress(SystemExit):
    main({words.split()})
"""
    assert not top_levels(loaded_by(program)) & {"numpy", "scipy", "torch"}
