"""Inference by a TFLite runtime: LiteRT if it is installed, else tflite-runtime."""

import math
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import EkdError, ModelFileError, SignalError
from ekd_edge.model.file import ModelFile
from ekd_edge.model.manifest import Quantization, TensorQuantization
from ekd_edge.native_output import quiet
from firmware_bridge.dependencies import explain_load_error, explain_no_runtime

__all__ = ["Classifier", "load_runtime", "open_classifier", "softmax"]


class Classifier(Protocol):
    """A model that computes logits from windows."""

    def predict(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Preprocessed windows (n, window_samples) -> logits (n, targets, classes).

        Raises SignalError for windows of another length, and ModelFileError if the runtime fails or a value of a window
        or a logit is not finite.
        """


def open_classifier(model_file: ModelFile, threads: int = 1) -> Classifier:
    """A model file's model in a TFLite runtime, ready to run. threads: of the runtime.

    Raises ModelFileError if the model does not match its manifest or the runtime cannot run it, and EkdError if no
    usable TFLite runtime is installed.
    """
    interpreter = load_runtime()
    try:
        with quiet(stdout=False):
            model = interpreter(model_content=model_file.flatbuffer, num_threads=threads)
            model.allocate_tensors()
    except SystemError as error:
        raise EkdError(
            f"this TFLite runtime does not work with numpy {np.__version__}: run `pip install 'numpy<2'`"
        ) from error
    except (ValueError, RuntimeError) as error:
        raise ModelFileError(f"the TFLite runtime cannot run {model_file.path}: {error}") from error
    return _Interpreted(model_file, model)


def load_runtime() -> Any:
    """The Interpreter class of the installed TFLite runtime. Raises EkdError if none is installed or none loads."""
    faults = []
    for package in ("ai_edge_litert", "tflite_runtime"):
        if find_spec(package) is None:
            continue
        if package == "tflite_runtime" and int(np.__version__.split(".")[0]) >= 2:
            faults.append(
                f"tflite-runtime does not work with numpy {np.__version__}: run `pip install 'numpy<2'`, "
                "or install ai-edge-litert where it has a wheel"
            )
            continue
        try:
            return import_module(f"{package}.interpreter").Interpreter
        except (ImportError, OSError) as error:  # LiteRT loads its library by ctypes
            faults.append(explain_load_error(package, error))
    raise EkdError(faults[0] if faults else explain_no_runtime())


def softmax(logits: Sequence[float]) -> tuple[float, ...]:
    """Probabilities of one window's logits in Python floats: independent of the number of windows in a batch."""
    top = max(logits)
    powers = [math.exp(logit - top) for logit in logits]
    total = math.fsum(powers)
    return tuple([power / total for power in powers])


class _Interpreted:
    """A model in a TFLite interpreter, one window at a time.

    The tensors are written and read in place. Their views are created again for each window because an interpreter
    refuses to run while a view exists.
    """

    def __init__(self, model_file: ModelFile, model: Any) -> None:
        manifest = model_file.manifest
        self._shape = (len(manifest.targets), manifest.n_classes)
        self._path = model_file.path
        self._window = manifest.signal.window_samples
        self._quantization = manifest.quantization
        self._dtype: type[np.generic] = np.int8 if manifest.kind == "int8" else np.float32
        source, result = (
            _only(model_file, model.get_input_details()),
            _only(model_file, model.get_output_details()),
        )
        wanted = (1, self._window), (1, self._shape[0] * self._shape[1])
        if (tuple(source["shape"]), tuple(result["shape"])) != wanted:
            raise ModelFileError(f"{model_file.path}: the model's shapes differ from its manifest: export it again")
        if source["dtype"] is not self._dtype or result["dtype"] is not self._dtype:
            raise ModelFileError(
                f"{model_file.path}: the model is not {manifest.kind}, as its manifest states: export it again"
            )
        if self._quantization is not None and _quantization(source, result) != self._quantization:
            raise ModelFileError(f"{model_file.path}: the model's scales differ from its manifest: export it again")
        self._input: Callable[[], NDArray[Any]] = model.tensor(source["index"])
        self._output: Callable[[], NDArray[Any]] = model.tensor(result["index"])
        self._invoke: Callable[[], None] = model.invoke

    def predict(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        if values.ndim != 2 or values.shape[1] != self._window:
            raise SignalError(f"the model takes windows of {self._window} samples, not {values.shape}")
        if not np.isfinite(values).all():
            raise ModelFileError(
                f"the signal chain of {self._path} computes windows that are not finite numbers: export the model again"
            )
        raw = np.empty((len(values), self._shape[0] * self._shape[1]), self._dtype)
        try:
            for row, window in enumerate(self._encode(values)):
                self._input()[0] = window
                self._invoke()
                raw[row] = self._output()[0]
        except RuntimeError as error:
            raise ModelFileError(f"the TFLite runtime cannot run {self._path}: {error}") from error
        logits = self._decode(raw)
        if not np.isfinite(logits).all():
            bad = logits[~np.isfinite(logits).all(axis=1)][0].tolist()
            raise ModelFileError(f"{self._path} computes {bad}, which are not finite numbers: export the model again")
        return logits.reshape(len(values), *self._shape)

    def _encode(self, values: NDArray[np.float32]) -> NDArray[Any]:
        if self._quantization is None:
            return values
        scale, zero = self._quantization.input.scale, self._quantization.input.zero_point
        steps = np.rint(values / np.float32(scale)) + np.float32(zero)
        encoded: NDArray[np.int8] = np.clip(steps, -128, 127).astype(np.int8)
        return encoded

    def _decode(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        if self._quantization is None:
            return raw
        scale, zero = self._quantization.output.scale, self._quantization.output.zero_point
        logits: NDArray[np.float32] = (raw.astype(np.float32) - np.float32(zero)) * np.float32(scale)
        return logits


def _only(model_file: ModelFile, details: list[dict[str, Any]]) -> dict[str, Any]:
    if len(details) != 1:
        raise ModelFileError(f"{model_file.path}: the model must have one input and one output: export it again")
    return details[0]


def _quantization(source: dict[str, Any], result: dict[str, Any]) -> Quantization:
    sides = (source["quantization"], result["quantization"])
    return Quantization(*(TensorQuantization(float(scale), int(zero)) for scale, zero in sides))
