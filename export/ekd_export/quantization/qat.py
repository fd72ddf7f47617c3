"""Quantization-aware training (QAT): self-distillation of a fake-quantized student from its float form.

The weights of the folded student are tuned while torchao rounds weights and activations as the int8 kernels do. The
result is a float student, which is converted and quantized by the static recipe: the file has the same operations and
is calibrated on the same windows as that of an untuned student.
"""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ekd_edge.errors import DataError
from ekd_export.quantization.annotate import FakeQuantized
from ekd_export.quantization.recipes import RECIPES, Recipe

__all__ = ["EPOCHS", "fake_quantized_logits", "fine_tune"]

EPOCHS = 8
_BATCH = 32
_WINDOWS = 4096
_RATE = 1e-4
_FAR = 0.05
"""Weight of a window whose margin is far from zero; one with a margin of zero weighs 1 more."""
_LINEAR = 0.1
"""Margin errors above this share of the median margin count linearly, those below quadratically."""
_SMALLEST_MARGIN = 1e-6

_Student = TypeVar("_Student", bound=nn.Module)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch on one thread: its threads cost more than they save on small batches, above all on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@_one_thread()
def fine_tune(
    student: _Student,
    calibration: NDArray[np.float32],
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

    The loss is the error of margins, the differences of a target's logits: smooth L1 between the fake-quantized and the
    float student, with a higher weight on windows whose margin is near zero, since rounding changes the class of
    these. No label is used. Activation ranges are those of the recipe on the calibration windows, measured before every
    epoch. The epoch with the lowest loss on the validation windows is kept; epoch 0, the untuned student,
    is one of the choices.

    Args:
        student: a folded student without attention; it is not changed.
        calibration: float32 (n, window_samples), the windows that the recipe is calibrated on.
        train: the same of training subjects; at most 4096 of them, drawn by `seed`, are used.
        validation: the same of validation subjects.
        seed: seed of the draw and of the order of batches.
        notify: called with a sentence on each epoch.
        recipe: the int8 recipe to tune for.
        classes: classes of each target.
        epochs: passes over the training windows.

    Returns:
        The tuned float student.

    Raises:
        DataError: there are no calibration, training or validation windows.
        ExportError: torchao is not installed, or the student has an operation without fake quantizer, as attention has.
    """
    for windows, group in ((calibration, "calibration"), (train, "training"), (validation, "validation")):
        if len(windows) == 0:
            raise DataError(f"there is no {group} window to fine-tune for int8 with: use a split that has some")
    generator = torch.Generator().manual_seed(seed)
    quantized = FakeQuantized(student, train.shape[1], recipe)
    ranges = torch.tensor(calibration)
    train_drawn, validation_drawn = (_draw(windows, generator) for windows in (train, validation))
    train_margins, validation_margins = (
        _margins(quantized.logits(windows), classes) for windows in (train_drawn, validation_drawn)
    )
    median = train_margins.abs().median(0).values.clamp(min=_SMALLEST_MARGIN)
    optimizer = torch.optim.Adam(quantized.weights.values(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * math.ceil(len(train_drawn) / _BATCH))
    best, lowest, best_epoch = quantized.copy_weights(), math.inf, 0
    for epoch in range(epochs + 1):
        if epoch:
            for batch in torch.randperm(len(train_drawn), generator=generator).split(_BATCH):
                margins = _margins(quantized.module(train_drawn[batch]), classes)
                optimizer.zero_grad(set_to_none=True)
                _margin_loss(margins, train_margins[batch], median).backward()
                optimizer.step()
                schedule.step()
        quantized.measure(ranges)
        loss = float(_margin_loss(_margins(quantized.logits(validation_drawn), classes), validation_margins, median))
        better = loss < lowest
        notify(f"fine-tuning {epoch}/{epochs}: margin error {loss:.2g} on validation windows{' *' if better else ''}")
        if better:
            best, lowest, best_epoch = quantized.copy_weights(), loss, epoch
    tuned = copy.deepcopy(student)
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            weight.copy_(best[name])
    notify(
        f"fine-tuning: epoch {best_epoch} is kept"
        if best_epoch
        else "fine-tuning: no epoch is better than the untuned student"
    )
    return tuned


def fake_quantized_logits(
    student: nn.Module, calibration: NDArray[np.float32], windows: NDArray[np.float32], recipe: Recipe = RECIPES["qat"]
) -> NDArray[np.float32]:
    """Fake-quantized logits (n, logits) of `windows`, with the ranges of all `calibration` windows."""
    quantized = FakeQuantized(student, windows.shape[1], recipe)
    quantized.measure(torch.tensor(calibration))
    logits: NDArray[np.float32] = quantized.logits(torch.tensor(windows)).numpy()
    return logits


def _margins(logits: Tensor, classes: int) -> Tensor:
    """Logits (B, targets * classes) minus that of the target's first class: (B, targets, classes - 1)."""
    each = logits.view(len(logits), -1, classes)
    return each[:, :, 1:] - each[:, :, :1]


def _margin_loss(margins: Tensor, exact: Tensor, median: Tensor) -> Tensor:
    """Mean weighted error of margins in units of the median margin; windows of a small margin have a higher weight."""
    weight = torch.exp(-(exact / median).abs()) + _FAR
    return (weight * F.smooth_l1_loss(margins / median, exact / median, beta=_LINEAR, reduction="none")).mean()


def _draw(windows: NDArray[np.float32], generator: torch.Generator) -> Tensor:
    chosen = torch.randperm(len(windows), generator=generator)[:_WINDOWS].sort().values
    return torch.tensor(windows)[chosen]
