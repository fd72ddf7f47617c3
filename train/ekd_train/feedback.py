"""Adaptive feedback: the teacher learns from what its teaching does to the student (EmotionKD, ACM MM 2023).

The published loss sends the teacher no gradient; this is the bilevel form that the paper's figure draws:

    s'        = s - rate * grad_s [L_KD(s, t; batch) + penalty(s)]             the temporary student
    loss(t)   = own * CE(T(batch)) + quiz * CE(S'(quiz)) + penalty(t)          s' depends on t
    t  <-  optimizer(t, grad loss(t)),   then the real student takes its step from the new teacher

The student sees the teacher only through the outputs o of T(batch). With v = grad CE(S'(quiz)), the second-order term
is exactly

    grad_t CE(S'(quiz)) = - rate * (d o / d t)^T  d/do < grad_s L_KD(s, o), v >

so the student's step is differentiated a second time, but only towards o, and the teacher is run backwards once, for
all parts of its loss together. (Forward mode along v gives the same; torch's takes longer, as it repeats the pass.)
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ekd_edge.errors import ConfigError
from ekd_train.distill import DistillLoss, DistillWeights, distill_loss, hard_loss, kd_step
from ekd_train.layers import kernel_penalty
from ekd_train.network import Output
from ekd_train.student import Student
from ekd_train.teacher import Teacher

__all__ = ["Batch", "FeedbackGradient", "FeedbackWeights", "feedback_gradient", "feedback_step"]


class Batch(NamedTuple):
    """Windows and labels: eeg (B, rows, window), gsr (B, window) float; labels (B, targets) int64."""

    eeg: Tensor
    gsr: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True)
class FeedbackWeights:
    """Weights of the teacher's own cross entropy and of the temporary student's on the quiz; published: 1 and 1."""

    own: float = 1.0
    quiz: float = 1.0

    def __post_init__(self) -> None:
        if min(self.own, self.quiz) < 0:
            raise ConfigError("Set the feedback weights to 0 or more.")


class FeedbackGradient(NamedTuple):
    """What the teacher is told.

    own, quiz: the two cross entropies, not weighted, detached.
    gradients: of the teacher's whole loss, one for each of teacher.parameters(), in that order.
    taught: the teacher's outputs on the batch, detached.
    """

    own: Tensor
    quiz: Tensor
    gradients: tuple[Tensor, ...]
    taught: Output


def feedback_gradient(
    student: Student,
    teacher: Teacher,
    batch: Batch,
    quiz: Batch,
    rate: float,
    weights: DistillWeights,
    projection: nn.Module,
    balance: FeedbackWeights,
) -> FeedbackGradient:
    """The exact gradient of the teacher's loss through one plain gradient step of a temporary student.

    batch: what the teacher teaches; quiz: other windows of training subjects. rate: the temporary student's.
    Both networks are used in the mode they are in. Dropout: one draw serves the student's pass over `batch` and its
    second derivative; the quiz is taken without dropout. The student's weights and statistics stay as they are, no
    .grad is touched, and the teacher's batch statistics are updated as by one training pass. A rate of 0 gives the
    teacher's own gradient alone.
    """
    taught = teacher(batch.eeg, batch.gsr)
    parameters = {name: p.detach().requires_grad_() for name, p in student.named_parameters()}
    own = hard_loss(taught.logits, batch.labels)
    loss = balance.own * own + teacher.regularization()

    learned = _call(student, parameters, batch.gsr)
    told = Output(*(output.detach().requires_grad_() for output in taught))
    kernels = [parameters[f"gsr_head.{name}.weight"] for name in ("temporal_conv", "spatial_conv")]
    lesson = distill_loss(learned, told, batch.labels, weights, projection).total + kernel_penalty(*kernels)
    again = bool(rate and balance.quiz)
    steps = torch.autograd.grad(lesson, list(parameters.values()), create_graph=again, materialize_grads=True)
    temporary = {
        name: (p - rate * step).detach().requires_grad_()
        for (name, p), step in zip(parameters.items(), steps, strict=True)
    }
    with _without_dropout(student), torch.set_grad_enabled(again):
        exam = hard_loss(_call(student, temporary, quiz.gsr).logits, quiz.labels)

    if again:
        direction = torch.autograd.grad(exam, list(temporary.values()), materialize_grads=True)
        pairs = [(step, v) for step, v in zip(steps, direction, strict=True) if step.requires_grad]
        pulls = torch.autograd.grad([step for step, _ in pairs], told, [v for _, v in pairs], materialize_grads=True)
        along = sum((output * pull).sum() for output, pull in zip(taught, pulls, strict=True))
        loss = loss - balance.quiz * rate * along

    gradients = torch.autograd.grad(loss, list(teacher.parameters()), materialize_grads=True)
    return FeedbackGradient(own.detach(), exam.detach(), gradients, Output(*(output.detach() for output in taught)))


def feedback_step(
    student: Student,
    teacher: Teacher,
    student_optimizer: torch.optim.Optimizer,
    teacher_optimizer: torch.optim.Optimizer,
    batch: Batch,
    quiz: Batch,
    rate: float,
    weights: DistillWeights,
    projection: nn.Module,
    balance: FeedbackWeights,
) -> tuple[FeedbackGradient, DistillLoss]:
    """One round: the teacher's step by `feedback_gradient`, then the student's `kd_step` from the new teacher.

    The new teacher answers in the mode it is in, and its batch statistics are left alone by that second pass.
    """
    told = feedback_gradient(student, teacher, batch, quiz, rate, weights, projection, balance)
    for parameter, gradient in zip(teacher.parameters(), told.gradients, strict=True):
        parameter.grad = gradient
    teacher_optimizer.step()
    teacher_optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        taught: Output = functional_call(teacher, _copies(teacher), (batch.eeg, batch.gsr))
    return told, kd_step(student, student_optimizer, batch.gsr, batch.labels, taught, weights, projection)


def _copies(network: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in network.named_buffers()}


def _call(student: Student, parameters: Mapping[str, Tensor], gsr: Tensor) -> Output:
    """The student's outputs with other weights; its own statistics are read but not written."""
    output: Output = functional_call(student, {**parameters, **_copies(student)}, (gsr,))
    return output


@contextmanager
def _without_dropout(network: nn.Module) -> Iterator[None]:
    active = [m for m in network.modules() if isinstance(m, nn.Dropout) and m.training]
    for module in active:
        module.eval()
    try:
        yield
    finally:
        for module in active:
            module.train()
