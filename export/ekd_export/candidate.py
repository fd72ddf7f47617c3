"""Building a candidate for the export: the student is folded, converted, quantized and audited."""

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
from ekd_export.quantization.bias_correction import correct_bias
from ekd_export.quantization.qat import fine_tune
from ekd_export.quantization.quantize import fingerprint, quantize
from ekd_export.quantization.recipes import Recipe

__all__ = ["Candidate", "build_candidate", "float_manifest", "float_model_file", "requantized"]

_CONVERSION_TOLERANCE = 1e-3
_CONVERSION_WINDOWS = 16


@dataclass(frozen=True, slots=True)
class Candidate:
    """A verified model whose manifest has no evaluation yet.

    audit: the contents of its flatbuffer. float_flatbuffer: the float model before bias correction and quantization, or
    the model itself where the recipe does not quantize.
    """

    model_file: ModelFile
    audit: Audit
    float_flatbuffer: bytes

    def predict(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (n, targets, classes), computed by the classifier that runs on the device."""
        return open_classifier(self.model_file).predict(windows)


def build_candidate(inputs: ExportInputs, recipe: Recipe, notify: Callable[[str], None]) -> Candidate:
    """Fold, convert and quantize the run's student.

    Calibration and fine-tuning use training subjects only; fine-tuning chooses its epoch on validation subjects.

    Args:
        inputs: the student and its windows.
        recipe: how to quantize.
        notify: called with a sentence for each step.

    Returns:
        The candidate, audited and verified.

    Raises:
        ExportError: conversion or quantization fails, or its result fails a check.
        DataError: the windows are not sufficient for calibration or fine-tuning.
    """
    run, calibration = inputs.run, inputs.calibration
    folded = fold(inputs.student, integer=recipe.kind == "int8")
    if recipe.tuned:
        notify("fine-tuning for int8, distilled from the float student ...")
        folded = fine_tune(
            folded, calibration, inputs.train.gsr, inputs.validation.gsr, seed=run.config.seed, notify=notify,
            recipe=recipe, classes=run.network.classes,
        )  # fmt: skip
    notify("converting to TFLite ...")
    float_flatbuffer = convert(folded, run.network.window_samples)
    manifest = float_manifest(inputs)
    _check_conversion(folded, float_flatbuffer, manifest, calibration[:_CONVERSION_WINDOWS])
    if recipe.calibrated:
        subjects = len(inputs.train.subjects)
        notify(f"quantizing to int8 with {len(calibration)} windows of {subjects} training subjects ...")
    manifest = replace(manifest, kind=recipe.kind, recipe=recipe.name)
    candidate = _quantized(inputs, recipe, manifest, float_flatbuffer)
    exact = student_logits(inputs.student, calibration)
    if recipe.kind == "int8":
        corrected = correct_bias(folded, candidate.predict(calibration), exact)
        again = convert(corrected, run.network.window_samples)
        candidate = replace(_quantized(inputs, recipe, manifest, again), float_flatbuffer=float_flatbuffer)
    check_classes(run.network.targets, exact, candidate.predict(calibration))
    return candidate


def _quantized(inputs: ExportInputs, recipe: Recipe, manifest: Manifest, float_flatbuffer: bytes) -> Candidate:
    """Quantize the float model, audit and verify the result."""
    run, calibration = inputs.run, inputs.calibration
    flatbuffer = quantize(float_flatbuffer, recipe, calibration)
    if recipe.kind == "int8":
        manifest = replace(
            manifest,
            quantization=read_quantization(flatbuffer),
            calibration=Calibration(
                method=recipe.ranges,
                subjects=hash_subjects(run.identity, inputs.train.subjects),
                windows=len(calibration),
                seed=run.config.seed,
                sha256=fingerprint(calibration),
            ),
        )
    return Candidate(_verified(flatbuffer, manifest), audit(flatbuffer, recipe.kind), float_flatbuffer)


def float_manifest(inputs: ExportInputs) -> Manifest:
    """The manifest of a float32 model file of the run's student."""
    run = inputs.run
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
            normalization_state=run.config.signal.normalization_state,
        ),
        made_by=f"ekd {version('ekd')}",
    )
    return with_window_hashes(manifest, (inputs.train, inputs.validation))


def float_model_file(inputs: ExportInputs, candidate: Candidate) -> ModelFile:
    """The float model that the candidate was quantized from, as a verified model file, to measure it side by side."""
    return _verified(candidate.float_flatbuffer, float_manifest(inputs))


def requantized(candidate: Candidate, recipe: Recipe, calibration: NDArray[np.float32]) -> Candidate:
    """The candidate's float model, quantized by the same recipe with other calibration windows (n, window_samples).

    Its bias is not corrected. On people the correction lowered disagreement, so these figures are rather too high.
    """
    flatbuffer = quantize(candidate.float_flatbuffer, recipe, calibration)
    manifest = replace(candidate.model_file.manifest, quantization=read_quantization(flatbuffer))
    return Candidate(_verified(flatbuffer, manifest), candidate.audit, candidate.float_flatbuffer)


def _check_conversion(student: nn.Module, flatbuffer: bytes, manifest: Manifest, windows: NDArray[np.float32]) -> None:
    expected = torch_logits(student, windows)
    model_file = _verified(flatbuffer, manifest)
    converted = open_classifier(model_file).predict(windows).reshape(expected.shape)
    error = float(np.abs(converted - expected).max())
    if not error <= _CONVERSION_TOLERANCE * (1 + float(np.abs(expected).max())):
        raise ExportError(f"the converter changed the student: its logits differ by {error:.3g}")


def _verified(flatbuffer: bytes, manifest: Manifest) -> ModelFile:
    """Write and read a model file as the device would, so that every check applies; the file is temporary."""
    with TemporaryDirectory(prefix="ekd-") as folder:
        path = Path(folder) / "student.tflite"
        save_model_file(path, flatbuffer, manifest)
        return load_model_file(path)
