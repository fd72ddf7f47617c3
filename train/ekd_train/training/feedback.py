"""Adaptive feedback: the teacher is trained on the effect of its outputs on the student (EmotionKD, ACM MM 2023).

The published loss sends no gradient to the teacher. This module implements the bilevel form of the paper's figure:

    s'        = s - rate * grad_s [L_KD(s, t; batch) + penalty(s)]             the temporary student
    loss(t)   = own * CE(T(batch)) + quiz * CE(S'(quiz)) + penalty(t)          s' depends on t
    t  <-  optimizer(t, grad loss(t)),   and the real student takes its step on the batch

The student depends on the teacher only through the outputs o of T(batch). With v = grad CE(S'(quiz)), the second-order
term is exactly

    grad_t CE(S'(quiz)) = - rate * (d o / d t)^T  d/do < grad_s L_KD(s, o), v >

The student's step is therefore differentiated a second time, but only with respect to o, and one backward pass through
the teacher covers all terms of its loss. Forward mode along v gives the same result; in torch it is slower, because it
repeats the pass.

The real and the temporary student start from the same weights and share one pass over the batch (dropout included). By
default the student learns from the teacher outputs of the same round, so the real step uses the temporary student's
gradient, and the teacher's update affects its next outputs. With `renewed` the updated teacher predicts the same batch
a second time before the student's step, which takes one more teacher pass and one more student backward pass.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ekd_train.models.config import Output
from ekd_train.models.layers import RoundingNoise
from ekd_train.models.stacked import Network
from ekd_train.settings.sections import DistillConfig, FeedbackConfig
from ekd_train.training.distillation import DistillLoss, distill_loss, hard_loss

__all__ = ["Batch", "FeedbackGradient", "feedback_gradient", "feedback_step"]


class Batch(NamedTuple):
    """Windows and labels: eeg (B, rows, window), gsr (B, window) float; labels (B, targets) int64."""

    eeg: Tensor
    gsr: Tensor
    labels: Tensor


class FeedbackGradient(NamedTuple):
    """The teacher's gradients, and the student's outputs and gradients for the same batch.

    own, quiz: the two cross entropies, not weighted, detached.
    gradients: of the teacher's whole loss, one for each of teacher.parameters(), in that order.
    student_output: on the batch, with its graph. terms: the student's loss terms, detached.
    student_gradients: of the student's whole loss for the current teacher outputs, detached, one for each of
        student.parameters(), then one for each of projection.parameters().
    """

    own: Tensor
    quiz: Tensor
    gradients: tuple[Tensor, ...]
    student_output: Output
    terms: DistillLoss
    student_gradients: tuple[Tensor, ...]


def feedback_gradient(
    student: Network,
    teacher: Network,
    batch: Batch,
    quiz: Batch,
    rate: float,
    weights: DistillConfig,
    projection: nn.Module,
    balance: FeedbackConfig,
) -> FeedbackGradient:
    """The exact gradient of the teacher's loss through one plain gradient step of a temporary student.

    Both networks stay in their mode, and their batch statistics are updated as by one training pass over `batch`. The
    quiz pass has no noise, no dropout and changes no statistics. No weight and no .grad is changed. A rate of 0 gives
    the gradient of the teacher's own loss without feedback.

    Args:
        student, teacher: both networks.
        batch: the windows to distill on.
        quiz: rated windows of other training subjects.
        rate: learning rate of the temporary student.
        weights: of the student's loss.
        projection: teacher feature -> length of the student's.
        balance: weights of the teacher's loss.

    Returns:
        The gradients and the losses.
    """
    teacher_output = teacher(batch.eeg, batch.gsr)
    own = hard_loss(teacher_output.logits, batch.labels)
    loss = balance.hard * own + teacher.regularization()

    parameters = dict(student.named_parameters())
    student_output: Output = student(batch.gsr)
    targets = Output(*(output.detach().requires_grad_() for output in teacher_output))
    terms = distill_loss(student_output, targets, batch.labels, weights, projection)
    has_feedback = bool(rate and balance.quiz)
    learned_parameters = [*parameters.values(), *projection.parameters()]
    student_loss = terms.total + student.regularization()
    gradient_steps = torch.autograd.grad(
        student_loss, learned_parameters, create_graph=has_feedback, retain_graph=True, materialize_grads=True
    )
    pairs = list(zip(parameters.items(), gradient_steps, strict=False))
    temporary = {name: (p - rate * step).detach().requires_grad_() for (name, p), step in pairs}
    with _without_noise(student), torch.set_grad_enabled(has_feedback):
        quiz_loss = hard_loss(_call(student, temporary, quiz.gsr).logits, quiz.labels)

    if has_feedback:
        direction = torch.autograd.grad(quiz_loss, list(temporary.values()), materialize_grads=True)
        moved = [(step, v) for step, v in zip(gradient_steps, direction, strict=False) if step.requires_grad]
        output_gradients = torch.autograd.grad(
            [step for step, _ in moved], targets, [v for _, v in moved], retain_graph=True, materialize_grads=True
        )
        along = sum(
            (output * gradient).sum() for output, gradient in zip(teacher_output, output_gradients, strict=True)
        )
        loss = loss - balance.quiz * rate * along

    gradients = torch.autograd.grad(loss, list(teacher.parameters()), materialize_grads=True)
    detached = DistillLoss(*(term.detach() for term in terms))
    student_gradients = tuple(step.detach() for step in gradient_steps)
    return FeedbackGradient(own.detach(), quiz_loss.detach(), gradients, student_output, detached, student_gradients)


def feedback_step(
    student: Network,
    teacher: Network,
    student_optimizer: torch.optim.Optimizer,
    teacher_optimizer: torch.optim.Optimizer,
    batch: Batch,
    quiz: Batch,
    rate: float,
    weights: DistillConfig,
    projection: nn.Module,
    balance: FeedbackConfig,
    renewed: bool = False,
) -> FeedbackGradient:
    """One round: the teacher's step by `feedback_gradient`, and the student's step from current or renewed outputs.

    Args:
        student, teacher: both networks.
        student_optimizer: over the parameters of the student and the projection.
        teacher_optimizer: over the teacher's parameters.
        batch: the windows to distill on.
        quiz: rated windows of other training subjects.
        rate: learning rate of the temporary student.
        weights: of the student's loss.
        projection: teacher feature -> length of the student's.
        balance: weights of the teacher's loss.
        renewed: distill from the updated teacher. It predicts in its mode, and that pass changes no batch statistics.

    Returns:
        The gradients and the losses.
    """
    result = feedback_gradient(student, teacher, batch, quiz, rate, weights, projection, balance)
    _apply(teacher_optimizer, teacher.parameters(), result.gradients)
    learned_parameters = [*student.parameters(), *projection.parameters()]
    student_gradients = result.student_gradients
    if renewed:
        with torch.no_grad():
            teacher_output: Output = functional_call(teacher, _copies(teacher), (batch.eeg, batch.gsr))
        terms = distill_loss(result.student_output, teacher_output, batch.labels, weights, projection)
        student_gradients = torch.autograd.grad(
            terms.total + student.regularization(), learned_parameters, materialize_grads=True
        )
        result = result._replace(
            terms=DistillLoss(*(term.detach() for term in terms)), student_gradients=student_gradients
        )
    _apply(student_optimizer, learned_parameters, student_gradients)
    return result


def _apply(optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], gradients: Sequence[Tensor]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _copies(network: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in network.named_buffers()}


def _call(student: Network, parameters: Mapping[str, Tensor], gsr: Tensor) -> Output:
    """The student's outputs with other weights; its batch statistics are read and not written."""
    output: Output = functional_call(student, {**parameters, **_copies(student)}, (gsr,))
    return output


@contextmanager
def _without_noise(network: nn.Module) -> Iterator[None]:
    """Switch dropout and rounding noise off."""
    active = [m for m in network.modules() if isinstance(m, nn.Dropout | RoundingNoise) and m.training]
    for module in active:
        module.eval()
    try:
        yield
    finally:
        for module in active:
            module.train()
