"""Bytes that every machine must reproduce: golden_edge.npz, a small edge student and its outputs by reference kernels.

It contains the flatbuffer, quantized windows (codes), and their outputs: by the reference kernels of LiteRT, and by
those of TFLite Micro, which equal those of tflite-runtime 2.14. A changed output is a fault of this machine, or of a
new release of a runtime that rounds differently. To write the file again:

    EKD_WRITE_GOLDEN=1 python -m pytest tests/runtimes/test_golden.py
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

FILE = Path(__file__).with_name("golden_edge.npz")
SIZES = {"student_filters": 24, "student_ffn": 24}
WINDOWS = 48

Golden = Mapping[str, NDArray[Any]]


def _write(model: Any, interpret: Any) -> None:
    from ekd_export.quantization.micro import micro_logits

    flatbuffer, codes = model.model_file.flatbuffer, model.codes[:: len(model.codes) // WINDOWS][:WINDOWS]
    np.savez_compressed(
        FILE,
        flatbuffer=np.frombuffer(flatbuffer, np.uint8),
        codes=codes,
        litert=interpret(flatbuffer, codes, "BUILTIN_REF"),
        micro=micro_logits(flatbuffer, codes),
    )


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest, interpret) -> Golden:
    if os.environ.get("EKD_WRITE_GOLDEN"):
        _write(request.getfixturevalue("models")("edge", **SIZES), interpret)
    with np.load(FILE) as arrays:
        return dict(arrays)


def test_golden_outputs_distinguish_models(golden: Golden) -> None:
    for outputs in (golden["litert"], golden["micro"]):
        assert outputs.dtype == np.int8
        assert outputs.shape == (WINDOWS, 4)
        assert len(np.unique(outputs, axis=0)) > WINDOWS // 2
    assert np.abs(golden["litert"].astype(int) - golden["micro"]).max() <= 2


def test_reference_kernels_give_the_golden_bytes(golden: Golden, interpret) -> None:
    found = interpret(golden["flatbuffer"].tobytes(), golden["codes"], "BUILTIN_REF")
    np.testing.assert_array_equal(found, golden["litert"])


def test_tflite_micro_gives_the_golden_bytes(golden: Golden) -> None:
    pytest.importorskip("tflite_micro", reason="the micro extra is not installed, or has no wheel here")
    from ekd_export.quantization.micro import micro_logits

    np.testing.assert_array_equal(micro_logits(golden["flatbuffer"].tobytes(), golden["codes"]), golden["micro"])


def test_tflite_runtime_gives_the_golden_bytes(golden: Golden, old_runtime, tmp_path: Path) -> None:
    (tmp_path / "golden.bin").write_bytes(golden["flatbuffer"].tobytes())
    np.save(tmp_path / "golden.npy", golden["codes"])
    np.testing.assert_array_equal(old_runtime(tmp_path)["golden-reference"], golden["micro"])


def test_edge_kernels_stay_near_the_golden_bytes(golden: Golden, interpret) -> None:
    for kernels in ("AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES"):
        found = interpret(golden["flatbuffer"].tobytes(), golden["codes"], kernels)
        assert np.abs(found.astype(int) - golden["litert"]).max() <= 12, kernels
