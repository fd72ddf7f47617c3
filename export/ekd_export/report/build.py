"""The report of an export as one JSON object: a file next to the model, part of its manifest, input of the page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ekd_export.candidate import Candidate
from ekd_export.evaluation.latency import Latency
from ekd_export.evaluation.signoff import Verdict
from ekd_export.inputs import ExportInputs
from ekd_export.quantization.layer_errors import LayerError

__all__ = ["FORMAT", "build_report"]

FORMAT = 1


def build_report(
    inputs: ExportInputs,
    candidate: Candidate,
    validation_agreement: Mapping[str, float],
    verdict: Verdict,
    latency: Latency,
    choice: Mapping[str, Any] | None = None,
    layer_errors: Sequence[LayerError] | None = None,
    arena_bytes: int | None = None,
) -> dict[str, Any]:
    """Collect all figures of an export.

    Args:
        inputs: the run and its windows.
        candidate: the model.
        validation_agreement: share of validation windows, by target, with the float student's class.
        verdict: the sign-off on test subjects.
        latency: of one window.
        choice: how validation subjects chose between static and qat; None where there was no choice.
        layer_errors: None where they were not measured.
        arena_bytes: memory in TFLite Micro; None where it was not measured.

    Returns:
        A JSON-ready dict without NaN or infinity; null for values that were not measured. Subjects have no names in it.
    """
    run, manifest = inputs.run, candidate.model_file.manifest
    split = run.subject_split
    return {
        "format": FORMAT,
        "made_by": manifest.made_by,
        "synthetic": run.synthetic,
        "kind": manifest.kind,
        "recipe": manifest.recipe,
        "student": manifest.student,
        "sha256": manifest.sha256,
        "size_bytes": manifest.size_bytes,
        "audit": asdict(candidate.audit),
        "signal": {"rate_hz": float(run.signal.rate_hz), "window_s": run.signal.window_s},
        "data": {"source": run.source, "dataset": run.identity},
        "subjects": {"training": len(split.train), "validation": len(split.validation), "test": len(split.test)},
        "windows": {
            "calibration": len(inputs.calibration),
            "validation": len(inputs.validation),
            "test": len(inputs.test),
        },
        "signal_quality": {
            "keep_bad_windows": run.config.signal.keep_bad_windows,
            "sides": {side: dict(counts) for side, counts in inputs.left_out.items()},
        },
        "normalization_state": run.config.signal.normalization_state,
        "validation_agreement": dict(validation_agreement),
        "validation": None if choice is None else dict(choice),
        "verdict": verdict.to_json(),
        "latency": latency.to_json(),
        "arena_bytes": arena_bytes,
        "layer_errors": None if layer_errors is None else [_layer(each) for each in layer_errors],
    }


def _layer(layer: LayerError) -> dict[str, Any]:
    return {
        "name": layer.name,
        "operation": layer.operation,
        "sqnr_db": _finite(layer.sqnr_db),
        "lost_db": _finite(layer.lost_db),
        "rmse": _finite(layer.rmse),
        "share_saturated": _finite(layer.share_saturated),
    }


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
