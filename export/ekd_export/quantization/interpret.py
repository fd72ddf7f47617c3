"""Interpreter of a flatbuffer that keeps every tensor: built-in kernels, no delegate, one thread."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import ExportError
from ekd_edge.native_output import quiet
from firmware_bridge.dependencies import install_command

__all__ = ["Graph", "Operation"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: its name in the TFLite schema, and the tensors it reads and writes, without absent ones."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Graph:
    """A flatbuffer with one input and one output, opened so that all its tensors can be read.

    Raises ExportError where the runtime is not installed or refuses the flatbuffer.
    """

    def __init__(self, flatbuffer: bytes) -> None:
        try:
            with quiet():
                from ai_edge_litert.interpreter import Interpreter, OpResolverType

                self._interpreter = Interpreter(
                    model_content=flatbuffer,
                    num_threads=1,
                    experimental_preserve_all_tensors=True,
                    experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                )
                self._interpreter.allocate_tensors()
        except ImportError as error:
            raise ExportError(f"ai-edge-litert is not installed: run `{install_command('export')}`") from error
        except (RuntimeError, ValueError) as error:
            raise ExportError(f"the runtime refuses this model: {error}") from error
        self._details = {detail["index"]: detail for detail in self._interpreter.get_tensor_details()}
        (self.input,) = (detail["index"] for detail in self._interpreter.get_input_details())
        self.operations: Sequence[Operation] = tuple(
            Operation(
                operation["op_name"],
                tuple(int(index) for index in operation["inputs"] if index >= 0),
                tuple(int(index) for index in operation["outputs"] if index >= 0),
            )
            for operation in self._interpreter._get_ops_details()
        )

    @property
    def activations(self) -> tuple[int, ...]:
        """The input and the outputs of all operations, in graph order."""
        return (self.input, *(index for operation in self.operations for index in operation.outputs))

    def name(self, index: int) -> str:
        """The tensor's name in the flatbuffer."""
        return str(self._details[index]["name"])

    def elements(self, index: int) -> int:
        """The number of elements of the tensor."""
        return int(np.prod(self._details[index]["shape"], dtype=np.int64))

    def is_int8(self, index: int) -> bool:
        """Whether the tensor is quantized to int8."""
        return bool(self._details[index]["dtype"] is np.int8)

    def scales(self, index: int) -> NDArray[np.float32]:
        """The tensor's scales: empty, one, or one for each channel."""
        scales: NDArray[np.float32] = self._details[index]["quantization_parameters"]["scales"]
        return scales

    def run(self, window: NDArray[np.float32]) -> None:
        """Compute every tensor for one window (window_samples,); an int8 input is quantized first."""
        values = window[None]
        if self.is_int8(self.input):
            scale, zero_point = self._details[self.input]["quantization"]
            values = np.clip(np.rint(values / scale) + zero_point, -128, 127).astype(np.int8)
        self._interpreter.set_tensor(self.input, values)
        self._interpreter.invoke()

    def raw(self, index: int) -> NDArray[Any]:
        """The stored values of the tensor after the last run."""
        values: NDArray[Any] = self._interpreter.get_tensor(index)
        return values

    def values(self, index: int) -> NDArray[np.float32]:
        """The tensor as real numbers after the last run; an int8 activation is dequantized by its scale."""
        values = self.raw(index)
        if not self.is_int8(index):
            return values
        scale, zero_point = self._details[index]["quantization"]
        return (values.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
