"""From a run folder to one model file and its report: read, build, judge, measure, write."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import ConfigError, DataError
from ekd_edge.model.file import ModelFile
from ekd_edge.model.subject_hash import hash_subject
from ekd_export.candidate import Candidate, build_candidate, float_manifest
from ekd_export.convert.fold import fold
from ekd_export.convert.onnx import encode_onnx
from ekd_export.convert.tflite import student_logits
from ekd_export.evaluation.latency import Latency, measure_latency
from ekd_export.evaluation.signoff import Verdict, check_max_drop, judge
from ekd_export.inputs import LABELS, ExportInputs, read_material
from ekd_export.quantization.audit import Audit
from ekd_export.quantization.layer_errors import LayerError, layer_errors
from ekd_export.quantization.micro import arena_bytes
from ekd_export.quantization.recipes import RECIPES, Recipe
from ekd_export.report.build import build_report
from ekd_export.save import check_output, onnx_path, page_path, write_export
from ekd_train.data.windows import WindowSet
from ekd_train.run import Run

__all__ = ["Exported", "default_output", "export_run"]

_LAYER_WINDOWS = 64
_ONNX_WINDOWS = 16


@dataclass(frozen=True, slots=True)
class Exported:
    """A written model file and what was measured on the way.

    agreement: share of validation windows, by target, on which the file and the float student predict the same
    class; empty where the split has no validation subjects. verdict: the file against the float student on the run's
    test subjects. blamed: the errors layer by layer, where a loss could not be shown to be within the allowance.
    report: all of it, JSON-ready; page: the report for people; onnx: the ONNX file, where one was asked for.
    """

    model_file: ModelFile
    audit: Audit
    agreement: dict[str, float]
    verdict: Verdict
    latency: Latency
    blamed: tuple[LayerError, ...] | None
    report: dict[str, Any]
    page: Path
    onnx: Path | None


def default_output(run: Run, recipe: Recipe) -> Path:
    """RUN/student-RECIPE.tflite; "int8" for the recipe static."""
    return run.path / f"student-{'int8' if recipe.name == 'static' else recipe.name}.tflite"


def export_run(
    run: Run,
    recipe: Recipe,
    output: Path,
    report: Callable[[str], None],
    max_drop: float | None = None,
    onnx: bool = False,
) -> Exported:
    """Write the run's student as a model file; `report` is told, line by line, what is being done and what is to be
    known of the data.

    max_drop: the drop of accuracy and macro-F1 that quantization is allowed, as a fraction; the file is written
    whether the loss is shown to be within it or not. Where validation subjects cannot show it of the recipe "static",
    "qat" is tried as well. None asks for figures alone. onnx: write the float student as ONNX beside the file too.
    Raises ConfigError where the run has no student, an option does not fit or something cannot be written, DataError
    where its data changed, cannot calibrate or cannot judge, and ExportError where conversion fails or breaks
    something. Nothing is written then.
    """
    if max_drop is not None:
        check_max_drop(max_drop)
        if recipe.kind == "float32":
            raise ConfigError("an allowed drop judges what quantization costs: export with --int8")
    check_output(output, onnx)
    material = read_material(run, report)
    candidate, choice = build_candidate(material, recipe, report), None
    if max_drop is not None and recipe.name == "static":
        candidate, choice = _chosen(material, candidate, max_drop, report)
    report("comparing with the float student on test subjects ...")
    verdict = _judge(material, candidate, material.test, "test subjects", max_drop)
    blamed = None
    if verdict.passed is False and recipe.kind == "int8":
        report("looking for the layers to blame ...")
        few = material.calibration[:_LAYER_WINDOWS]
        blamed = layer_errors(candidate.float_flatbuffer, candidate.model_file.flatbuffer, few)
    report("measuring latency ...")
    latency = measure_latency(candidate.model_file, material.calibration)
    arena = arena_bytes(candidate.model_file.flatbuffer) if recipe.kind == "int8" else None
    agreement = _agreement(material, candidate)
    about = build_report(material, candidate, agreement, verdict, latency, choice, blamed, arena)
    encoded = None
    if onnx:
        report("converting to ONNX ...")
        few = material.calibration[:_ONNX_WINDOWS]
        encoded = encode_onnx(fold(material.student, integer=False), float_manifest(material), few)
    model_file = write_export(output, candidate, about, encoded)
    beside = onnx_path(output) if onnx else None
    return Exported(model_file, candidate.audit, agreement, verdict, latency, blamed, about, page_path(output), beside)


def _chosen(
    material: ExportInputs, static: Candidate, max_drop: float, report: Callable[[str], None]
) -> tuple[Candidate, dict[str, Any]]:
    """Static, or qat where validation subjects cannot show static's loss to be within the allowance and it does better
    on them; and what was found. Test subjects choose nothing."""
    try:
        first = _judge(material, static, material.validation, "validation subjects", max_drop)
    except DataError as error:
        return static, {"entered_qat": False, "chosen": "static", "why": f"nothing to choose by: {error}"}
    if first.passed:
        why = "validation subjects show the loss of static to be within the allowance"
        return static, {"entered_qat": False, "chosen": "static", "why": why}
    report("validation subjects cannot show the loss of static to be within the allowance: trying qat")
    tuned = build_candidate(material, RECIPES["qat"], report)
    second = _judge(material, tuned, material.validation, "validation subjects", max_drop)
    bounds = {"static": _lowest(first), "qat": _lowest(second)}
    name = "qat" if bounds["qat"] > bounds["static"] else "static"
    why = "validation subjects cannot show the loss of static to be within the allowance"
    found = {"entered_qat": True, "chosen": name, "why": why, "lower_bounds": bounds}
    return (tuned if name == "qat" else static), found


def _lowest(verdict: Verdict) -> float:
    """The lowest of the bounds that the gate looks at; -1, the worst there can be, where there is none."""
    changes = [change for each in verdict.targets for change in (each.accuracy, each.macro_f1) if change is not None]
    return min((interval.low for change in changes for interval in change.intervals.values()), default=-1.0)


def _judge(
    material: ExportInputs, candidate: Candidate, side: WindowSet, whose: str, max_drop: float | None
) -> Verdict:
    """The candidate against the run's own float student on one side's windows; `whose` names the side in messages.

    Raises DataError where the side has no window or lacks a class, as validation subjects may.
    """
    return judge(
        side.targets,
        side.labels,
        _nameless(material.run, side.subject),
        student_logits(material.student, side.gsr),
        candidate.predict(side.gsr),
        max_drop,
        LABELS,
        whose,
    )


def _agreement(material: ExportInputs, candidate: Candidate) -> dict[str, float]:
    windows = material.validation.gsr
    if len(windows) == 0:
        return {}
    same = student_logits(material.student, windows).argmax(-1) == candidate.predict(windows).argmax(-1)
    return {target: float(share) for target, share in zip(material.validation.targets, same.mean(axis=0), strict=True)}


def _nameless(run: Run, subjects: NDArray[np.str_]) -> NDArray[np.str_]:
    """Subjects by their hash: a report travels further than names should."""
    names, places = np.unique(subjects, return_inverse=True)
    return np.array([hash_subject(run.identity, name) for name in names.tolist()], dtype=np.str_)[places]
