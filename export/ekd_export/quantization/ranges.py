"""Calibration: the range of every activation of a float flatbuffer on calibration windows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError
from ekd_export.quantization.audit import layer_of
from ekd_export.quantization.interpret import Graph

__all__ = ["activation_ranges", "has_scale"]

_SMALLEST_RANGE = 1e-9


def activation_ranges(
    flatbuffer: bytes, windows: NDArray[np.float32], percentile: float = 100.0
) -> dict[str, tuple[float, float]]:
    """The range of each activation, by the name of its tensor.

    The values of all windows are pooled before quantiles are taken, and the quantiles are exact. Extremes of
    percentiles by window would keep outlying windows, and means of them would cut ordinary ones. A tensor of few
    elements, such as the logits, has few values, so that a percentile cuts little (of 512 windows of 4 logits, one
    value at either end at 99.9). A tensor that is nearly always zero keeps its extremes, since its percentiles would
    leave it without a range.

    Args:
        flatbuffer: a float model.
        windows: float32 (n, window_samples).
        percentile: the share of values, in percent, that a range spans; half of the remainder is cut off at either
            end. 100 keeps all values.

    Returns:
        Lowest and highest value by tensor name.

    Raises:
        DataError: an activation is zero in all windows, so that it has no scale, or NaN or infinite in one of them.
    """
    graph = Graph(flatbuffer)
    activations = {index: graph.name(index) for index in graph.activations}
    share = (1 - percentile / 100) / 2
    counts = {index: 1 + int(share * len(windows) * graph.elements(index)) for index in activations}
    highest: dict[int, NDArray[np.float32]] = {}
    lowest: dict[int, NDArray[np.float32]] = {}
    for window in windows:
        graph.run(window)
        for index, count in counts.items():
            values = graph.values(index).ravel()
            highest[index] = _largest(highest.get(index), values, count)
            lowest[index] = _largest(lowest.get(index), -values, count)
    ranges = {}
    for index, name in activations.items():
        low, high = -float(lowest[index][0]), float(highest[index][0])
        if not has_scale(low, high):
            low, high = -float(lowest[index].max()), float(highest[index].max())
        if not np.isfinite([low, high]).all():
            raise DataError(
                f"{layer_of(name)} computes NaN or infinity on a calibration window: train the student again"
            )
        if not has_scale(low, high):
            raise DataError(
                f"{layer_of(name)} is zero in every calibration window, which leaves it without an int8 scale: "
                "calibrate on more recordings, or train longer"
            )
        ranges[name] = (low, high)
    return ranges


def has_scale(low: float, high: float) -> bool:
    """Whether a range has an int8 scale: ranges are extended to zero, so that of a nonzero constant has one."""
    return max(high, 0.0) - min(low, 0.0) > _SMALLEST_RANGE


def _largest(kept: NDArray[Any] | None, values: NDArray[Any], count: int) -> NDArray[Any]:
    """The `count` largest of `kept`, an earlier result of this function, and `values`; the smallest comes first."""
    if count == 1:
        top: NDArray[Any] = values.max(keepdims=True)
        return top if kept is None else np.maximum(kept, top)
    if kept is not None:
        values = np.concatenate([kept, values[values > kept[0]] if len(kept) == count else values])
    if len(values) > count:
        values = np.partition(values, len(values) - count)[-count:]
    elif len(values) > 1:
        values = np.partition(values, 0)
    return values
