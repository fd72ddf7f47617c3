"""Audit of a flatbuffer: operations, tensor types and weights must match its kind, such as integers only for int8."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import ExportError
from ekd_edge.model.manifest import Kind, Quantization, TensorQuantization
from ekd_edge.native_output import quiet

__all__ = ["Audit", "audit", "check_classes", "layer_of", "read_quantization"]

_FLOATING = {"FLOAT16", "FLOAT32", "FLOAT64", "BFLOAT16", "COMPLEX64", "COMPLEX128"}
_UNPORTABLE = {"DIV"}
_CONVERSIONS = {"QUANTIZE", "DEQUANTIZE"}
_NAMES_SHOWN = 5
_WEIGHT = 1
"""Position of the weights among the inputs of a weighted operation."""
_WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL"}
_WEIGHTS = {"int8": "INT8", "dynamic": "INT8", "float16": "FLOAT16", "float32": "FLOAT32"}


@dataclass(frozen=True, slots=True)
class Audit:
    """Contents of a flatbuffer: number of operations and tensors by type, and the size in bytes."""

    operations: Mapping[str, int]
    tensors: Mapping[str, int]
    size_bytes: int

    @property
    def float_tensors(self) -> int:
        """Number of tensors of a floating type."""
        return sum(count for kind, count in self.tensors.items() if kind in _FLOATING)


def audit(flatbuffer: bytes, kind: Kind) -> Audit:
    """Check a flatbuffer against the rules of its kind; raises ExportError that names what breaks them.

    Every kind: one subgraph, one input, one output, built-in operations only, and the weights of every convolution,
    dense layer and matrix product in the kind's own type; at least one operation has weights. int8: integer tensors
    only, int8 input and output, every scale above zero, and no DIV, which tflite-runtime refuses in int8. The other
    kinds have float32 input and output, and operands of elementwise operations remain float.
    """
    schema, model = _parse(flatbuffer)
    kinds = _names(schema.TensorType)
    if len(model.subgraphs) != 1:
        raise ExportError(f"the model has {len(model.subgraphs)} subgraphs where one is expected")
    graph = model.subgraphs[0]
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ExportError("the model must have one input and one output")
    names = _operations(schema, model)
    wanted = "INT8" if kind == "int8" else "FLOAT32"
    for end in (graph.inputs[0], graph.outputs[0]):
        tensor = graph.tensors[end]
        if kinds[tensor.type] != wanted:
            raise ExportError(f"{_name(tensor)}: input and output must be {wanted}, and this is {kinds[tensor.type]}")
    if kind == "int8":
        _check_integers(graph, kinds, names)
        unportable = sorted(_UNPORTABLE.intersection(names))
        if unportable:
            raise ExportError(f"the int8 model needs {', '.join(unportable)}, which some TFLite runtimes refuse")
    _check_weights(model, kinds, names, kind)
    return Audit(
        operations=dict(Counter(names).most_common()),
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
    """Raise ExportError where a class is never predicted after quantization; logits (n, targets, classes) of both."""
    for column, target in enumerate(targets):
        lost = set(before[:, column].argmax(-1).tolist()) - set(after[:, column].argmax(-1).tolist())
        if lost:
            raise ExportError(
                f"after quantization no window is class {min(lost)} of {target} any more: "
                "train longer, or calibrate on more subjects"
            )


def layer_of(tensor: str) -> str:
    """The layer that a tensor of a converted student belongs to, such as "Block_0/Linear_dense1".

    litert-torch names tensors by the path of their module, CLASS_attribute/CLASS_attribute, root first, followed by
    the paths of fused modules; any other name is returned unchanged.
    """
    path = next((part for part in tensor.split(";") if part), tensor)
    steps = [step.rpartition(".")[2].lstrip("_") for step in path.split("/")]
    return "/".join(steps[1:] or steps)


def _operations(schema: Any, model: Any) -> list[str]:
    """The names of the operations, in graph order."""
    builtins = _names(schema.BuiltinOperator)
    names = []
    for operator in model.subgraphs[0].operators:
        code = model.operatorCodes[operator.opcodeIndex]
        name = builtins[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if name == "CUSTOM":
            custom = code.customCode.decode(errors="replace")
            raise ExportError(f"the model needs the custom operation {custom}, which no TFLite runtime has built in")
        names.append(name)
    return names


def _check_integers(graph: Any, kinds: Mapping[int, str], names: Sequence[str]) -> None:
    users: dict[int, str] = {}
    for operator, name in zip(graph.operators, names, strict=True):
        if name not in _CONVERSIONS:
            users |= dict.fromkeys((*operator.inputs, *operator.outputs), name)
    floating = [
        f"{layer_of(_name(tensor))} ({users.get(index, 'unused')})"
        for index, tensor in enumerate(graph.tensors)
        if kinds[tensor.type] in _FLOATING
    ]
    if floating:
        raise ExportError(
            f"{len(floating)} tensors of the int8 model are still float, as these layers (operations) cannot be "
            f"quantized: {_some(floating)}"
        )
    for tensor in graph.tensors:
        scales = tensor.quantization.scale if tensor.quantization is not None else None
        if scales is not None and not (np.isfinite(scales).all() and np.min(scales) > 0):
            raise ExportError(f"{layer_of(_name(tensor))} has a scale of zero: calibrate on more recordings")


def _check_weights(model: Any, kinds: Mapping[int, str], names: Sequence[str], kind: Kind) -> None:
    """Check the type of constant weights, also where a DEQUANTIZE comes between a constant and its operation."""
    graph, wanted = model.subgraphs[0], _WEIGHTS[kind]
    dequantized = {
        operator.outputs[0]: operator.inputs[0]
        for operator, name in zip(graph.operators, names, strict=True)
        if name == "DEQUANTIZE"
    }
    weights = {
        dequantized.get(operator.inputs[_WEIGHT], operator.inputs[_WEIGHT]): name
        for operator, name in zip(graph.operators, names, strict=True)
        if name in _WEIGHTED
    }
    constant = {index: name for index, name in weights.items() if _is_constant(model, graph.tensors[index])}
    if not constant:
        raise ExportError("the model has no weights: train it, then export it")
    wrong = [
        f"{layer_of(_name(graph.tensors[index]))} ({name}, {kinds[graph.tensors[index].type]})"
        for index, name in constant.items()
        if kinds[graph.tensors[index].type] != wanted
    ]
    if wrong:
        raise ExportError(f"{len(wrong)} layers of the {kind} model have no {wanted} weights: {_some(wrong)}")


def _is_constant(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def _parse(flatbuffer: bytes) -> tuple[Any, Any]:
    with quiet():
        from ai_edge_litert import schema_py_generated as schema
    return schema, schema.ModelT.InitFromPackedBuf(flatbuffer, 0)


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if not name.startswith("_")}


def _name(tensor: Any) -> str:
    return tensor.name.decode(errors="replace") if tensor.name else "an unnamed tensor"
