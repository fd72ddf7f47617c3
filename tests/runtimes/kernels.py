"""Models in tflite-runtime 2.14, which has numpy 1 and a virtual environment of its own.

    python old_runtime.py FOLDER

reads from FOLDER model files NAME.tflite and bare flatbuffers NAME.bin with windows NAME.npy (quantized, int8) and
writes old_runtime.npz: "NAME" has the codes of the logits (n, targets * classes) of a model file by the project's own
ekd_edge.classify, "NAME-reference" those of either by the reference kernels.
"""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tflite_runtime.interpreter import Interpreter, OpResolverType

from ekd_edge.artefact import Artefact, load_artefact
from ekd_edge.classify import open_classifier


def main(folder: Path) -> None:
    assert version("tflite-runtime") == "2.14.0"
    found = {}
    for file in sorted(folder.glob("*.tflite")):
        artefact, codes = load_artefact(file), np.load(file.with_suffix(".npy"))
        found[file.stem] = by_the_edge(artefact, codes)
        found[f"{file.stem}-reference"] = by_reference_kernels(artefact.flatbuffer, codes)
    for file in sorted(folder.glob("*.bin")):
        found[f"{file.stem}-reference"] = by_reference_kernels(file.read_bytes(), np.load(file.with_suffix(".npy")))
    np.savez(folder / "old_runtime.npz", **found)


def by_the_edge(artefact: Artefact, codes: Any) -> Any:
    quantization = artefact.manifest.quantization
    assert quantization is not None
    windows = (codes.astype(np.float32) - quantization.input.zero_point) * np.float32(quantization.input.scale)
    logits = open_classifier(artefact).predict(windows).reshape(len(codes), -1)
    return (np.rint(logits / np.float32(quantization.output.scale)) + quantization.output.zero_point).astype(np.int8)


def by_reference_kernels(flatbuffer: bytes, codes: Any) -> Any:
    model = Interpreter(
        model_content=flatbuffer, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1
    )
    model.allocate_tensors()
    source, result = model.get_input_details()[0]["index"], model.get_output_details()[0]["index"]
    rows = []
    for window in codes:
        model.set_tensor(source, window[None])
        model.invoke()
        rows.append(model.get_tensor(result)[0])
    return np.array(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
