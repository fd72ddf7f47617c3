"""The same int8 models, one of every kind of student, in every runtime that is installed."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ekd_edge.model.file import ModelFile, load_model_file, save_model_file
from ekd_edge.model.manifest import Calibration, Manifest, Target, Training
from ekd_edge.model.subject_hash import hash_subjects
from ekd_train.data.source import open_dataset
from ekd_train.models.config import STUDENTS, NetworkConfig, StudentKind
from tests.helpers.paths import ROOT
from tests.pi.students import encode

torch = pytest.importorskip("torch", reason="the training extra is not installed")
pytest.importorskip("litert_torch", reason="the export extra is not installed")

SOURCE = "synthetic?subjects=5&trials=4&trial_s=60&seed=5"
TARGETS = ("arousal", "valence")


@dataclass(frozen=True)
class Model:
    """A student of random weights, folded, and its int8 file, calibrated on windows (n, window_samples).

    codes: those windows as the file takes them, int8. Runtimes are compared on them; nothing here is an accuracy.
    """

    folded: torch.nn.Module
    model_file: ModelFile
    windows: NDArray[np.float32]
    codes: NDArray[np.int8]


Models = Callable[..., Model]
Found = Mapping[str, NDArray[Any]]
Interpret = Callable[[bytes, NDArray[np.int8], str], NDArray[np.int8]]


@pytest.fixture(scope="session")
def models(random_student, tmp_path_factory: pytest.TempPathFactory) -> Models:
    """A function of a kind of student and of changed sizes that makes the model at its first call."""
    from ekd_export.convert.fold import fold
    from ekd_export.convert.tflite import convert
    from ekd_export.quantization.audit import audit, read_quantization
    from ekd_export.quantization.quantize import fingerprint, quantize
    from ekd_export.quantization.recipes import RECIPES
    from ekd_train.config import TrainConfig

    torch.set_num_threads(1)
    tables = {"data": SOURCE, "targets": list(TARGETS), "signal": {"rate_hz": "16", "window_s": 16.0, "hop_s": 4.0}}
    signal = TrainConfig.from_json(tables).signal.gsr()
    everyone = open_dataset(SOURCE).windows(signal, None, TARGETS)
    folder = tmp_path_factory.mktemp("runtimes")
    subjects = hash_subjects(SOURCE, everyone.subjects)

    @cache
    def make(kind: StudentKind, **sizes: int) -> Model:
        shape = NetworkConfig(window_samples=signal.window_samples, targets=TARGETS, student=kind, **sizes)
        folded = fold(random_student(shape, everyone.gsr), integer=True)
        flatbuffer = quantize(convert(folded, signal.window_samples), RECIPES["static-min-max"], everyone.gsr)
        audit(flatbuffer, "int8")
        manifest = Manifest(
            kind="int8",
            signal=signal,
            targets=tuple(Target(name, ("low", "high")) for name in TARGETS),
            training=Training(SOURCE, SOURCE, True, subjects, (), ()),
            recipe="static-min-max",
            student=kind,
            quantization=read_quantization(flatbuffer),
            calibration=Calibration("min-max", subjects, len(everyone), 0, fingerprint(everyone.gsr)),
        )
        path = folder / f"{kind}{''.join(map(str, sizes.values()))}.tflite"
        save_model_file(path, flatbuffer, manifest)
        model_file = load_model_file(path)
        return Model(folded, model_file, everyone.gsr, encode(model_file, everyone.gsr))

    return make


@pytest.fixture(scope="session")
def interpret() -> Interpret:
    """A function of a flatbuffer, codes (n, window_samples) and the name of LiteRT's kernels: codes of its logits."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    def run(flatbuffer: bytes, codes: NDArray[np.int8], kernels: str) -> NDArray[np.int8]:
        chosen = OpResolverType[kernels]
        model = Interpreter(model_content=flatbuffer, num_threads=1, experimental_op_resolver_type=chosen)
        model.allocate_tensors()
        source, result = model.get_input_details()[0]["index"], model.get_output_details()[0]["index"]
        rows = []
        for window in codes:
            model.set_tensor(source, window[None])
            model.invoke()
            rows.append(model.get_tensor(result)[0])
        return np.array(rows)

    return run


@pytest.fixture(scope="session")
def old_runtime() -> Callable[[Path], Found]:
    """A function of a folder that runs kernels.py on it with tflite-runtime 2.14 and returns its arrays."""
    venv = Path(f"{sys.prefix}-tflite-runtime")
    if not (venv / ".stage").exists():
        reason = (
            f"tflite-runtime 2.14 is not in {venv}: `make setup-dev` puts it there where it has a wheel (Python 3.11)"
        )
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)

    def run(folder: Path) -> Found:
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        _run(str(venv / "bin" / "python"), "kernels.py", folder, environment)
        with np.load(folder / "found.npz") as arrays:
            found = dict(arrays)
        assert found.pop("runtime") == "tflite-runtime 2.14.0"
        return found

    return run


@pytest.fixture(scope="session")
def second_converter(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Callable[[StudentKind], Found]:
    """A function of a kind of student that returns the arrays of second_converter.py by name."""
    pytest.importorskip("tensorflow", reason="TensorFlow, the second converter, is not installed")
    folder = tmp_path_factory.mktemp("tensorflow")
    for kind in STUDENTS:
        model = models(kind)
        program = torch.export.export(model.folded, (torch.tensor(model.windows[:1]),))
        torch.export.save(program, folder / f"{kind}.pt2")
        (folder / f"{kind}.tflite").write_bytes(model.model_file.flatbuffer)
        np.save(folder / f"{kind}-codes.npy", model.codes)
    np.save(folder / "windows.npy", models("paper").windows)
    _run(sys.executable, "second_converter.py", folder, {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"})

    def read(kind: StudentKind) -> Found:
        with np.load(folder / f"{kind}.npz") as found:
            return dict(found)

    return read


def _run(python: str, script: str, folder: Path, environment: Mapping[str, str]) -> None:
    command = [python, str(Path(__file__).with_name(script)), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(params=STUDENTS)
def kind(request: pytest.FixtureRequest) -> StudentKind:
    chosen: StudentKind = request.param
    return chosen
