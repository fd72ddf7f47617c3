"""A model that may become the export's result: folded, converted, quantized, audited, and ready to run."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ekd_edge.errors import ExportError
from ekd_edge.model.file import ModelFile, load_model_file, save_model_file
from ekd_edge.model.interpreter import open_classifier
from ekd_edge.model.manifest import Calibration, Manifest, Target, Training
from ekd_edge.model.subject_hash import hash_subjects
from ekd_export.convert.fold import fold
from ekd_export.convert.tflite import convert, student_logits, torch_logits
from ekd_export.evaluation.leakage import with_window_hashes
from ekd_export.inputs import LABELS, ExportInputs
from ekd_export.quantization.audit import Audit, audit, check_classes, read_quantization
from ekd_export.quantization.qat import fine_tune
from ekd_export.quantization.quantize import fingerprint, quantize
from ekd_export.quantization.recipes import Recipe

__all__ = ["Candidate", "build_candidate", "float_manifest"]

_CONVERSION_TOLERANCE = 1e-3
_CONVERSION_WINDOWS = 16


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model with its manifest, which holds no evaluation yet, and what it is made of.

    float_flatbuffer: what was quantized, or the model itself where nothing was.
    """

    model_file: ModelFile
    audit: Audit
    float_flatbuffer: bytes

    def predict(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (n, targets, classes) by the very path that the edge takes."""
        return open_classifier(self.model_file).predict(windows)


def build_candidate(material: ExportInputs, recipe: Recipe, report: Callable[[str], None]) -> Candidate:
    """What the recipe makes of the run's student. Training subjects alone shape it; where weights are tuned,
    validation subjects choose the epoch.

    Raises ExportError where conversion or quantization fails or breaks something, and DataError where the windows
    cannot calibrate or tune.
    """
    run, calibration = material.run, material.calibration
    folded = fold(material.student, integer=recipe.kind == "int8")
    if recipe.tuned:
        report("fine-tuning for int8, distilled from the float student ...")
        folded = fine_tune(
            folded, material.train.gsr, material.validation.gsr, seed=run.config.seed, report=report, recipe=recipe,
            classes=run.network.classes,
        )  # fmt: skip
    report("converting to TFLite ...")
    float_flatbuffer = convert(folded, run.network.window_samples)
    manifest = float_manifest(material)
    _check_conversion(folded, float_flatbuffer, manifest, calibration[:_CONVERSION_WINDOWS])
    if recipe.calibrated:
        people = len(material.train.subjects)
        report(f"quantizing to int8 with {len(calibration)} windows of {people} training subjects ...")
    flatbuffer = quantize(float_flatbuffer, recipe, calibration)
    found = audit(flatbuffer, recipe.kind)
    manifest = replace(manifest, kind=recipe.kind, recipe=recipe.name)
    if recipe.kind == "int8":
        manifest = replace(
            manifest,
            quantization=read_quantization(flatbuffer),
            calibration=Calibration(
                method=recipe.ranges,
                subjects=hash_subjects(run.identity, material.train.subjects),
                windows=len(calibration),
                seed=run.config.seed,
                sha256=fingerprint(calibration),
            ),
        )
    candidate = Candidate(_verified(flatbuffer, manifest), found, float_flatbuffer)
    check_classes(run.network.targets, student_logits(material.student, calibration), candidate.predict(calibration))
    return candidate


def float_manifest(material: ExportInputs) -> Manifest:
    """What a float32 file of the run's student says about itself."""
    run = material.run
    split = run.subject_split
    manifest = Manifest(
        kind="float32",
        recipe="float32",
        student=run.network.student,
        signal=run.signal,
        targets=tuple(Target(target, LABELS) for target in run.network.targets),
        training=Training(
            source=run.source,
            dataset=run.identity,
            synthetic=run.synthetic,
            train_subjects=hash_subjects(run.identity, split.train),
            validation_subjects=hash_subjects(run.identity, split.validation),
            test_subjects=hash_subjects(run.identity, split.test),
            threshold=run.config.threshold,
            high=run.config.high,
        ),
        made_by=f"ekd {version('ekd')}",
    )
    return with_window_hashes(manifest, (material.train, material.validation))


def _check_conversion(student: nn.Module, flatbuffer: bytes, manifest: Manifest, windows: NDArray[np.float32]) -> None:
    expected = torch_logits(student, windows)
    model_file = _verified(flatbuffer, manifest)
    converted = open_classifier(model_file).predict(windows).reshape(expected.shape)
    error = float(np.abs(converted - expected).max())
    if not error <= _CONVERSION_TOLERANCE * (1 + float(np.abs(expected).max())):
        raise ExportError(f"the converter changed the student: its logits differ by {error:.3g}")


def _verified(flatbuffer: bytes, manifest: Manifest) -> ModelFile:
    """Through a written and verified file, as the edge gets it; the file itself is gone by then."""
    with TemporaryDirectory(prefix="ekd-") as folder:
        path = Path(folder) / "student.tflite"
        save_model_file(path, flatbuffer, manifest)
        return load_model_file(path)
