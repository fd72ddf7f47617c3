"""Quantization error of each layer: both flatbuffers run on the same windows, operation by operation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import ExportError
from ekd_export.quantization.audit import layer_of
from ekd_export.quantization.interpret import Graph, Operation

__all__ = ["LayerError", "layer_errors", "worst_layers"]

_LOWEST, _HIGHEST = -128, 127


@dataclass(frozen=True, slots=True)
class LayerError:
    """The error of one operation's output in the int8 model against the float model, over all windows.

    name: the layer, such as "Block_0/Linear_dense1"; several operations may belong to one. operation: name in the
    TFLite schema, and position in the graph. sqnr_db: 10 log10(sum of float^2 / sum of (float - int8)^2), None where
    int8 is exact. rmse: in the tensor's own unit. share_saturated: share of int8 values at an end of the range whose
    float value is beyond it.
    lost_db: the sqnr_db of the operation's worst input minus its own; None where one of the two is exact. sqnr_db
    includes the errors of all layers before, so that a late layer has a low ratio because of an early one; lost_db is
    the contribution of this operation only. It is below zero where the operation averages errors away.
    """

    name: str
    operation: str
    sqnr_db: float | None
    lost_db: float | None
    rmse: float
    share_saturated: float


@dataclass(slots=True)
class _Sums:
    signal: float = 0.0
    noise: float = 0.0
    values: int = 0
    saturated: int = 0

    def add(self, exact: NDArray[np.float64], quantized: NDArray[np.float64], saturated: NDArray[np.bool_]) -> None:
        self.signal += float(np.square(exact).sum())
        self.noise += float(np.square(exact - quantized).sum())
        self.values += exact.size
        self.saturated += int(saturated.sum())

    @property
    def sqnr_db(self) -> float | None:
        if self.noise == 0:
            return None
        return 10 * math.log10(self.signal / self.noise) if self.signal > 0 else -math.inf


def layer_errors(
    float_flatbuffer: bytes, int8_flatbuffer: bytes, windows: NDArray[np.float32]
) -> tuple[LayerError, ...]:
    """The error of every operation that both flatbuffers have, in graph order.

    Operations are paired by the name of the tensor they write, since quantization keeps names; operations that
    quantization adds are left out. Both models run with the built-in kernels, without delegate.

    Args:
        float_flatbuffer: the model that was quantized.
        int8_flatbuffer: the result.
        windows: float32 (n, window_samples); the result is empty for n = 0.

    Returns:
        One error for each operation.

    Raises:
        ExportError: a flatbuffer does not run, or fewer than half of the operations have a partner, as happens for
            two unrelated models.
    """
    exact, quantized = Graph(float_flatbuffer), Graph(int8_flatbuffer)
    partners = _partners(exact, quantized)
    sums = {index: _Sums() for index in partners}
    if len(windows) == 0:
        return ()
    for window in windows:
        exact.run(window)
        quantized.run(window)
        for index, partner in partners.items():
            _compare(sums[index], exact.values(index), quantized, partner)
    errors = []
    for place, operation in enumerate(exact.operations):
        written = next((index for index in operation.outputs if index in sums), None)
        if written is not None:
            errors.append(_layer_error(exact, place, operation, written, sums))
    return tuple(errors)


def worst_layers(errors: Sequence[LayerError], count: int = 5) -> tuple[LayerError, ...]:
    """The `count` operations with the highest lost_db, worst first; only operations that lose something."""
    losing = [error for error in errors if error.lost_db is not None and error.lost_db > 0]
    return tuple(sorted(losing, key=lambda error: -(error.lost_db or 0.0))[:count])


def _partners(exact: Graph, quantized: Graph) -> dict[int, int]:
    """Activations of the float model, each with the int8 model's activation of the same name and size."""
    named = {quantized.name(index): index for index in quantized.activations}
    pairs = {index: named.get(exact.name(index)) for index in exact.activations}
    partners = {
        index: partner
        for index, partner in pairs.items()
        if partner is not None and exact.elements(index) == quantized.elements(partner)
    }
    # TFLite converters may wrap the input and output in conversions under other names
    partners.setdefault(exact.input, quantized.input)
    if len(partners) < 2 or len(partners) < len(pairs) / 2:
        raise ExportError(
            "these two models have too few layers in common: compare an int8 model with its own float model"
        )
    return partners


def _compare(sums: _Sums, exact: NDArray[np.float32], quantized: Graph, partner: int) -> None:
    values = quantized.values(partner).reshape(exact.shape)
    saturated = np.zeros(exact.shape, np.bool_)
    if quantized.is_int8(partner):
        raw, step = quantized.raw(partner).reshape(exact.shape), quantized.scales(partner)[0]
        saturated = ((raw == _HIGHEST) & (exact > values + step / 2)) | ((raw == _LOWEST) & (exact < values - step / 2))
    sums.add(exact.astype(np.float64), values.astype(np.float64), saturated)


def _layer_error(graph: Graph, place: int, operation: Operation, written: int, sums: dict[int, _Sums]) -> LayerError:
    own = sums[written]
    before = [sqnr for index in operation.inputs if index in sums and (sqnr := sums[index].sqnr_db) is not None]
    lost = min(before) - own.sqnr_db if before and own.sqnr_db is not None else None
    return LayerError(
        name=layer_of(graph.name(written)),
        operation=f"{operation.name} {place}",
        sqnr_db=own.sqnr_db,
        lost_db=lost,
        rmse=math.sqrt(own.noise / own.values),
        share_saturated=own.saturated / own.values,
    )
