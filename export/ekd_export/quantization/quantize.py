"""From a float flatbuffer to a quantized one by a recipe, with ai-edge-quantizer; and the windows to calibrate on."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError, ExportError
from ekd_edge.native_output import quiet
from ekd_export.quantization.ranges import activation_ranges
from ekd_export.quantization.recipes import Recipe
from ekd_train.data.windows import WindowSet

__all__ = ["CALIBRATION_METHOD", "CALIBRATION_WINDOWS", "calibration_windows", "fingerprint", "quantize"]

CALIBRATION_METHOD = "min-max"
CALIBRATION_WINDOWS = 512


def calibration_windows(windows: WindowSet, seed: int, count: int = CALIBRATION_WINDOWS) -> NDArray[np.float32]:
    """At most `count` windows (n, window_samples), spread evenly over subjects and classes, drawn by `seed`.

    Raises DataError where there is no window, all are of one subject, one is not finite, all are constant, or a target
    has one class.
    """
    if len(windows) == 0:
        raise DataError("there is no calibration window: the training subjects' recordings are too short")
    if len(windows.subjects) < 2:
        raise DataError(
            f"all training windows are of one subject, {windows.subjects[0]}: calibration needs two or more"
        )
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
    _check_values(picked)
    return picked


def fingerprint(windows: NDArray[np.float32]) -> str:
    """SHA-256 of the windows' float32 bytes, little-endian, row after row."""
    return hashlib.sha256(np.ascontiguousarray(windows, "<f4").tobytes()).hexdigest()


def quantize(flatbuffer: bytes, recipe: Recipe, calibration: NDArray[np.float32]) -> bytes:
    """The flatbuffer that `recipe` makes of a float one.

    calibration: float32 (n, window_samples), which only int8 recipes look at. A recipe that is `tuned` quantizes as
    any other: tuning comes before conversion, see `ekd_export.quantization.qat`.

    Raises DataError where the calibration windows leave an activation without a range, and ExportError where
    ai-edge-quantizer is not installed or cannot quantize the model. An operation that it does not know it leaves in
    float: `ekd_export.quantization.audit.audit` finds and names it.
    """
    if recipe.kind == "float32":
        return flatbuffer
    ranges = None
    if recipe.calibrated:
        _check_values(calibration)
        found = activation_ranges(flatbuffer, calibration, recipe.percentile)
        ranges = {name: {"min": np.array([low]), "max": np.array([high])} for name, (low, high) in found.items()}
    try:
        with quiet():
            from ai_edge_quantizer import quantizer

            made = quantizer.Quantizer(bytearray(flatbuffer), _rules(recipe)).quantize(
                ranges, enable_progress_bar=False, enable_progress_report=False
            )
            return bytes(made.quantized_model)
    except ImportError as error:
        raise ExportError(f"the quantizer is missing ({error.name}): run `pip install 'ekd[export]'`") from error
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise ExportError(f"ai-edge-quantizer cannot quantize this student: {error}") from error


def _rules(recipe: Recipe) -> Any:
    """The recipe in the words of ai-edge-quantizer."""
    from ai_edge_quantizer import algorithm_manager, qtyping, recipe_manager

    channels = recipe.weights == "per-channel"
    granularity = qtyping.QuantGranularity.CHANNELWISE if channels else qtyping.QuantGranularity.TENSORWISE
    every = (".*", qtyping.TFLOperationName.ALL_SUPPORTED)
    manager = recipe_manager.RecipeManager()
    if recipe.kind == "int8":
        manager.add_static_config(*every, activation_num_bits=8, weight_num_bits=8, weight_granularity=granularity)
    elif recipe.kind == "dynamic":
        manager.add_dynamic_config(*every, num_bits=8, granularity=granularity)
    else:
        casting = algorithm_manager.AlgorithmName.FLOAT_CASTING
        manager.add_weight_only_config(*every, num_bits=16, algorithm_key=casting)
    return manager.get_quantization_recipe()


def _check_values(windows: NDArray[np.float32]) -> None:
    if len(windows) == 0:
        raise DataError("there is no calibration window: the training subjects' recordings are too short")
    if not np.isfinite(windows).all():
        raise DataError("a calibration window holds values that are no numbers: check the recordings")
    if np.ptp(windows, axis=1).max() == 0:
        raise DataError("every calibration window is constant: the sensor was not connected, record again")
