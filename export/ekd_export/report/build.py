"""The report of an export as one JSON object: a file next to the model, part of its manifest, input of the page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ekd_export.candidate import Candidate
from ekd_export.convert.tflite import student_logits
from ekd_export.evaluation.advice import advice
from ekd_export.evaluation.latency import Latency
from ekd_export.evaluation.signoff import Verdict
from ekd_export.evaluation.window_metrics import reliability
from ekd_export.inputs import ExportInputs
from ekd_export.quantization.layer_errors import LayerError
from firmware_bridge.dependencies import version_of

__all__ = ["FORMAT", "build_report"]

FORMAT = 2
_PACKAGES = ("torch", "litert-torch", "ai-edge-quantizer", "ai-edge-litert", "numpy")


def build_report(
    inputs: ExportInputs,
    candidate: Candidate,
    validation_agreement: Mapping[str, float],
    verdict: Verdict,
    latency: Latency,
    *,
    float_latency: Latency | None = None,
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
        float_latency: of one window in the float model that was quantized; None where the recipe does not quantize.
        choice: how validation subjects chose between static and qat; None where there was no choice.
        layer_errors: None where they were not measured.
        arena_bytes: memory in TFLite Micro; None where it was not measured.

    Returns:
        A JSON-ready dict without NaN or infinity; null for values that were not measured. Subjects have no names in it.
    """
    run, manifest = inputs.run, candidate.model_file.manifest
    return {
        "format": FORMAT,
        "made_by": manifest.made_by,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: version_of(name) for name in _PACKAGES},
        "run": run.path.name,
        "synthetic": run.synthetic,
        "kind": manifest.kind,
        "recipe": manifest.recipe,
        "student": manifest.student,
        "sha256": manifest.sha256,
        "size_bytes": manifest.size_bytes,
        "audit": asdict(candidate.audit),
        "signal": {"rate_hz": float(run.signal.rate_hz), "window_s": run.signal.window_s},
        "data": {"source": run.source, "dataset": run.identity},
        "subjects": {
            "training": len(inputs.train.subjects),
            "validation": len(inputs.validation.subjects),
            "test": len(inputs.test.subjects),
        },
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
        "advice": list(advice(verdict, manifest.recipe)),
        "temperatures": _temperatures(inputs),
        "training_report": _training_report(inputs),
        "latency": latency.to_json(),
        "float_latency": None if float_latency is None else float_latency.to_json(),
        "float_size_bytes": len(candidate.float_flatbuffer),
        "arena_bytes": arena_bytes,
        "layer_errors": None if layer_errors is None else [_layer(each) for each in layer_errors],
    }


def _temperatures(inputs: ExportInputs) -> list[dict[str, Any]]:
    """The temperatures, with the calibration error on test subjects without and with them."""
    logits, test = student_logits(inputs.student, inputs.test.gsr), inputs.test
    found = []
    for column, each in enumerate(inputs.temperatures):
        scaled = logits[:, column]
        pair = (reliability(test.labels[:, column], one).ece for one in (scaled * np.float32(each.value), scaled))
        found.append(each.to_json() | dict(zip(("ece_test_before", "ece_test_after"), pair, strict=True)))
    return found


def _training_report(inputs: ExportInputs) -> dict[str, Any]:
    """What ekd-train reported of the float student on the same test subjects, and the step between its windows.

    accuracy: mean over targets, None where the run states none. hop_s: of the training's windows; device_hop_s: of the
    windows here. They differ where `signal.training_hop_s` is set.
    """
    run = inputs.run
    test = run.results.get("student", {}).get("test", {})
    hop_s = run.config.signal.for_training(run.signal).hop_s
    return {"accuracy": _finite(test.get("accuracy")), "hop_s": hop_s, "device_hop_s": run.signal.hop_s}


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
