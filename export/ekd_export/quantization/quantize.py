"""Post-training quantization of a float flatbuffer with ai-edge-quantizer, and the choice of calibration windows."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError, ExportError
from ekd_edge.native_output import quiet
from ekd_export.quantization.ranges import activation_ranges
from ekd_export.quantization.recipes import Recipe
from ekd_train.data.windows import WindowSet
from firmware_bridge.dependencies import install_command

__all__ = ["CALIBRATION_WINDOWS", "calibration_windows", "fingerprint", "quantize"]

CALIBRATION_WINDOWS = 512


def calibration_windows(windows: WindowSet, seed: int, count: int = CALIBRATION_WINDOWS) -> NDArray[np.float32]:
    """Draw calibration windows, spread evenly over subjects and classes.

    Args:
        windows: windows of training subjects.
        seed: seed of the draw.
        count: the largest number to draw.

    Returns:
        float32 (n, window_samples) with n at most `count`.

    Raises:
        DataError: there is no window, all are of one subject, one is not finite, all are constant, or a target has one
            class only.
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
    rank = np.empty(len(windows), np.int64)
    for group in range(groups.max() + 1):
        members = order[groups[order] == group]
        rank[members] = np.arange(len(members))
    chosen = order[np.argsort(rank[order], kind="stable")][:count]
    drawn: NDArray[np.float32] = windows.gsr[np.sort(chosen)]
    _check_values(drawn)
    return drawn


def fingerprint(windows: NDArray[np.float32]) -> str:
    """SHA-256 of the windows' float32 bytes, little-endian, row after row."""
    return hashlib.sha256(np.ascontiguousarray(windows, "<f4").tobytes()).hexdigest()


def quantize(flatbuffer: bytes, recipe: Recipe, calibration: NDArray[np.float32]) -> bytes:
    """Quantize a float flatbuffer.

    A `tuned` recipe quantizes as any other: tuning precedes conversion, see `ekd_export.quantization.qat`. An
    operation that ai-edge-quantizer does not support remains float; `ekd_export.quantization.audit.audit` finds it.

    Args:
        flatbuffer: the float model.
        recipe: how to quantize.
        calibration: float32 (n, window_samples), used by int8 recipes only.

    Returns:
        The quantized flatbuffer.

    Raises:
        DataError: the calibration windows leave an activation without a range.
        ExportError: ai-edge-quantizer is not installed or cannot quantize the model.
    """
    if recipe.kind == "float32":
        return flatbuffer
    statistics = None
    if recipe.calibrated:
        _check_values(calibration)
        ranges = activation_ranges(flatbuffer, calibration, recipe.percentile)
        statistics = {name: {"min": np.array([low]), "max": np.array([high])} for name, (low, high) in ranges.items()}
    try:
        with quiet():
            from ai_edge_quantizer import quantizer

            result = quantizer.Quantizer(bytearray(flatbuffer), _rules(recipe)).quantize(
                statistics, enable_progress_bar=False, enable_progress_report=False
            )
            return bytes(result.quantized_model)
    except ImportError as error:
        raise ExportError(f"ai-edge-quantizer is not installed: run `{install_command('export')}`") from error
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise ExportError(f"ai-edge-quantizer cannot quantize this student: {error}") from error


def _rules(recipe: Recipe) -> Any:
    """The recipe as rules for ai-edge-quantizer."""
    from ai_edge_quantizer import algorithm_manager, qtyping, recipe_manager

    channels = recipe.weights == "per-channel"
    granularity = qtyping.QuantGranularity.CHANNELWISE if channels else qtyping.QuantGranularity.TENSORWISE
    everywhere = (".*", qtyping.TFLOperationName.ALL_SUPPORTED)
    manager = recipe_manager.RecipeManager()
    if recipe.kind == "int8":
        manager.add_static_config(*everywhere, activation_num_bits=8, weight_num_bits=8, weight_granularity=granularity)
    elif recipe.kind == "dynamic":
        manager.add_dynamic_config(*everywhere, num_bits=8, granularity=granularity)
    else:
        casting = algorithm_manager.AlgorithmName.FLOAT_CASTING
        manager.add_weight_only_config(*everywhere, num_bits=16, algorithm_key=casting)
    return manager.get_quantization_recipe()


def _check_values(windows: NDArray[np.float32]) -> None:
    if len(windows) == 0:
        raise DataError("there is no calibration window: the training subjects' recordings are too short")
    if not np.isfinite(windows).all():
        raise DataError("a calibration window has NaN or infinite values: check the recordings")
    if np.ptp(windows, axis=1).max() == 0:
        raise DataError("every calibration window is constant: the sensor was not connected, record again")
