"""From a float flatbuffer to a fully integer one, by ai-edge-quantizer."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError, ExportError
from ekd_export.quiet import quiet
from ekd_train.data.windows import WindowSet

__all__ = ["CALIBRATION_METHOD", "CALIBRATION_WINDOWS", "calibration_windows", "fingerprint", "quantize"]

CALIBRATION_METHOD = "min-max"
CALIBRATION_WINDOWS = 512


def calibration_windows(windows: WindowSet, seed: int, count: int = CALIBRATION_WINDOWS) -> NDArray[np.float32]:
    """At most `count` windows (n, window_samples), spread evenly over subjects and classes, drawn by `seed`.

    Raises DataError where there is no window, one is not finite, all are constant, or a target has one class.
    """
    if len(windows) == 0:
        raise DataError("there is no calibration window: the training subjects' recordings are too short")
    for column, target in enumerate(windows.targets):
        if len(np.unique(windows.labels[:, column])) < 2:
            raise DataError(f"all training windows have the same {target}: calibration needs both classes")
    groups = np.unique(
        [f"{subject} {labels}" for subject, labels in zip(windows.subject, windows.labels, strict=True)],
        return_inverse=True,
    )[1]
    order = np.random.default_rng(seed).permutation(len(windows))
    turn = np.empty(len(windows), np.int64)
    for group in range(groups.max() + 1):
        members = order[groups[order] == group]
        turn[members] = np.arange(len(members))
    chosen = order[np.argsort(turn[order], kind="stable")][:count]
    picked: NDArray[np.float32] = windows.gsr[np.sort(chosen)]
    if not np.isfinite(picked).all():
        raise DataError("a calibration window holds values that are no numbers: check the recordings")
    if np.ptp(picked, axis=1).max() == 0:
        raise DataError("every calibration window is constant: the sensor was not connected, record again")
    return picked


def fingerprint(windows: NDArray[np.float32]) -> str:
    """SHA-256 of the windows' float32 bytes, little-endian, row after row."""
    return hashlib.sha256(np.ascontiguousarray(windows, "<f4").tobytes()).hexdigest()


def quantize(flatbuffer: bytes, calibration: NDArray[np.float32]) -> bytes:
    """The int8 flatbuffer: int8 weights per channel, int8 activations with the range seen in calibration.

    calibration: float32 (n, window_samples). Raises ExportError where ai-edge-quantizer is not installed or
    cannot quantize the model.
    """
    try:
        with quiet():
            from ai_edge_quantizer import calibrator, quantizer, recipe, recipe_manager
            from ai_edge_quantizer.utils import qsv_utils

            rules = recipe.static_wi8_ai8()
            manager = recipe_manager.RecipeManager()
            manager.load_quantization_recipe(rules)
            ranges = calibrator.Calibrator(
                flatbuffer,
                num_threads=1,
                mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
                qsv_update_func=qsv_utils.min_max_update,
            )
            (signature, tensors), *_ = ranges.get_signature_list().items()
            (name,) = tensors["inputs"]
            ranges.calibrate({signature: [{name: window[None]} for window in calibration]}, manager)
            result = quantizer.Quantizer(bytearray(flatbuffer), rules).quantize(
                ranges.get_model_qsvs(), enable_progress_bar=False, enable_progress_report=False
            )
            return bytes(result.quantized_model)
    except ImportError as error:
        raise ExportError(f"the quantizer is missing ({error.name}): run `pip install 'ekd[export]'`") from error
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise ExportError(f"ai-edge-quantizer cannot quantize this student: {error}") from error
