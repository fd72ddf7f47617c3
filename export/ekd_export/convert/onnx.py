"""Export of the float student as one self-describing ONNX file, for runtimes other than TFLite."""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ekd_edge.atomic_files import write_whole
from ekd_edge.errors import ExportError
from ekd_edge.model.container import MANIFEST_NAME
from ekd_edge.model.manifest import Manifest
from ekd_edge.native_output import quiet
from ekd_export.convert.tflite import first_line, torch_logits
from firmware_bridge.dependencies import require_packages

__all__ = ["OPSET", "encode_onnx", "write_onnx"]

OPSET = 20
_INPUT, _OUTPUT = "window", "logits"
_TOLERANCE = 1e-4


def encode_onnx(student: nn.Module, manifest: Manifest, windows: NDArray[np.float32]) -> bytes:
    """A folded float student as ONNX: input "window" (1, window_samples), output "logits" (1, targets * classes).

    Args:
        student: a folded student.
        manifest: the manifest of the float model; it is stored in the file's metadata as "ekd.json", with the signal
            chain, the targets and their labels, and the training data.
        windows: float32 (n, window_samples), on which the logits of onnxruntime and PyTorch are compared.

    Returns:
        The file's bytes, opset 20.

    Raises:
        ConfigError: onnx, onnxscript or onnxruntime is not installed.
        ExportError: the student cannot be converted, or the logits differ.
    """
    require_packages("an ONNX file", "onnx", "onnxscript", "onnxruntime")
    encoded = _encode(student, manifest)
    actual, expected = _run(encoded, windows), torch_logits(student, windows)
    error = float(np.abs(actual - expected).max())
    if not error <= _TOLERANCE * (1 + float(np.abs(expected).max())):
        raise ExportError(f"the ONNX file and the student disagree: their logits differ by {error:.3g}")
    return encoded


def write_onnx(student: nn.Module, manifest: Manifest, windows: NDArray[np.float32], path: Path) -> None:
    """Write the file of `encode_onnx`; raises ConfigError where it cannot be written."""
    write_whole(path, encode_onnx(student, manifest, windows))


def _encode(student: nn.Module, manifest: Manifest) -> bytes:
    with quiet():
        import onnx
    try:
        with quiet():
            program = torch.onnx.export(
                student,
                (torch.zeros(1, manifest.signal.window_samples),),
                dynamo=True,
                opset_version=OPSET,
                input_names=[_INPUT],
                output_names=[_OUTPUT],
            )
            assert program is not None
            model = program.model_proto
            for element in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
                element.ClearField("metadata_props")  # the exporter stores paths of this machine in it
            onnx.helper.set_model_props(model, {MANIFEST_NAME: json.dumps(_without_flatbuffer(manifest))})
            onnx.checker.check_model(model, full_check=True)
            encoded: bytes = model.SerializeToString()
    except (RuntimeError, ValueError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"this student cannot be written as ONNX: {first_line(error)}") from error
    return encoded


def _without_flatbuffer(manifest: Manifest) -> dict[str, object]:
    """The manifest without the fields that describe a flatbuffer, which is not in this file."""
    return {key: value for key, value in manifest.to_json().items() if key not in ("sha256", "size_bytes")}


def _run(encoded: bytes, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    with quiet():
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as faults
    try:
        with quiet():
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            session = onnxruntime.InferenceSession(encoded, options, providers=["CPUExecutionProvider"])
            rows = [session.run([_OUTPUT], {_INPUT: window[None]})[0] for window in windows]
    except (faults.Fail, faults.InvalidGraph, faults.NotImplemented) as error:
        raise ExportError(f"onnxruntime cannot run the ONNX file: {first_line(error)}") from error
    logits: NDArray[np.float32] = np.concatenate(rows)
    return logits
