"""Logits of model files in the TFLite runtime of this environment, LiteRT or tflite-runtime.

    python kernels.py FOLDER

reads from FOLDER model files NAME.tflite and bare int8 flatbuffers NAME.bin with windows NAME.npy (as the model takes
them: quantized for int8, float32 otherwise) and writes found.npz: "NAME" has the logits of a model file by the
project's own ekd_edge.model.interpreter, "NAME-reference" those of either by the reference kernels; codes for int8.
Both have the shape (n, targets * classes). "runtime" is the runtime's name and version.
"""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ekd_edge.model.file import ModelFile, load_model_file
from ekd_edge.model.interpreter import open_classifier

try:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    RUNTIME = "ai-edge-litert"
except ImportError:
    from tflite_runtime.interpreter import Interpreter, OpResolverType

    RUNTIME = "tflite-runtime"


def main(folder: Path) -> None:
    found = {"runtime": f"{RUNTIME} {version(RUNTIME)}"}
    for file in sorted(folder.glob("*.tflite")):
        model_file, windows = load_model_file(file), np.load(file.with_suffix(".npy"))
        found[file.stem] = by_the_edge(model_file, windows)
        found[f"{file.stem}-reference"] = by_reference_kernels(model_file.flatbuffer, windows)
    for file in sorted(folder.glob("*.bin")):
        found[f"{file.stem}-reference"] = by_reference_kernels(file.read_bytes(), np.load(file.with_suffix(".npy")))
    np.savez(folder / "found.npz", **found)


def by_the_edge(model_file: ModelFile, windows: Any) -> Any:
    quantization = model_file.manifest.quantization
    if quantization is None:
        return open_classifier(model_file).predict(windows).reshape(len(windows), -1)
    values = (windows.astype(np.float32) - quantization.input.zero_point) * np.float32(quantization.input.scale)
    logits = open_classifier(model_file).predict(values).reshape(len(windows), -1)
    return (np.rint(logits / np.float32(quantization.output.scale)) + quantization.output.zero_point).astype(np.int8)


def by_reference_kernels(flatbuffer: bytes, windows: Any) -> Any:
    model = Interpreter(
        model_content=flatbuffer, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1
    )
    model.allocate_tensors()
    source, result = model.get_input_details()[0]["index"], model.get_output_details()[0]["index"]
    rows = []
    for window in windows:
        model.set_tensor(source, window[None])
        model.invoke()
        rows.append(model.get_tensor(result)[0])
    return np.array(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
