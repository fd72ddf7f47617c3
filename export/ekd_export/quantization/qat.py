"""Quantization-aware training (QAT): self-distillation of a fake-quantized student from its float form.

The weights of the folded student are tuned while every activation and weight is fake-quantized: rounded as in int8,
with a straight-through gradient (Jacob et al., CVPR 2018). The result is a float student, which is converted and then
quantized by the static recipe, because converters do not handle fake-quantized graphs correctly.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ekd_edge.errors import DataError
from ekd_export.quantization.recipes import RECIPES, Recipe
from ekd_train.training.distillation import soft_loss

__all__ = ["EPOCHS", "fake_quantized_logits", "fine_tune"]

EPOCHS = 8
_BATCH = 32
_WINDOWS = 512
_RATE = 2e-4
_SMALLEST_SCALE = 1e-11
_ABOVE_ZERO = 1e-12
"""Lower limit of the argument of rsqrt, for a variance that int8 rounds to zero: runtimes return the maximum then."""

_Student = TypeVar("_Student", bound=nn.Module)
_Range = tuple[float, float]

_WEIGHTED = {"linear", "conv1d", "conv2d"}
_FUSED = {"relu", "relu_", "relu6", "hardtanh", "clamp", "clamp_min"}
"""Activation functions that the converter fuses into the preceding operation, so that no value is rounded between."""
_SHAPING = {
    "__get__", "__getitem__", "contiguous", "dim", "expand", "flatten", "numel", "permute", "reshape", "size",
    "squeeze", "swapaxes", "t", "transpose", "unflatten", "unsqueeze", "view", "view_as",
}  # fmt: skip
"""Functions that move values without computing new ones."""


def fine_tune(
    student: _Student,
    train: NDArray[np.float32],
    validation: NDArray[np.float32],
    *,
    seed: int,
    notify: Callable[[str], None],
    recipe: Recipe = RECIPES["qat"],
    classes: int = 2,
    epochs: int = EPOCHS,
) -> _Student:
    """Tune the weights of a copy of `student` for an int8 recipe.

    The loss is KL(float student || fake-quantized student), so that windows on which the float student is unsure have
    an influence, too. Activation ranges are measured on the training windows before every epoch. The epoch with the
    lowest loss on the validation windows is kept; epoch 0, the untuned student, is one of the choices.

    Args:
        student: a module of one window (1, window_samples) -> (1, targets * classes), such as an InferenceStudent; it
            is not changed.
        train: float32 (n, window_samples) of training subjects; at most 512 of them, drawn by `seed`, are used.
        validation: the same of validation subjects.
        seed: seed of the draw and of the order of batches.
        notify: called with a sentence on each epoch.
        recipe: the int8 recipe to tune for.
        classes: classes of each target.
        epochs: passes over the training windows.

    Returns:
        The tuned float student.

    Raises:
        DataError: there are no training or no validation windows.
    """
    for windows, group in ((train, "training"), (validation, "validation")):
        if len(windows) == 0:
            raise DataError(f"there is no {group} window to fine-tune for int8 with: use a split that has some")
    generator = torch.Generator().manual_seed(seed)
    train_drawn, validation_drawn = (_draw(windows, generator) for windows in (train, validation))
    train_logits, validation_logits = _logits(student, train_drawn), _logits(student, validation_drawn)
    tuned = copy.deepcopy(student).eval()
    trainable = [weight.requires_grad for weight in tuned.parameters()]
    tuned.requires_grad_(True)
    optimizer = torch.optim.Adam(tuned.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * math.ceil(len(train_drawn) / _BATCH))
    quantized = _FakeQuantized(tuned, recipe)
    best, lowest, best_epoch = copy.deepcopy(tuned.state_dict()), math.inf, 0
    for epoch in range(epochs + 1):
        if epoch:
            for batch in torch.randperm(len(train_drawn), generator=generator).split(_BATCH):
                divergence = _divergence(quantized(train_drawn[batch]), train_logits[batch], classes)
                optimizer.zero_grad(set_to_none=True)
                divergence.backward()
                optimizer.step()
                schedule.step()
        quantized.measure(train_drawn)
        loss = float(_divergence(_logits(quantized, validation_drawn), validation_logits, classes))
        better = loss < lowest
        notify(f"fine-tuning {epoch}/{epochs}: KL {loss:.2g} nats on validation windows{' *' if better else ''}")
        if better:
            best, lowest, best_epoch = copy.deepcopy(tuned.state_dict()), loss, epoch
    tuned.load_state_dict(best)
    for weight, requires_grad in zip(tuned.parameters(), trainable, strict=True):
        weight.requires_grad_(requires_grad)
    notify(f"fine-tuning: epoch {best_epoch} is kept" if best_epoch else "fine-tuning found nothing better")
    return tuned


def fake_quantized_logits(
    student: nn.Module, train: NDArray[np.float32], windows: NDArray[np.float32], recipe: Recipe = RECIPES["qat"]
) -> NDArray[np.float32]:
    """Fake-quantized logits (n, logits) of `windows`, with the ranges of all `train` windows."""
    quantized = _FakeQuantized(student, recipe)
    quantized.measure(torch.tensor(train))
    logits: NDArray[np.float32] = _logits(quantized, torch.tensor(windows)).numpy()
    return logits


class _FakeQuantized(nn.Module):
    """A batched, fake-quantized student: windows (B, window_samples) -> logits (B, n).

    The inputs of functions are rounded, not their outputs, so that no value is rounded between an operation and an
    activation function fused into it. Functions are called in the same order every time, and ranges are stored in that
    order.
    """

    def __init__(self, student: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.student, self.recipe = student, recipe
        self.ranges: list[_Range] = []

    def measure(self, windows: Tensor) -> None:
        """Measure the ranges of all activations on these windows, in float, as calibration does."""
        lows, highs = [], []
        with torch.no_grad():
            for batch in windows.split(_BATCH):
                extremes = torch.vmap(self._extremes)(batch)
                lows.append(extremes[0].amin(0))
                highs.append(extremes[1].amax(0))
        low, high = torch.stack(lows).amin(0).tolist(), torch.stack(highs).amax(0).tolist()
        self.ranges = list(zip(low, high, strict=True))

    def forward(self, windows: Tensor) -> Tensor:
        """(B, window_samples) -> (B, n)."""
        logits: Tensor = torch.vmap(self._logits)(windows)
        return logits

    def _logits(self, window: Tensor) -> Tensor:
        mode = _Rounding(self.recipe, iter(self.ranges))
        with mode:
            logits = self.student(window[None])
        return mode.activation(logits)[0]

    def _extremes(self, window: Tensor) -> tuple[Tensor, Tensor]:
        mode = _Recording()
        with mode:
            logits = self.student(window[None])
        mode.activation(logits)
        return torch.stack(mode.lows), torch.stack(mode.highs)


class _Inputs(TorchFunctionMode):
    """Passes each tensor argument of a computing function through `activation`, `weight` or `constant`."""

    def activation(self, values: Tensor) -> Tensor:
        """A value that the student computed."""
        return values

    def weight(self, values: Tensor) -> Tensor:
        """The weight of a convolution or dense layer: (output channels, ...)."""
        return values

    def constant(self, values: Tensor) -> Tensor:
        """Any other parameter except biases."""
        return values

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in _SHAPING or name in _FUSED:
            return func(*args, **(kwargs or {}))
        if name in _WEIGHTED:
            args = (self._passed(args[0]), self.weight(args[1]), *args[2:])
        else:
            args = tuple(self._passed(each) for each in args)
        if name == "rsqrt":
            args = (args[0].clamp(min=_ABOVE_ZERO),)
        return func(*args, **(kwargs or {}))

    def _passed(self, each: Any) -> Any:
        if isinstance(each, list | tuple):
            return type(each)(self._passed(part) for part in each)
        if not isinstance(each, Tensor) or not each.is_floating_point():
            return each
        return self.constant(each) if isinstance(each, nn.Parameter) else self.activation(each)


class _Recording(_Inputs):
    def __init__(self) -> None:
        super().__init__()
        self.lows: list[Tensor] = []
        self.highs: list[Tensor] = []

    def activation(self, values: Tensor) -> Tensor:
        self.lows.append(values.amin())
        self.highs.append(values.amax())
        return values


class _Rounding(_Inputs):
    def __init__(self, recipe: Recipe, ranges: Iterator[_Range]) -> None:
        super().__init__()
        self.recipe, self.ranges = recipe, ranges

    def activation(self, values: Tensor) -> Tensor:
        rounded: Tensor = _Rounded.apply(values, *_scale(*next(self.ranges)))  # type: ignore[no-untyped-call]
        return rounded

    def weight(self, values: Tensor) -> Tensor:
        if self.recipe.weights == "per-tensor":
            scale = max(float(values.detach().abs().amax()) / 127, _SMALLEST_SCALE)
            return torch.fake_quantize_per_tensor_affine(values, scale, 0, -127, 127)
        scales = (values.detach().abs().flatten(1).amax(1) / 127).clamp(min=_SMALLEST_SCALE)
        return torch.fake_quantize_per_channel_affine(
            values, scales, torch.zeros(len(values), dtype=torch.int32), 0, -127, 127
        )

    def constant(self, values: Tensor) -> Tensor:
        low, high = values.detach().aminmax()
        return torch.fake_quantize_per_tensor_affine(values, *_scale(float(low), float(high)), -128, 127)


class _Rounded(torch.autograd.Function):
    """Elementwise rounding to int8 and back, with the vmap rule that torch lacks: the batch axis is ignored."""

    @staticmethod
    def forward(values: Tensor, scale: float, zero_point: int) -> Tensor:
        return torch.fake_quantize_per_tensor_affine(values, scale, zero_point, -128, 127)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, int], output: Tensor) -> None:
        values, scale, zero_point = inputs
        ctx.save_for_backward(values)
        ctx.low, ctx.high = (-128.5 - zero_point) * scale, (127.5 - zero_point) * scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        values: Tensor = ctx.saved_tensors[0]
        return grad * ((values > ctx.low) & (values < ctx.high)), None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], values: Tensor, *scale: float) -> tuple[Any, int | None]:
        return _Rounded.apply(values, *scale), in_dims[0]  # type: ignore[no-untyped-call]


def _scale(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of the int8 range that contains low, high and zero."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / 255, _SMALLEST_SCALE)
    return scale, max(-128, min(127, round(-128 - low / scale)))


def _divergence(quantized: Tensor, exact: Tensor, classes: int) -> Tensor:
    """Mean KL(exact || quantized) over windows and targets; logits (B, targets * classes) of both."""
    return soft_loss(quantized.view(len(quantized), -1, classes), exact.view(len(exact), -1, classes))


def _draw(windows: NDArray[np.float32], generator: torch.Generator) -> Tensor:
    chosen = torch.randperm(len(windows), generator=generator)[:_WINDOWS].sort().values
    return torch.tensor(windows)[chosen]


def _logits(student: nn.Module, windows: Tensor) -> Tensor:
    """Logits (B, n) of a student of single windows, or of a `_FakeQuantized` one."""
    forward = student if isinstance(student, _FakeQuantized) else torch.vmap(lambda window: student(window[None])[0])
    with torch.no_grad():
        return torch.cat([forward(part) for part in windows.split(_BATCH)])
