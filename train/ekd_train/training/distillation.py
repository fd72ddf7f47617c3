"""Multi-level knowledge distillation: teacher -> student (EmotionKD, ACM MM 2023).

    loss = hard * CE(labels, student) + soft * T^2 KL(teacher || student) + feature * MSE(teacher, student feature)

The teacher's feature is twice as long as the student's (EEG tokens, then GSR tokens), so the published feature term
cannot be computed; a projection gives both the same length. The default, pooling, has no parameters. A learned
projection of the teacher's feature can also lower the term by discarding information, so its effect must be measured.

All losses are means over a batch. Tensors may have a leading axis of stacked networks (see
`ekd_train.models.stacked`). The losses of the networks are then summed, so that each one gets its own gradient.
"""

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ekd_edge.errors import ConfigError
from ekd_train.models.config import NetworkConfig, Output
from ekd_train.models.stacked import Network
from ekd_train.settings.sections import DistillConfig

__all__ = [
    "UNRATED",
    "DistillLoss",
    "LinearProjection",
    "PoolProjection",
    "ProjectionKind",
    "build_projection",
    "distill_loss",
    "feature_loss",
    "hard_loss",
    "kd_step",
    "label_step",
    "soft_loss",
]

ProjectionKind = Literal["pool", "linear"]

UNRATED = -100
"""Label of a window without a rating: it has no cross entropy."""

_SMALLEST = math.log(1e-7)


class DistillLoss(NamedTuple):
    """The three weighted terms, scalars."""

    hard: Tensor
    soft: Tensor
    feature: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum."""
        return self.hard + self.soft + self.feature


class PoolProjection(nn.Module):
    """Teacher feature (B, 2 * T * F) -> (B, T * F): mean of the EEG and the GSR token of the same position."""

    def forward(self, feature: Tensor) -> Tensor:
        """(..., B, 2n) -> (..., B, n)."""
        pooled: Tensor = feature.unflatten(-1, (2, -1)).mean(-2)
        return pooled


class LinearProjection(nn.Module):
    """Teacher feature (B, 2 * T * F) -> (B, T * F): one learned dense layer for the pair of tokens of a position.

    It starts as PoolProjection and is trained together with the student.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.filters = config.filters
        self.dense = nn.Linear(2 * config.filters, config.filters)
        with torch.no_grad():
            self.dense.weight.copy_(torch.eye(config.filters).repeat(1, 2) / 2)
            self.dense.bias.zero_()

    def forward(self, feature: Tensor) -> Tensor:
        """(B, 2n) -> (B, n)."""
        pairs = feature.view(len(feature), 2, -1, self.filters).transpose(1, 2).flatten(2)
        projected: Tensor = self.dense(pairs)
        return projected.flatten(1)


def build_projection(kind: ProjectionKind, config: NetworkConfig) -> nn.Module:
    """The projection of this kind; raises ConfigError for an unknown kind."""
    if kind not in get_args(ProjectionKind):
        raise ConfigError(f"distill.projection = {kind!r}: choose pool or linear")
    return PoolProjection() if kind == "pool" else LinearProjection(config)


def hard_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross entropy over rated samples and targets: logits (..., B, targets, classes), labels (..., B, targets).

    Labels are int64. `UNRATED` labels do not count; without rated labels the loss is 0.
    """
    total = F.cross_entropy(
        logits.flatten(0, -2), labels.flatten(), ignore_index=UNRATED, label_smoothing=smoothing, reduction="sum"
    )
    return total * logits.shape[:-3].numel() / (labels != UNRATED).sum().clamp(min=1)


def soft_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 * KL(teacher || student) of logits (..., B, targets, classes), mean over samples and targets.

    Probabilities are clamped to at least 1e-7, as published; a class with a lower probability has no gradient.
    """
    target = F.log_softmax(teacher / temperature, dim=-1).clamp(min=_SMALLEST)
    predicted = F.log_softmax(student / temperature, dim=-1).clamp(min=_SMALLEST)
    divergence = temperature**2 * (target.exp() * (target - predicted)).sum(-1)
    return divergence.mean() * student.shape[:-3].numel()


def feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean square difference of two features (..., B, n)."""
    return F.mse_loss(student, teacher) * student.shape[:-2].numel()


def distill_loss(
    student: Output, teacher: Output, labels: Tensor, config: DistillConfig, projection: nn.Module
) -> DistillLoss:
    """Compute the three weighted terms, with gradients of student, teacher and projection where they are required.

    A term of weight 0 is not computed.

    Args:
        student, teacher: their outputs.
        labels: (B, targets) int64.
        config: the weights and the temperature.
        projection: teacher feature -> length of the student's (nn.Identity if equal).

    Returns:
        The three terms.
    """
    none = student.logits.new_zeros(())
    soft = soft_loss(student.logits, teacher.logits, config.temperature) if config.soft else none
    feature = feature_loss(student.feature, projection(teacher.feature)) if config.feature else none
    hard = hard_loss(student.logits, labels, config.label_smoothing) if config.hard else none
    return DistillLoss(config.hard * hard, config.soft * soft, config.feature * feature)


def label_step(
    student: Network, optimizer: torch.optim.Optimizer, gsr: Tensor, labels: Tensor, smoothing: float = 0.0
) -> DistillLoss:
    """Take one optimizer step of the student on the labels, with its L2 penalty; return the detached terms."""
    hard = hard_loss(student(gsr).logits, labels, smoothing)
    optimizer.zero_grad(set_to_none=True)
    (hard + student.regularization()).backward()
    optimizer.step()
    none = hard.new_zeros(())
    return DistillLoss(hard.detach(), none, none)


def kd_step(
    student: Network,
    optimizer: torch.optim.Optimizer,
    gsr: Tensor,
    labels: Tensor,
    teacher: Output,
    config: DistillConfig,
    projection: nn.Module,
) -> DistillLoss:
    """Take one optimizer step of the student towards fixed teacher outputs, with its L2 penalty.

    Args:
        student: the network.
        optimizer: over the parameters of the student and the projection.
        gsr: (B, window).
        labels: (B, targets).
        teacher: its outputs for the same windows, treated as constants.
        config: the weights and the temperature.
        projection: teacher feature -> length of the student's.

    Returns:
        The three terms, detached.
    """
    teacher_output = Output(teacher.logits.detach(), teacher.feature.detach())
    loss = distill_loss(student(gsr), teacher_output, labels, config, projection)
    optimizer.zero_grad(set_to_none=True)
    (loss.total + student.regularization()).backward()
    optimizer.step()
    return DistillLoss(*(term.detach() for term in loss))
