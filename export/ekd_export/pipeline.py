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
from ekd_export.candidate import Candidate, build_candidate, float_manifest, float_model_file
from ekd_export.convert.fold import fold
from ekd_export.convert.onnx import encode_onnx
from ekd_export.convert.tflite import student_logits
from ekd_export.evaluation.disagreement import by_subject
from ekd_export.evaluation.equivalence import limits
from ekd_export.evaluation.latency import Latency, measure_latency
from ekd_export.evaluation.signoff import Verdict, judge
from ekd_export.inputs import LABELS, ExportInputs, read_inputs
from ekd_export.other_subjects import disagreement_of_others
from ekd_export.quantization.annotate import check_tunable
from ekd_export.quantization.audit import Audit
from ekd_export.quantization.layer_errors import LayerError, layer_errors
from ekd_export.quantization.micro import arena_bytes
from ekd_export.quantization.recipes import RECIPES, Recipe
from ekd_export.report.build import build_report
from ekd_export.save import check_output, onnx_path, page_path, write_export
from ekd_train.run import Run

__all__ = ["ExportResult", "default_output", "export_run"]

_LAYER_WINDOWS = 64
_ONNX_WINDOWS = 16


@dataclass(frozen=True, slots=True)
class ExportResult:
    """A written model file and what was measured during the export.

    agreement: share of validation windows, by target, on which the file and the float student predict the same
    class; empty where the split has no validation subjects. verdict: the file against the float student on the run's
    test subjects. layer_errors: int8 errors layer by layer, measured only where the verdict is FAILED or UNDECIDED.
    report: all figures, JSON-ready; page: the HTML report; onnx: the ONNX file, where one was requested.
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
    notify("comparing with the float student ..." if recipe.kind != "float32" else "evaluating on test subjects ...")
    verdict = _judge(inputs, candidate, max_drop)
    errors = None
    if verdict.passed is False and recipe.kind == "int8":
        notify("measuring the error of each layer ...")
        few = inputs.calibration[:_LAYER_WINDOWS]
        errors = layer_errors(candidate.float_flatbuffer, candidate.model_file.flatbuffer, few)
    notify("measuring latency ...")
    latency = measure_latency(candidate.model_file, inputs.calibration)
    float_latency = None
    if recipe.kind != "float32":
        float_latency = measure_latency(float_model_file(inputs, candidate), inputs.calibration)
    arena = arena_bytes(candidate.model_file.flatbuffer) if recipe.kind == "int8" else None
    agreement = _agreement(inputs, candidate)
    report = build_report(
        inputs, candidate, agreement, verdict, latency, float_latency=float_latency, choice=choice, layer_errors=errors,
        arena_bytes=arena,
    )  # fmt: skip
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

    qat is tried where static changes the class of more windows of a validation subject than the sign-off allows and the
    student can be tuned, and taken where it changes fewer. Where tuning fails, static is kept. Test subjects are not
    used.
    """
    if len(inputs.validation) == 0:
        return static, {"entered_qat": False, "chosen": "static", "why": "there are no validation subjects"}
    counts = [len(part.subjects) for part in (inputs.test, inputs.train, inputs.validation)]
    limit = limits(max_drop, counts[0], sum(counts)).disagreement
    shares = {"static": _disagreement(inputs, static)}
    if max(shares["static"]) <= limit:
        why = f"static changes the class of at most {limit:.1%} of each validation subject's windows"
        return static, {"entered_qat": False, "chosen": "static", "why": why}
    why = f"static changes the class of {max(shares['static']):.1%} of a validation subject's windows"
    try:
        check_tunable(fold(inputs.student, integer=True), inputs.run.network.window_samples)
    except ExportError as error:
        notify(f"{why}, and {error}")
        return static, {"entered_qat": False, "chosen": "static", "why": f"{why}, and {error}"}
    notify(f"{why}, and at most {limit:.1%} is allowed: trying qat")
    try:
        tuned = build_candidate(inputs, RECIPES["qat"], notify)
    except (DataError, ExportError) as error:
        why = f"{why}, and qat failed: {error}"
        notify(why)
        return static, {"entered_qat": True, "chosen": "static", "why": why, "mean_disagreement": None}
    shares["qat"] = _disagreement(inputs, tuned)
    means = {name: float(np.mean(each)) for name, each in shares.items()}
    name = "qat" if means["qat"] < means["static"] else "static"
    choice = {"entered_qat": True, "chosen": name, "why": why, "mean_disagreement": means}
    return (tuned if name == "qat" else static), choice


def _disagreement(inputs: ExportInputs, candidate: Candidate) -> list[float]:
    """The disagreement of every validation subject and target."""
    windows = inputs.validation
    found = by_subject(windows.subject, student_logits(inputs.student, windows.gsr), candidate.predict(windows.gsr))
    return [share for each in found for share in each.values()]


def _judge(inputs: ExportInputs, candidate: Candidate, max_drop: float | None) -> Verdict:
    """Judge the candidate against the run's own float student; names are replaced by hashes."""
    windows, run = inputs.test, inputs.run
    recipe = RECIPES[candidate.model_file.manifest.recipe]
    others = () if recipe.kind == "float32" else disagreement_of_others(inputs, candidate, recipe)
    return judge(
        windows.targets,
        windows.labels,
        _pseudonyms(run, windows.subject),
        student_logits(inputs.student, windows.gsr),
        candidate.predict(windows.gsr),
        max_drop,
        LABELS,
        [{hash_subject(run.identity, name): share for name, share in each.items()} for each in others],
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
