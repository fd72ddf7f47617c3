"""The range of every activation of a float flatbuffer on calibration windows, by running it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError
from ekd_export.quantization.audit import layer_of
from ekd_export.quantization.interpret import Graph

__all__ = ["activation_ranges"]

_SMALLEST_RANGE = 1e-9


def activation_ranges(
    flatbuffer: bytes, windows: NDArray[np.float32], percentile: float = 100.0
) -> dict[str, tuple[float, float]]:
    """Lowest and highest value that each activation shall be able to take, by the name of its tensor.

    windows: float32 (n, window_samples). percentile: the share of values, in percent, that a range spans, half of the
    rest being cut off on either side; 100 keeps all of them.

    The values of all windows are pooled first, and their quantiles are exact. A percentile of each window, with the
    extremes of those over windows, would not cut an outlying window off at all, and their mean would cut ordinary
    windows. Two things to know of percentiles: a tensor of few elements, such as the logits, has few values, so that
    little is cut off there (of 512 windows of 4 logits, one value a side at 99.9); and a tensor that is nearly always
    zero would be left without a range: it keeps its extremes.

    Raises DataError, naming the layer, where an activation is zero in all windows, which leaves it without a scale,
    or no number in one of them.
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
        if not _has_scale(low, high):
            low, high = -float(lowest[index].max()), float(highest[index].max())
        if not np.isfinite([low, high]).all():
            raise DataError(
                f"{layer_of(name)} gives what is no number on a calibration window: train the student again"
            )
        if not _has_scale(low, high):
            raise DataError(
                f"{layer_of(name)} is zero in every calibration window, which leaves it without an int8 scale: "
                "calibrate on more recordings, or train longer"
            )
        ranges[name] = (low, high)
    return ranges


def _has_scale(low: float, high: float) -> bool:
    """int8 ranges are stretched to hold zero, so one of a constant other than zero is not empty."""
    return max(high, 0.0) - min(low, 0.0) > _SMALLEST_RANGE


def _largest(kept: NDArray[Any] | None, values: NDArray[Any], count: int) -> NDArray[Any]:
    """The `count` largest of `kept`, itself such a result, and `values`; the smallest of them comes first."""
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
