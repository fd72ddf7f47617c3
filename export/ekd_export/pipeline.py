"""The export itself: read a run's inputs, build a candidate, judge it on test subjects, measure, write."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError, ExportError
from ekd_edge.model.file import ModelFile
from ekd_edge.model.subject_hash import hash_subject
from ekd_export.candidate import Candidate, build_candidate, float_manifest
from ekd_export.convert.fold import fold
from ekd_export.convert.onnx import encode_onnx
from ekd_export.convert.tflite import student_logits
from ekd_export.evaluation.latency import Latency, measure_latency
from ekd_export.evaluation.signoff import Verdict, judge
from ekd_export.inputs import LABELS, ExportInputs, read_inputs
from ekd_export.quantization.annotate import check_tunable
from ekd_export.quantization.audit import Audit
from ekd_export.quantization.layer_errors import LayerError, layer_errors
from ekd_export.quantization.micro import arena_bytes
from ekd_export.quantization.recipes import RECIPES, Recipe
from ekd_export.report.build import build_report
from ekd_export.save import check_output, onnx_path, page_path, write_export
from ekd_train.data.windows import WindowSet
from ekd_train.run import Run

__all__ = ["ExportResult", "default_output", "export_run"]

_LAYER_WINDOWS = 64
_ONNX_WINDOWS = 16


@dataclass(frozen=True, slots=True)
class ExportResult:
    """A written model file and what was measured during the export.

    agreement: share of validation windows, by target, on which the file and the float student predict the same
    class; empty where the split has no validation subjects. verdict: the file against the float student on the run's
    test subjects. layer_errors: int8 errors layer by layer, measured only where a loss could not be shown to be within
    the allowance. report: all figures, JSON-ready; page: the HTML report; onnx: the ONNX file, where one was requested.
    """

    model_file: ModelFile
    audit: Audit
    agreement: dict[str, float]
    verdict: Verdict
    latency: Latency
    layer_errors: tuple[LayerError, ...] | None
    report: dict[str, Any]
    page: Path
    onnx: Path | None

    @property
    def path(self) -> Path:
        """The model file."""
        return self.model_file.path


def default_output(run: Run, recipe: Recipe) -> Path:
    """RUN/student-RECIPE.tflite; "int8" for the recipe static."""
    return run.path / f"student-{'int8' if recipe.name == 'static' else recipe.name}.tflite"


def export_run(
    run: Run,
    recipe: Recipe,
    output: Path,
    notify: Callable[[str], None],
    max_drop: float | None = None,
    onnx: bool = False,
) -> ExportResult:
    """Write the run's student as a model file; `ekd_export.export` describes arguments and errors."""
    check_output(output, onnx)
    inputs = read_inputs(run, notify)
    candidate, choice = build_candidate(inputs, recipe, notify), None
    if max_drop is not None and recipe.name == "static":
        candidate, choice = _choose_recipe(inputs, candidate, max_drop, notify)
    notify("comparing with the float student on test subjects ...")
    verdict = _judge(inputs, candidate, inputs.test, "test subjects", max_drop)
    errors = None
    if verdict.passed is False and recipe.kind == "int8":
        notify("measuring the error of each layer ...")
        few = inputs.calibration[:_LAYER_WINDOWS]
        errors = layer_errors(candidate.float_flatbuffer, candidate.model_file.flatbuffer, few)
    notify("measuring latency ...")
    latency = measure_latency(candidate.model_file, inputs.calibration)
    arena = arena_bytes(candidate.model_file.flatbuffer) if recipe.kind == "int8" else None
    agreement = _agreement(inputs, candidate)
    report = build_report(inputs, candidate, agreement, verdict, latency, choice, errors, arena)
    encoded = None
    if onnx:
        notify("converting to ONNX ...")
        few = inputs.calibration[:_ONNX_WINDOWS]
        encoded = encode_onnx(fold(inputs.student, integer=False), float_manifest(inputs), few)
    model_file = write_export(output, candidate, report, encoded)
    return ExportResult(
        model_file=model_file,
        audit=candidate.audit,
        agreement=agreement,
        verdict=verdict,
        latency=latency,
        layer_errors=errors,
        report=report,
        page=page_path(output),
        onnx=onnx_path(output) if onnx else None,
    )


def _choose_recipe(
    inputs: ExportInputs, static: Candidate, max_drop: float, notify: Callable[[str], None]
) -> tuple[Candidate, dict[str, Any]]:
    """Choose between static and qat on validation subjects; returns the candidate and the reason, JSON-ready.

    qat is tried where validation subjects cannot show the loss of static to be within the allowance, and taken where
    its lowest bound is higher. A student that qat cannot fine-tune stays static. Test subjects are not used.
    """
    try:
        first = _judge(inputs, static, inputs.validation, "validation subjects", max_drop)
    except DataError as error:
        return static, {"entered_qat": False, "chosen": "static", "why": f"no choice was possible: {error}"}
    if first.passed:
        why = "validation subjects show the loss of static to be within the allowance"
        return static, {"entered_qat": False, "chosen": "static", "why": why}
    why = "validation subjects cannot show the loss of static to be within the allowance"
    try:
        check_tunable(fold(inputs.student, integer=True), inputs.run.network.window_samples)
    except ExportError as error:
        notify(f"{why}, and {error}")
        return static, {"entered_qat": False, "chosen": "static", "why": f"{why}, and {error}"}
    notify(f"{why}: trying qat")
    tuned = build_candidate(inputs, RECIPES["qat"], notify)
    second = _judge(inputs, tuned, inputs.validation, "validation subjects", max_drop)
    bounds = {"static": _lowest_bound(first), "qat": _lowest_bound(second)}
    name = "qat" if bounds["qat"] > bounds["static"] else "static"
    choice = {"entered_qat": True, "chosen": name, "why": why, "lower_bounds": bounds}
    return (tuned if name == "qat" else static), choice


def _lowest_bound(verdict: Verdict) -> float:
    """The lowest of the interval bounds that the verdict depends on; -1, the lowest possible, without intervals."""
    changes = [change for each in verdict.targets for change in (each.accuracy, each.macro_f1) if change is not None]
    return min((interval.low for change in changes for interval in change.intervals.values()), default=-1.0)


def _judge(
    inputs: ExportInputs, candidate: Candidate, windows: WindowSet, group: str, max_drop: float | None
) -> Verdict:
    """Judge the candidate against the run's own float student on windows of one group of subjects.

    group: its name in messages. Raises DataError where it has no window or lacks a class, as validation subjects may.
    """
    return judge(
        windows.targets,
        windows.labels,
        _pseudonyms(inputs.run, windows.subject),
        student_logits(inputs.student, windows.gsr),
        candidate.predict(windows.gsr),
        max_drop,
        LABELS,
        group,
    )


def _agreement(inputs: ExportInputs, candidate: Candidate) -> dict[str, float]:
    windows = inputs.validation.gsr
    if len(windows) == 0:
        return {}
    same = student_logits(inputs.student, windows).argmax(-1) == candidate.predict(windows).argmax(-1)
    return {target: float(share) for target, share in zip(inputs.validation.targets, same.mean(axis=0), strict=True)}


def _pseudonyms(run: Run, subjects: NDArray[np.str_]) -> NDArray[np.str_]:
    """The hash of each subject in place of the name, so that a report can be shared without names."""
    names, places = np.unique(subjects, return_inverse=True)
    return np.array([hash_subject(run.identity, name) for name in names.tolist()], dtype=np.str_)[places]
