"""Adaptive feedback: the teacher learns from what its teaching does to the student (EmotionKD, ACM MM 2023).

The published loss sends the teacher no gradient; this is the bilevel form that the paper's figure draws:

    s'        = s - rate * grad_s [L_KD(s, t; batch) + penalty(s)]             the temporary student
    loss(t)   = own * CE(T(batch)) + quiz * CE(S'(quiz)) + penalty(t)          s' depends on t
    t  <-  optimizer(t, grad loss(t)),   and the real student takes its step on the batch

The student sees the teacher only through the outputs o of T(batch). With v = grad CE(S'(quiz)), the second-order term
is exactly

    grad_t CE(S'(quiz)) = - rate * (d o / d t)^T  d/do < grad_s L_KD(s, o), v >

so the student's step is differentiated a second time, but only towards o, and the teacher is run backwards once, for
all parts of its loss together. (Forward mode along v gives the same; torch's takes longer, as it repeats the pass.)

The real student and the temporary one start from the same weights and the same pass over the batch (dropout
included), so that pass is made once. By default the student learns from the answers it was given in this round, and
what the teacher learnt shows in its next answers: then the real step's gradient is the temporary student's, too.
With `renewed` the changed teacher answers the same batch again before the student's step: one teacher pass and one
student's backward pass more.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ekd_train.models.config import Output
from ekd_train.models.stacked import Network
from ekd_train.settings import DistillConfig, FeedbackConfig
from ekd_train.training.distillation import DistillLoss, distill_loss, hard_loss

__all__ = ["Batch", "FeedbackGradient", "feedback_gradient", "feedback_step"]


class Batch(NamedTuple):
    """Windows and labels: eeg (B, rows, window), gsr (B, window) float; labels (B, targets) int64."""

    eeg: Tensor
    gsr: Tensor
    labels: Tensor


class FeedbackGradient(NamedTuple):
    """What the teacher is told, and what the student has learnt meanwhile.

    own, quiz: the two cross entropies, not weighted, detached.
    gradients: of the teacher's whole loss, one for each of teacher.parameters(), in that order.
    learned: the student's outputs on the batch, with their graph. terms: its loss terms, detached.
    steps: gradients of the student's whole loss for the teacher's present answers, detached, one for each of
        student.parameters(), then one for each of projection.parameters().
    """

    own: Tensor
    quiz: Tensor
    gradients: tuple[Tensor, ...]
    learned: Output
    terms: DistillLoss
    steps: tuple[Tensor, ...]


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

    batch: what the teacher teaches; quiz: other windows of training subjects. rate: the temporary student's.
    Both networks are used in the mode they are in, and their batch statistics are updated as by one training pass
    over `batch`. The quiz is taken without dropout and leaves no trace. No weight and no .grad is touched. A rate of
    0 gives the teacher's own gradient alone.
    """
    taught = teacher(batch.eeg, batch.gsr)
    own = hard_loss(taught.logits, batch.labels)
    loss = balance.hard * own + teacher.regularization()

    parameters = dict(student.named_parameters())
    learned: Output = student(batch.gsr)
    told = Output(*(output.detach().requires_grad_() for output in taught))
    terms = distill_loss(learned, told, batch.labels, weights, projection)
    again = bool(rate and balance.quiz)
    sought = [*parameters.values(), *projection.parameters()]
    lesson = terms.total + student.regularization()
    steps = torch.autograd.grad(lesson, sought, create_graph=again, retain_graph=True, materialize_grads=True)
    pairs = list(zip(parameters.items(), steps, strict=False))
    temporary = {name: (p - rate * step).detach().requires_grad_() for (name, p), step in pairs}
    with _without_dropout(student), torch.set_grad_enabled(again):
        exam = hard_loss(_call(student, temporary, quiz.gsr).logits, quiz.labels)

    if again:
        direction = torch.autograd.grad(exam, list(temporary.values()), materialize_grads=True)
        moved = [(step, v) for step, v in zip(steps, direction, strict=False) if step.requires_grad]
        pulls = torch.autograd.grad(
            [step for step, _ in moved], told, [v for _, v in moved], retain_graph=True, materialize_grads=True
        )
        along = sum((output * pull).sum() for output, pull in zip(taught, pulls, strict=True))
        loss = loss - balance.quiz * rate * along

    gradients = torch.autograd.grad(loss, list(teacher.parameters()), materialize_grads=True)
    detached = DistillLoss(*(term.detach() for term in terms))
    own_steps = tuple(step.detach() for step in steps)
    return FeedbackGradient(own.detach(), exam.detach(), gradients, learned, detached, own_steps)


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
    """One round: the teacher's step by `feedback_gradient`, and the student's from its present or renewed answers.

    Where renewed, the new teacher answers in the mode it is in, and its batch statistics are left alone by that pass.
    """
    told = feedback_gradient(student, teacher, batch, quiz, rate, weights, projection, balance)
    _apply(teacher_optimizer, teacher.parameters(), told.gradients)
    sought = [*student.parameters(), *projection.parameters()]
    steps = told.steps
    if renewed:
        with torch.no_grad():
            taught: Output = functional_call(teacher, _copies(teacher), (batch.eeg, batch.gsr))
        terms = distill_loss(told.learned, taught, batch.labels, weights, projection)
        steps = torch.autograd.grad(terms.total + student.regularization(), sought, materialize_grads=True)
        told = told._replace(terms=DistillLoss(*(term.detach() for term in terms)), steps=steps)
    _apply(student_optimizer, sought, steps)
    return told


def _apply(optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], gradients: Sequence[Tensor]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _copies(network: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in network.named_buffers()}


def _call(student: Network, parameters: Mapping[str, Tensor], gsr: Tensor) -> Output:
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
