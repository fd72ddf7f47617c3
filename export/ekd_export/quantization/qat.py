"""Quantization-aware fine-tuning: the student learns, without labels, to say in int8 what it says in float.

The weights of the folded student are tuned while everything it computes is fake-quantized: rounded as int8 will round
it, with the gradient passed straight through (Jacob et al., CVPR 2018). What comes out is a float student again. It
takes the ordinary road, conversion and then static quantization, because converters get fake-quantized graphs wrong.
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

__all__ = ["EPOCHS", "fine_tune", "rounded_logits"]

EPOCHS = 8
_BATCH = 32
_WINDOWS = 512
_RATE = 2e-4
_SMALLEST_SCALE = 1e-11
_ABOVE_ZERO = 1e-12
"""What rsqrt is given for a variance that int8 rounds to zero: runtimes give the highest value of the range then."""

_Student = TypeVar("_Student", bound=nn.Module)
_Range = tuple[float, float]

_WEIGHTED = {"linear", "conv1d", "conv2d"}
_FUSED = {"relu", "relu_", "relu6", "hardtanh", "clamp", "clamp_min"}
"""What the converter merges into the operation before it, so that nothing is rounded in between."""
_SHAPING = {
    "__get__", "__getitem__", "contiguous", "dim", "expand", "flatten", "numel", "permute", "reshape", "size",
    "squeeze", "swapaxes", "t", "transpose", "unflatten", "unsqueeze", "view", "view_as",
}  # fmt: skip
"""What moves values and computes none."""


def fine_tune(
    student: _Student,
    train: NDArray[np.float32],
    validation: NDArray[np.float32],
    *,
    seed: int,
    report: Callable[[str], None],
    recipe: Recipe = RECIPES["qat"],
    classes: int = 2,
    epochs: int = EPOCHS,
) -> _Student:
    """A copy of `student` whose weights are tuned for `recipe`; the student itself is left as it is.

    student: any module of one window (1, window_samples) -> (1, targets * classes), such as an InferenceStudent. train,
    validation: float32 (n, window_samples) of those subjects; of more than 512 windows so many are drawn by `seed`.
    The loss is KL(float student || fake-quantized student), so that windows count on which the float student is not
    sure. Activation ranges are those of the training windows, taken afresh for every epoch. The result is the epoch,
    the untuned beginning included, with the lowest loss on the validation windows: nothing is gained where nothing
    can be. `report` is told each epoch's loss.

    Raises DataError where there are no training or no validation windows.
    """
    for windows, whose in ((train, "training"), (validation, "validation")):
        if len(windows) == 0:
            raise DataError(f"there is no {whose} window to fine-tune for int8 with: use a split that has some")
    generator = torch.Generator().manual_seed(seed)
    taught, judged = (_drawn(windows, generator) for windows in (train, validation))
    aims = _logits(student, taught), _logits(student, judged)
    tuned = copy.deepcopy(student).eval()
    trainable = [weight.requires_grad for weight in tuned.parameters()]
    tuned.requires_grad_(True)
    optimizer = torch.optim.Adam(tuned.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * math.ceil(len(taught) / _BATCH))
    rounded = _FakeQuantized(tuned, recipe)
    best, least, best_epoch = copy.deepcopy(tuned.state_dict()), math.inf, 0
    for epoch in range(epochs + 1):
        if epoch:
            for batch in torch.randperm(len(taught), generator=generator).split(_BATCH):
                divergence = _divergence(rounded(taught[batch]), aims[0][batch], classes)
                optimizer.zero_grad(set_to_none=True)
                divergence.backward()
                optimizer.step()
                schedule.step()
        rounded.measure(taught)
        loss = float(_divergence(_logits(rounded, judged), aims[1], classes))
        better = loss < least
        report(f"fine-tuning {epoch}/{epochs}: KL {loss:.2g} nats on validation windows{' *' if better else ''}")
        if better:
            best, least, best_epoch = copy.deepcopy(tuned.state_dict()), loss, epoch
    tuned.load_state_dict(best)
    for weight, asked in zip(tuned.parameters(), trainable, strict=True):
        weight.requires_grad_(asked)
    report(f"fine-tuning ends with epoch {best_epoch}" if best_epoch else "fine-tuning found nothing better")
    return tuned


def rounded_logits(
    student: nn.Module, train: NDArray[np.float32], windows: NDArray[np.float32], recipe: Recipe = RECIPES["qat"]
) -> NDArray[np.float32]:
    """Fake-quantized logits (n, logits) of `windows`, with the ranges of all `train` windows."""
    rounded = _FakeQuantized(student, recipe)
    rounded.measure(torch.tensor(train))
    logits: NDArray[np.float32] = _logits(rounded, torch.tensor(windows)).numpy()
    return logits


class _FakeQuantized(nn.Module):
    """A student in batches, each value rounded as int8 rounds it: windows (B, window_samples) -> logits (B, n).

    What a function is given is rounded, not what it gives, so that an operation and the one merged into it stay
    unrounded between them. Functions are called in the same order every time: a range is known by that order.
    """

    def __init__(self, student: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.student, self.recipe = student, recipe
        self.ranges: list[_Range] = []

    def measure(self, windows: Tensor) -> None:
        """Take the ranges of all activations on these windows, in float, as calibration does."""
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
        mode = _Watching()
        with mode:
            logits = self.student(window[None])
        mode.activation(logits)
        return torch.stack(mode.lows), torch.stack(mode.highs)


class _Inputs(TorchFunctionMode):
    """Hands each tensor that a computing function is given to `activation`, `weight` or `constant`."""

    def activation(self, values: Tensor) -> Tensor:
        """What the student computed."""
        return values

    def weight(self, values: Tensor) -> Tensor:
        """Of a convolution or dense layer: (output channels, ...)."""
        return values

    def constant(self, values: Tensor) -> Tensor:
        """Any other parameter, but for biases."""
        return values

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in _SHAPING or name in _FUSED:
            return func(*args, **(kwargs or {}))
        if name in _WEIGHTED:
            args = (self._given(args[0]), self.weight(args[1]), *args[2:])
        else:
            args = tuple(self._given(each) for each in args)
        if name == "rsqrt":
            args = (args[0].clamp(min=_ABOVE_ZERO),)
        return func(*args, **(kwargs or {}))

    def _given(self, each: Any) -> Any:
        if isinstance(each, list | tuple):
            return type(each)(self._given(part) for part in each)
        if not isinstance(each, Tensor) or not each.is_floating_point():
            return each
        return self.constant(each) if isinstance(each, nn.Parameter) else self.activation(each)


class _Watching(_Inputs):
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
    """Elementwise int8 and back. A batch axis changes nothing about it, which torch does not know by itself."""

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
    def vmap(info: Any, in_dims: tuple[int | None, ...], values: Tensor, *how: float) -> tuple[Any, int | None]:
        return _Rounded.apply(values, *how), in_dims[0]  # type: ignore[no-untyped-call]


def _scale(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of the int8 range that holds low, high and zero."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / 255, _SMALLEST_SCALE)
    return scale, max(-128, min(127, round(-128 - low / scale)))


def _divergence(rounded: Tensor, exact: Tensor, classes: int) -> Tensor:
    """Mean KL(exact || rounded) over windows and targets; logits (B, targets * classes) of both."""
    return soft_loss(rounded.view(len(rounded), -1, classes), exact.view(len(exact), -1, classes))


def _drawn(windows: NDArray[np.float32], generator: torch.Generator) -> Tensor:
    chosen = torch.randperm(len(windows), generator=generator)[:_WINDOWS].sort().values
    return torch.tensor(windows)[chosen]


def _logits(student: nn.Module, windows: Tensor) -> Tensor:
    """Of an ordinary student, one window at a time, or of a `_FakeQuantized` one: (B, n)."""
    forward = student if isinstance(student, _FakeQuantized) else torch.vmap(lambda window: student(window[None])[0])
    with torch.no_grad():
        return torch.cat([forward(part) for part in windows.split(_BATCH)])
