"""A small, real model file: one fully connected layer over the window, built without a converter."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ekd_edge.artefact import save_artefact
from ekd_edge.manifest import Manifest, Target, Training
from ekd_edge.signal.design import gsr_spec
from ekd_edge.subjects import hash_subjects
from ekd_edge.trust import Trust, read_trust
from ekd_export.sign import make_key, read_private_key, sign_file

PEOPLE = tuple(hash_subjects("synthetic-test", [name]) for name in ("s1", "s2", "s3"))
ARTEFACT_TARGETS = (Target("arousal", ("low", "high")), Target("valence", ("low", "high")))


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


@dataclass(frozen=True)
class SigningKey:
    """A private key, its file's public half, and what trusts it."""

    private: Ed25519PrivateKey
    public_path: Path
    trust: Trust

    def sign(self, path: Path) -> Path:
        sign_file(path, self.private)
        return path


def make_signing_key(folder: Path) -> SigningKey:
    public_path = make_key(folder / "key")
    return SigningKey(read_private_key(folder / "key"), public_path, read_trust([public_path]))


@pytest.fixture(scope="session")
def signing_key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return make_signing_key(tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="session")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return make_signing_key(tmp_path_factory.mktemp("other-key"))


@pytest.fixture(scope="session")
def gsr_manifest() -> Manifest:
    """16 Hz, windows of 4 s every second after 2 s of settling: a prediction after six seconds."""
    return Manifest(
        kind="float32",
        signal=gsr_spec(rate_hz=Fraction(16), window_s=4, hop_s=1),
        targets=ARTEFACT_TARGETS,
        training=Training("synthetic", "synthetic-test", True, *PEOPLE),
        recipe="float32",
        student="paper",
    )


@pytest.fixture(scope="session")
def write_model(gsr_manifest: Manifest) -> Callable[..., Path]:
    """write_model(path, **changes to the manifest): a valid artefact whose weights are random but fixed."""

    def write(path: Path, **changes: object) -> Path:
        manifest = replace(gsr_manifest, **changes)
        outputs = len(manifest.targets) * manifest.n_classes
        shape = (outputs, manifest.signal.window_samples)
        weights = np.random.default_rng(7).normal(size=shape, scale=0.3).astype(np.float32)
        save_artefact(path, _linear_flatbuffer(weights), manifest)
        return path

    return write


@pytest.fixture(scope="session")
def model_path(write_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "student.tflite")
