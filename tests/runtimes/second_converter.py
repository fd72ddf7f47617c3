"""A second conversion to int8: the folded student is rebuilt in TensorFlow and quantized by TFLiteConverter.

    python second_converter.py FOLDER

reads from FOLDER what the test put there: KIND.pt2 (the folded student as torch.export saw it), KIND.tflite (what
ekd-export made of it), windows.npy (float32, to calibrate on and to compare with) and KIND-codes.npy (the same,
quantized for KIND.tflite); writes KIND.npz for each kind. It runs in a separate process, without other libraries.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import torch
from numpy.typing import NDArray

_WITHOUT_DELEGATES = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES


def main(folder: Path) -> None:
    windows = np.load(folder / "windows.npy")
    for file in sorted(folder.glob("*.pt2")):
        graph = torch.export.load(file).run_decompositions()
        rebuilt = rebuild(graph, windows.shape[1])
        flatbuffer = to_int8(rebuilt, windows)
        student = graph.module()
        np.savez(
            file.with_suffix(".npz"),
            torch=np.concatenate([student(torch.tensor(window[None])).detach().numpy() for window in windows]),
            rebuilt=np.concatenate([rebuilt(tf.constant(window[None]))[0].numpy() for window in windows]),
            int8=_dequantized(flatbuffer, windows),
            raw=_run(file.with_suffix(".tflite").read_bytes(), np.load(folder / f"{file.stem}-codes.npy")),
            size=len(flatbuffer),
        )


def rebuild(program: torch.export.ExportedProgram, window_samples: int) -> Any:
    """A tf.function of one window (1, window_samples): first what the program computes, then what is on the way.

    The values on the way are outputs too because TFLiteConverter's calibration reads a tensor after the next operation:
    an addition or a product that may write over its input leaves there a range that is not the tensor's. It may write
    over no output. Values that go into an activation function are none, so that the two are still fused.
    """
    graph = program.graph_signature
    held = {**graph.inputs_to_parameters, **graph.inputs_to_buffers, **graph.inputs_to_lifted_tensor_constants}
    weights = {name: program.state_dict.get(held[name], program.constants.get(held[name])) for name in held}

    @tf.function(input_signature=[tf.TensorSpec((1, window_samples), tf.float32)])
    def student(window: tf.Tensor) -> tf.Tensor:
        values: dict[torch.fx.Node, Any] = {}

        def known(argument: Any) -> Any:
            if isinstance(argument, torch.fx.Node):
                return values[argument]
            return [known(each) for each in argument] if isinstance(argument, list | tuple) else argument

        for node in program.graph.nodes:
            if node.op == "placeholder":
                weight = weights.get(node.name)
                values[node] = window if weight is None else tf.constant(weight.detach().numpy())
            elif node.op == "call_function":
                values[node] = OPERATIONS[str(node.target)](
                    *known(node.args), **{name: known(each) for name, each in node.kwargs.items()}
                )
            elif node.op == "output":
                (result,) = known(node.args[0])
        shown = [value for node, value in values.items() if node.op == "call_function" and not _is_fused(node)]
        return [result, *(value for value in shown if value is not result)]

    return student


def _is_fused(node: torch.fx.Node) -> bool:
    return all(str(user.target) in ("aten.relu.default", "aten.hardtanh.default") for user in node.users)


def _convolution(
    pixels: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, _: Any, groups: int
) -> Any:
    assert not transposed
    assert list(dilation) == [1, 1]
    assert groups in (1, pixels.shape[-1])
    if any(padding):
        pixels = tf.pad(pixels, [[0, 0], *[[margin, margin] for margin in padding], [0, 0]])
    if groups == 1:
        return tf.nn.conv2d(pixels, tf.transpose(weight, (2, 3, 1, 0)), stride, "VALID") + bias
    return tf.nn.depthwise_conv2d(pixels, tf.transpose(weight, (2, 3, 0, 1)), [1, *stride, 1], "VALID") + bias


def _view(values: Any, shape: Any) -> Any:
    plain = tf.transpose(values, (0, 3, 1, 2)) if len(values.shape) == 4 else values
    viewed = tf.reshape(plain, shape)
    return tf.transpose(viewed, (0, 2, 3, 1)) if len(shape) == 4 else viewed


def _mean(values: Any, axes: Any, keep: bool = False) -> Any:
    if len(values.shape) == 4:
        axes = [_CHANNELS_LAST[axis] for axis in axes]
    return tf.reduce_mean(values, axes, keep)


_CHANNELS_LAST = {0: 0, 1: 3, 2: 1, 3: 2}
OPERATIONS: dict[str, Callable[..., Any]] = {
    "aten._softmax.default": lambda values, axis, _: tf.nn.softmax(values, axis),
    "aten.add.Tensor": lambda one, other: one + other,
    "aten.addmm.default": lambda bias, one, other: tf.matmul(one, other) + bias,
    "aten.bmm.default": tf.matmul,
    "aten.convolution.default": _convolution,
    "aten.expand.default": lambda values, shape: tf.broadcast_to(values, shape),
    "aten.hardtanh.default": lambda values, low=-1.0, high=1.0: tf.clip_by_value(values, low, high),
    "aten.mean.dim": _mean,
    "aten.mul.Tensor": lambda one, other: one * other,
    "aten.permute.default": lambda values, axes: tf.transpose(values, axes),
    "aten.relu.default": tf.nn.relu,
    "aten.rsqrt.default": tf.math.rsqrt,
    "aten.sub.Tensor": lambda one, other: one - other,
    "aten.tanh.default": tf.tanh,
    "aten.view.default": _view,
}
"""The operations of a folded student after torch.export's decompositions; another operation is a KeyError here.

Images, torch's (N, C, H, W), are held as TensorFlow's (N, H, W, C) throughout.
"""


def to_int8(student: Any, calibration: NDArray[np.float32]) -> bytes:
    """Full integer quantization: int8 in, int8 out, nothing in float between."""

    def representative() -> Iterator[list[NDArray[np.float32]]]:
        for window in calibration:
            yield [window[None]]

    converter = tf.lite.TFLiteConverter.from_concrete_functions([student.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def _interpreter(flatbuffer: bytes) -> Any:
    """Without TensorFlow's own XNNPACK, which is wrong on some processors."""
    model = tf.lite.Interpreter(model_content=flatbuffer, experimental_op_resolver_type=_WITHOUT_DELEGATES)
    model.allocate_tensors()
    return model


def _run(flatbuffer: bytes, codes: NDArray[np.int8]) -> NDArray[np.int8]:
    model = _interpreter(flatbuffer)
    source, result = model.get_input_details()[0]["index"], model.get_output_details()[0]["index"]
    rows = []
    for window in codes:
        model.set_tensor(source, window[None])
        model.invoke()
        rows.append(model.get_tensor(result)[0])
    return np.array(rows)


def _dequantized(flatbuffer: bytes, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    model = _interpreter(flatbuffer)
    scale, zero = model.get_input_details()[0]["quantization"]
    codes = np.clip(np.rint(windows / scale) + zero, -128, 127).astype(np.int8)
    scale, zero = model.get_output_details()[0]["quantization"]
    return np.float32(scale) * (_run(flatbuffer, codes).astype(np.float32) - zero)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
