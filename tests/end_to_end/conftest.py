"""A real int8 model_file: an untrained student of a small shape, through the real converter and quantizer."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from ekd_edge.model.file import save_model_file
from ekd_edge.model.manifest import Calibration, Manifest, Target, Training
from ekd_edge.model.subject_hash import hash_subjects
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.design import gsr_spec
from ekd_edge.signal.preprocessor import Preprocessor
from firmware_bridge.synthesis import simulated_blocks

TARGETS = ("arousal", "valence")


@pytest.fixture(scope="session")
def int8_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """128 Hz, windows of 4 s every second, two targets: a prediction from the sixth second on."""
    torch = pytest.importorskip("torch", reason="the training extra is not installed")
    pytest.importorskip("litert_torch", reason="the export extra is not installed")
    from ekd_export.convert.fold import InferenceStudent
    from ekd_export.convert.tflite import convert
    from ekd_export.quantization.audit import read_quantization
    from ekd_export.quantization.quantize import fingerprint, quantize
    from ekd_export.quantization.recipes import RECIPES
    from ekd_train.models.config import NetworkConfig
    from ekd_train.models.student import Student

    spec = gsr_spec(rate_hz=Fraction(128), window_s=4, hop_s=1)
    signal = np.concatenate(list(islice(simulated_blocks(128, seed=9, block_samples=128), 60)))
    calibration = np.array(Preprocessor(spec).push_batch(SampleBlock(signal, 0, Fraction(128))).values)
    torch.manual_seed(4)
    shape = NetworkConfig(targets=TARGETS, filters=8, heads=2, key_size=8, ffn=8, depth=2)
    student = Student(shape).eval()
    flatbuffer = quantize(
        convert(InferenceStudent(student, integer=True), spec.window_samples), RECIPES["static"], calibration
    )
    people = [hash_subjects("untrained", [name]) for name in ("s1", "s2", "s3")]
    manifest = Manifest(
        kind="int8",
        signal=spec,
        targets=tuple(Target(name, ("low", "high")) for name in TARGETS),
        training=Training("synthetic", "untrained", True, *people),
        recipe="static",
        student="paper",
        quantization=read_quantization(flatbuffer),
        calibration=Calibration("min-max", people[0], len(calibration), 9, fingerprint(calibration)),
    )
    path = tmp_path_factory.mktemp("model_file") / "student-int8.tflite"
    save_model_file(path, flatbuffer, manifest)
    return path
