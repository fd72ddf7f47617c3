"""What a flatbuffer really holds: an "int8" model that computes in float must not pass for one."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import ExportError
from ekd_edge.manifest import Kind, Quantization, TensorQuantization
from ekd_export.quiet import quiet

__all__ = ["Audit", "audit", "check_classes", "read_quantization"]

_FLOATING = {"FLOAT16", "FLOAT32", "FLOAT64", "BFLOAT16", "COMPLEX64", "COMPLEX128"}
_UNPORTABLE = {"DIV"}
_NAMED_AT_MOST = 5


@dataclass(frozen=True, slots=True)
class Audit:
    """Contents of a flatbuffer: how often each operation and each tensor type occurs, and its size in bytes."""

    operations: Mapping[str, int]
    tensors: Mapping[str, int]
    size_bytes: int

    @property
    def float_tensors(self) -> int:
        """Tensors of any floating type."""
        return sum(count for kind, count in self.tensors.items() if kind in _FLOATING)


def audit(flatbuffer: bytes, kind: Kind) -> Audit:
    """Check a flatbuffer against what `kind` promises.

    Every kind: one subgraph, one input, one output, built-in operations only. int8 also: integers alone, int8 in
    and out, and no DIV, which tflite-runtime refuses in int8. Raises ExportError naming the offenders.
    """
    schema, model = _parse(flatbuffer)
    kinds = _names(schema.TensorType)
    builtins = _names(schema.BuiltinOperator)
    if len(model.subgraphs) != 1:
        raise ExportError(f"the model has {len(model.subgraphs)} subgraphs where one is expected")
    graph = model.subgraphs[0]
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ExportError("the model must have one input and one output")
    operations: Counter[str] = Counter()
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        name = builtins[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if name == "CUSTOM":
            custom = code.customCode.decode(errors="replace")
            raise ExportError(f"the model needs the custom operation {custom}, which no TFLite runtime has built in")
        operations[name] += 1
    wanted = "INT8" if kind == "int8" else "FLOAT32"
    for end in (graph.inputs[0], graph.outputs[0]):
        tensor = graph.tensors[end]
        if kinds[tensor.type] != wanted:
            raise ExportError(f"{_name(tensor)}: the model takes or gives {kinds[tensor.type]} where {wanted} belongs")
    if kind == "int8":
        _check_integers(graph, kinds)
        unportable = sorted(_UNPORTABLE & operations.keys())
        if unportable:
            raise ExportError(f"the int8 model needs {', '.join(unportable)}, which some TFLite runtimes refuse")
    return Audit(
        operations=dict(operations.most_common()),
        tensors=dict(Counter(kinds[tensor.type] for tensor in graph.tensors).most_common()),
        size_bytes=len(flatbuffer),
    )


def read_quantization(flatbuffer: bytes) -> Quantization:
    """Scale and zero point of the input and output of an int8 flatbuffer."""
    _, model = _parse(flatbuffer)
    graph = model.subgraphs[0]
    sides = []
    for end in (graph.inputs[0], graph.outputs[0]):
        parameters = graph.tensors[end].quantization
        if parameters is None or parameters.scale is None or len(parameters.scale) != 1:
            raise ExportError(f"{_name(graph.tensors[end])} has no single scale: the model is not quantized")
        sides.append(TensorQuantization(float(parameters.scale[0]), int(parameters.zeroPoint[0])))
    return Quantization(*sides)


def check_classes(targets: Sequence[str], before: NDArray[np.float32], after: NDArray[np.float32]) -> None:
    """Raise ExportError where quantization made a class unreachable; logits (n, targets, classes) of both."""
    for column, target in enumerate(targets):
        lost = set(before[:, column].argmax(-1).tolist()) - set(after[:, column].argmax(-1).tolist())
        if lost:
            raise ExportError(
                f"after quantization no window is class {min(lost)} of {target} any more: "
                "train longer, or calibrate on more subjects"
            )


def _check_integers(graph: Any, kinds: Mapping[int, str]) -> None:
    floating = [_name(tensor) for tensor in graph.tensors if kinds[tensor.type] in _FLOATING]
    if floating:
        more = f" and {len(floating) - _NAMED_AT_MOST} more" if len(floating) > _NAMED_AT_MOST else ""
        named = ", ".join(floating[:_NAMED_AT_MOST])
        raise ExportError(f"{len(floating)} tensors of the int8 model are still float: {named}{more}")


def _parse(flatbuffer: bytes) -> tuple[Any, Any]:
    with quiet():
        from ai_edge_litert import schema_py_generated as schema
    return schema, schema.ModelT.InitFromPackedBuf(flatbuffer, 0)


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if not name.startswith("_")}


def _name(tensor: Any) -> str:
    return tensor.name.decode(errors="replace") if tensor.name else "an unnamed tensor"
