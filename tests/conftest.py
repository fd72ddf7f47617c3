"""Settings of all tests, and fixtures that several folders use."""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from ekd_edge.model.file import save_model_file
from ekd_edge.model.manifest import Manifest, Training
from ekd_edge.model.manifest import Target as PredictedTarget
from ekd_edge.model.subject_hash import hash_subjects
from ekd_edge.signal.design import gsr_spec
from firmware_bridge.firmware.toolchain import Target, build, missing_tools

if TYPE_CHECKING:
    from ekd_train.models.config import NetworkConfig
    from ekd_train.models.student import Student


settings.register_profile("ekd", deadline=None)  # a busy machine is not a failure
settings.load_profile("ekd")


PEOPLE = tuple(hash_subjects("synthetic-test", [name]) for name in ("s1", "s2", "s3"))
MODEL_TARGETS = (PredictedTarget("arousal", ("low", "high")), PredictedTarget("valence", ("low", "high")))

MARKED_FOLDERS = ("pi", "usb")
"""Every test in such a folder has the marker of the same name."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if (folder := item.path.relative_to(here).parts[0]) in MARKED_FOLDERS:
            item.add_marker(folder)


def _linear_flatbuffer(weights: np.ndarray) -> bytes:
    """A TFLite model logits = weights @ window, float32; weights (outputs, window)."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    outputs, window = weights.shape

    def tensor(name: str, shape: tuple[int, ...], buffer: int) -> schema.TensorT:
        made = schema.TensorT()
        made.name, made.shape, made.buffer = name.encode(), list(shape), buffer
        made.type = schema.TensorType.FLOAT32
        return made

    def buffer(data: bytes | None) -> schema.BufferT:
        made = schema.BufferT()
        if data is not None:
            made.data = np.frombuffer(data, np.uint8)
        return made

    options = schema.FullyConnectedOptionsT()
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1, -1], [2]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = options
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("window", (1, window), 0),
        tensor("weights", weights.shape, 1),
        tensor("logits", (1, outputs), 0),
    ]
    graph.inputs, graph.outputs, graph.operators = [0], [2], [operator]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [buffer(None), buffer(weights.astype(np.float32).tobytes())]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The cache of converted windows is a folder of this session, not the one in the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "EKD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """built(target, **settings): the file built from the C sources. Without the tools, tests skip, and fail in CI."""
    made: dict[tuple[object, ...], Path] = {}

    def make(target: Target, **settings: str) -> Path:
        if (missing := missing_tools(target)) is not None:
            if os.environ.get("CI"):
                pytest.fail(missing)
            pytest.skip(missing)
        key = (target, *sorted(settings.items()))
        if key not in made:
            made[key] = build(target, tmp_path_factory.mktemp("csrc"), settings)
        return made[key]

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB. Without permission to mount one, tests skip, and fail in CI."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)], capture_output=True)
    if done.returncode:
        if os.environ.get("CI"):
            pytest.fail("a small disk cannot be mounted: run CI as root")
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def random_student() -> "Callable[[NetworkConfig, NDArray[np.float32]], Student]":
    """A function of a shape and windows (n, window_samples) that makes a student of any kind without training."""
    return make_student


def make_student(config: "NetworkConfig", windows: NDArray[np.float32]) -> "Student":
    """Random weights and batch norm statistics; both classes of each target are predicted about as often."""
    import torch

    from ekd_train.models.student import Student

    torch.manual_seed(11)
    student = Student(config)
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            torch.nn.init.normal_(module.running_mean, std=0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.7, 1.6)
            torch.nn.init.normal_(module.bias, std=0.3)
    student.eval()
    with torch.no_grad():
        logits = student(torch.tensor(windows)).logits
        for column, classifier in enumerate(student.classifier.values()):
            bias = classifier.layers()[-1].bias
            bias[1] += (logits[:, column, 0] - logits[:, column, 1]).median()
    return student


@pytest.fixture(scope="session")
def gsr_manifest() -> Manifest:
    """16 Hz, windows of 4 s every second after 2 s of settling: a prediction after six seconds."""
    return Manifest(
        kind="float32",
        signal=gsr_spec(rate_hz=Fraction(16), window_s=4, hop_s=1),
        targets=MODEL_TARGETS,
        training=Training("synthetic", "synthetic-test", True, *PEOPLE),
        recipe="float32",
        student="paper",
    )


@pytest.fixture(scope="session")
def write_model(gsr_manifest: Manifest) -> Callable[..., Path]:
    """write_model(path, bias, **changes to the manifest): a valid model_file whose weights are random but fixed.

    bias: added to all weights; NaN and infinity make a damaged model.
    """

    def write(path: Path, bias: float = 0.0, **changes: object) -> Path:
        manifest = replace(gsr_manifest, **changes)
        outputs = len(manifest.targets) * manifest.n_classes
        shape = (outputs, manifest.signal.window_samples)
        weights = np.random.default_rng(7).normal(size=shape, scale=0.3).astype(np.float32)
        weights += np.float32(bias)
        save_model_file(path, _linear_flatbuffer(weights), manifest)
        return path

    return write


@pytest.fixture(scope="session")
def model_path(write_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "student.tflite")
