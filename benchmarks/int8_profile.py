"""Time of each operation of a model, and its throughput as a fraction of the int8 kernels' peak.

A model is cut after each of its operations, and the cuts are timed in turns: the time of an operation is the difference
between its cut and the one before. XNNPACK runs a whole cut, as it runs the whole model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.bench import interleave
from benchmarks.int8_speed import litert
from ekd_edge.native_output import quiet
from ekd_export.convert.tflite import convert
from ekd_export.quantization.quantize import quantize
from ekd_export.quantization.recipes import RECIPES

__all__ = ["Cost", "peak_gmacs", "profile"]

RUNS, WARM_UP = 400, 20


@dataclass(frozen=True, slots=True)
class Cost:
    """An operation: its name, its output, the microseconds it adds, its multiplications with weights (0 for others)."""

    operation: str
    shape: tuple[int, ...]
    microseconds: float
    macs: int


def profile(flatbuffer: bytes) -> list[Cost]:
    """Measure the operations in order. A time is a difference of two medians, so a short one can be negative."""
    with quiet():
        from ai_edge_litert import schema_py_generated as schema
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    graph = _parse(flatbuffer).subgraphs[0]
    cuts = {str(number): litert(_cut(flatbuffer, number)) for number in range(len(graph.operators))}
    medians = [1e6 * float(np.median(seconds)) for seconds in interleave(cuts, RUNS, WARM_UP).values()]
    costs, before = [], 0.0
    codes = _parse(flatbuffer).operatorCodes
    for operator, median in zip(graph.operators, medians, strict=True):
        code = codes[operator.opcodeIndex]
        shape = tuple(int(size) for size in graph.tensors[operator.outputs[0]].shape)
        name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        costs.append(Cost(name, shape, median - before, _macs(name, operator, graph, shape)))
        before = median
    return costs


def peak_gmacs(size: int = 512) -> float:
    """Return the int8 multiply-adds per second, in 10^9, of one large dense layer in LiteRT on one thread."""
    rows = 256

    class Dense(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = torch.nn.Linear(size, size)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.dense(values.reshape(rows, size))
            return result.reshape(1, -1)

    generator = np.random.default_rng(0)
    calibration: NDArray[np.float32] = generator.normal(size=(4, rows * size)).astype(np.float32)
    flatbuffer = quantize(convert(Dense().eval(), rows * size), RECIPES["static"], calibration)
    (seconds,) = interleave({"dense": litert(flatbuffer)}, 100, 10).values()
    return rows * size * size / float(np.median(seconds)) / 1e9


def _macs(name: str, operator: object, graph: object, shape: Sequence[int]) -> int:
    if name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return 0
    kernel = graph.tensors[operator.inputs[1]].shape  # type: ignore[attr-defined]
    if name == "FULLY_CONNECTED":
        return int(np.prod(shape[:-1]) * np.prod(kernel))
    if name == "CONV_2D":
        return int(np.prod(shape[:-1]) * np.prod(kernel))
    return int(np.prod(shape[:-1]) * np.prod(kernel[1:]))


def _parse(flatbuffer: bytes):  # type: ignore[no-untyped-def]
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(flatbuffer, 0)


def _cut(flatbuffer: bytes, last: int) -> bytes:
    """Return the model truncated after the operation of this number, whose output becomes the model's."""
    import flatbuffers

    model = _parse(flatbuffer)
    graph = model.subgraphs[0]
    graph.operators = graph.operators[: last + 1]
    graph.outputs = graph.operators[last].outputs
    model.signatureDefs = []
    builder = flatbuffers.Builder(len(flatbuffer))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
