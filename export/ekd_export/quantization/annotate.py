"""Fake quantization of a folded student by torchao, at the places where TFLite's int8 kernels round.

Those kernels round the weights of convolutions and dense layers, and the output of every operation after the
activation function that is fused into it. torchao inserts a fake quantizer at each of these places: it rounds to int8
and back, with a straight-through gradient (Jacob et al., CVPR 2018).
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from ekd_edge.errors import ExportError
from ekd_edge.native_output import quiet
from ekd_export.quantization.ranges import has_scale
from ekd_export.quantization.recipes import Recipe
from firmware_bridge.dependencies import install_command

__all__ = ["FakeQuantized", "check_tunable"]

_SMALLEST_SCALE = 1e-11
_BATCH = 256
_KEY = "quantization_annotation"

_ATEN = torch.ops.aten
_WEIGHTED = {_ATEN.conv1d.default, _ATEN.conv2d.default, _ATEN.linear.default}
_ELEMENTWISE = {_ATEN.add.Tensor, _ATEN.mul.Tensor, _ATEN.mean.dim}
_FUSED = {_ATEN.relu.default, _ATEN.relu_.default, _ATEN.relu6.default, _ATEN.hardtanh.default}
"""Activation functions that converters fuse into the operation before; hardtanh only with the limits of `_LIMITS`."""
_LIMITS = {(), (-1.0, 1.0), (0.0, 6.0)}
_SHAPING = {
    _ATEN.flatten.using_ints, _ATEN.numpy_T.default, _ATEN.permute.default, _ATEN.reshape.default,
    _ATEN.squeeze.dim, _ATEN.transpose.int, _ATEN.unsqueeze.default, _ATEN.view.default,
}  # fmt: skip
"""Operations that move values without computing new ones: their output has the scale of their input."""


def check_tunable(student: nn.Module, window_samples: int) -> None:
    """Check that every operation of a folded student has a fake quantizer.

    Raises ExportError that names operations without one, and the recipes to use instead; attention has such operations.
    """
    unknown = sorted(
        {_name(node) for node in _operations(_exported(student, window_samples, None)) if _kind(node) is None}
    )
    if unknown:
        raise ExportError(
            f"the recipe qat cannot fine-tune this student, as fake quantization does not support "
            f"{', '.join(unknown)}: use the recipe static or dynamic"
        )


class FakeQuantized:
    """A batched, fake-quantized copy of a folded student; its weights can be trained. It rounds after `measure`.

    weights: the trainable weights and biases, by their names in the student. module: the graph, windows
    (B, window_samples) -> logits (B, n), with gradient.

    Raises ExportError where torchao is not installed or an operation has no fake quantizer.
    """

    def __init__(self, student: nn.Module, window_samples: int, recipe: Recipe) -> None:
        check_tunable(student, window_samples)
        try:
            with quiet():
                from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e

                graph = _exported(copy.deepcopy(student), window_samples, torch.export.Dim.DYNAMIC)
                self.module: GraphModule = prepare_qat_pt2e(graph, _Annotations(recipe))
        except ImportError as error:
            raise ExportError(f"torchao is not installed: run `{install_command('export')}`") from error
        self.weights: dict[str, Tensor] = dict(self.module.named_parameters())
        for weight in self.weights.values():
            weight.requires_grad_(True)
        self._percentile = recipe.percentile
        self._activations = [each for each in self._quantizers() if each.qscheme == torch.per_tensor_affine]
        for each in self._activations:
            each.disable_observer()
        self.enable(False)

    def measure(self, windows: Tensor) -> None:
        """Set the scales of all activations from these windows, computed in float, as calibration does; then round.

        All values are kept until the quantiles are taken: about 200 MB for 512 windows and the student `edge`.
        """
        seen: dict[nn.Module, list[Tensor]] = {each: [] for each in self._activations}

        def keep(module: nn.Module, values: tuple[Tensor]) -> None:
            seen[module].append(values[0].flatten())

        hooks = [each.register_forward_pre_hook(keep) for each in self._activations]
        self.enable(False)
        self.logits(windows)
        for hook in hooks:
            hook.remove()
        for quantizer, parts in seen.items():
            _set_scale(quantizer, *_range(torch.cat(parts), self._percentile))
        self.enable(True)

    def copy_weights(self) -> dict[str, Tensor]:
        """Copies of the trainable weights and biases, by their names in the student."""
        return {name: weight.detach().clone() for name, weight in self.weights.items()}

    def logits(self, windows: Tensor) -> Tensor:
        """(B, window_samples) -> (B, n), without gradient."""
        with torch.no_grad():
            return torch.cat([self.module(part) for part in windows.split(_BATCH)])

    def enable(self, enabled: bool) -> None:
        """Round weights and activations, or compute in float."""
        for each in self._quantizers():
            each.enable_fake_quant(enabled)

    def _quantizers(self) -> Iterator[Any]:
        return (each for each in self.module.modules() if hasattr(each, "fake_quant_enabled"))


class _Annotations:
    """The places of rounding in a graph, by the interface `torchao.quantization.pt2e.quantizer.Quantizer`."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def transform_for_annotation(self, model: GraphModule) -> GraphModule:
        """Return the graph unchanged, since the students have no scalar operands."""
        return model

    def annotate(self, model: GraphModule) -> GraphModule:
        """Mark the inputs, weights and outputs that are rounded."""
        from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, SharedQuantizationSpec

        activation, weight = self._specs()
        for node in _operations(model):
            kind, inputs = _kind(node), [each for each in node.args if isinstance(each, Node)]
            source = inputs[0]
            if kind == "fused":
                marks = QuantizationAnnotation(output_qspec=activation, _annotated=True)
            elif kind == "shaping":
                shared = SharedQuantizationSpec((source, node))
                marks = QuantizationAnnotation({source: activation}, shared, _annotated=True)
            else:
                rounded = (
                    {source: activation, inputs[1]: weight} if kind == "weighted" else dict.fromkeys(inputs, activation)
                )
                output = None if _is_fused(node) else activation
                marks = QuantizationAnnotation(rounded, output, _annotated=True)
            node.meta[_KEY] = marks
        return model

    def validate(self, model: GraphModule) -> None:
        """Nothing to do: `check_tunable` has checked the operations."""

    def prepare_obs_or_fq_callback(self, model: GraphModule, edge_or_node_to_obs_or_fq: dict[Any, Any]) -> None:
        """Leave the fake quantizers as torchao has created them."""

    def _specs(self) -> tuple[Any, Any]:
        """How activations and how weights are rounded."""
        from torchao.quantization.pt2e import fake_quantize, observer
        from torchao.quantization.pt2e.quantizer import QuantizationSpec

        def spec(watcher: Any, lowest: int, scheme: torch.qscheme, **options: Any) -> Any:
            rounding = fake_quantize.FakeQuantize.with_args(observer=watcher, eps=_SMALLEST_SCALE, **options)
            return QuantizationSpec(torch.int8, rounding, lowest, 127, scheme, ch_axis=0)

        current = {"averaging_constant": 1.0}
        if self.recipe.weights == "per-channel":
            watcher, scheme = observer.MovingAveragePerChannelMinMaxObserver, torch.per_channel_symmetric
        else:
            watcher, scheme = observer.MovingAverageMinMaxObserver, torch.per_tensor_symmetric
        return (
            spec(observer.MinMaxObserver, -128, torch.per_tensor_affine),
            spec(watcher, -127, scheme, **current),
        )


def _range(values: Tensor, percentile: float) -> tuple[float, float]:
    """The range of values (n,), as `ekd_export.quantization.ranges` computes it."""
    count = 1 + int((1 - percentile / 100) / 2 * len(values))
    low, high = -float((-values).topk(count).values[-1]), float(values.topk(count).values[-1])
    return (low, high) if has_scale(low, high) else (float(values.min()), float(values.max()))


def _set_scale(quantizer: Any, low: float, high: float) -> None:
    """Set scale and zero point as ai-edge-quantizer does, in float64.

    torchao computes them in float32, which puts the zero point of a symmetric range, such as that of hardtanh, one off.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / 255, _SMALLEST_SCALE)
    quantizer.scale.fill_(scale)
    quantizer.zero_point.fill_(max(-128, min(127, round(-128 - low / scale))))


def _exported(student: nn.Module, window_samples: int, batch: Any) -> GraphModule:
    """The graph of a student: of one window where `batch` is None, else of a batch of any size."""
    example = torch.zeros(1 if batch is None else 2, window_samples)
    with quiet():
        exported: GraphModule = torch.export.export(student, (example,), dynamic_shapes=({0: batch},)).module()
    return exported


def _operations(graph: GraphModule) -> Iterator[Node]:
    return (
        node for node in graph.graph.nodes if node.op == "call_function" and isinstance(node.meta.get("val"), Tensor)
    )


def _kind(node: Node) -> str | None:
    if node.target in _FUSED:
        limits = tuple(node.args[1:])
        return "fused" if limits in _LIMITS and _is_fused_into(node.args[0]) else None
    for kind, targets in (("weighted", _WEIGHTED), ("elementwise", _ELEMENTWISE), ("shaping", _SHAPING)):
        if node.target in targets:
            return kind
    return None


def _is_fused_into(source: Any) -> bool:
    return isinstance(source, Node) and len(source.users) == 1 and source.target in _WEIGHTED | _ELEMENTWISE


def _is_fused(node: Node) -> bool:
    return len(node.users) == 1 and next(iter(node.users)).target in _FUSED


def _name(node: Node) -> str:
    return str(node.target).split(".")[1]
