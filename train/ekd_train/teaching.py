"""The stages of training, as functions of what training may see: the teacher's own, and the student's distillation."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ekd_edge.errors import ConfigError
from ekd_train.config import TrainConfig
from ekd_train.device import Means, batch_size
from ekd_train.distill import (
    DistillLoss,
    DistillWeights,
    PoolProjection,
    build_projection,
    hard_loss,
    kd_step,
    label_step,
)
from ekd_train.exam import answers, validate
from ekd_train.feedback import Batch, FeedbackWeights, feedback_step
from ekd_train.loop import Fitted, Reporter, Stage, batches, fit, seed_of
from ekd_train.network import NetworkConfig, Output
from ekd_train.sides import Learning, endless
from ekd_train.student import Student
from ekd_train.teacher import Teacher

__all__ = ["distil", "teach"]

Step = Callable[[int, Tensor], Mapping[str, Tensor]]
"""(number of the batch in its epoch, positions of its windows) -> losses."""


def teach(
    learning: Learning, network: NetworkConfig, config: TrainConfig, folder: Path, reporter: Reporter
) -> tuple[Teacher, Fitted]:
    """Train the teacher on the rated training windows; its state is kept in `folder` from epoch to epoch."""
    train = learning.train
    torch.manual_seed(seed_of(config.seed, "teacher", "weights"))
    teacher = Teacher(network).to(train.device)
    optimizer = _adam(teacher.parameters(), config.teacher.learning_rate)
    rated = train.rated()
    size = batch_size(config.teacher.batch_size, len(rated))

    def run_epoch(epoch: int, on_batch: Callable[[], None]) -> Mapping[str, float]:
        mean = Means()
        teacher.train()
        for positions in batches(rated, size):
            mean.add(loss=_task_step(teacher, optimizer, train.take(positions))[0])
            on_batch()
        return mean.values()

    stage = Stage(
        name="teacher",
        stream="teacher",
        epochs=config.teacher.epochs,
        batches_per_epoch=len(rated) // size,
        modules={"teacher": teacher},
        optimizers={"teacher": optimizer},
        keep=teacher,
        run_epoch=run_epoch,
        validate=lambda: validate(teacher, learning),
        patience=config.teacher.patience,
    )
    return teacher, fit(stage, folder, config.seed, reporter)


def distil(
    learning: Learning,
    network: NetworkConfig,
    config: TrainConfig,
    teacher: Teacher | Student | None,
    folder: Path,
    reporter: Reporter,
    name: str = "student",
) -> tuple[Student, Fitted]:
    """Train a student: from the labels alone where there is no teacher, else with its help.

    A teacher that does not listen (feedback.every = 0) answers once, for all windows. One that does listen is changed.
    A `Student` as teacher makes self-distillation. name: of the stage and its checkpoint in `folder`.
    """
    train = learning.train
    torch.manual_seed(seed_of(config.seed, "student", "weights"))
    student = Student(network).to(train.device)
    modules: dict[str, nn.Module] = {"student": student}
    learners = train.everything() if config.distill.unrated and teacher is not None else train.rated()
    size = batch_size(config.student.batch_size, len(learners))
    weights = _weights(config)
    optimizers: dict[str, torch.optim.Optimizer] = {}
    choose: Callable[[int], Tensor] = lambda epoch: learners  # noqa: E731
    share = 1.0
    if teacher is None:
        optimizers["student"] = _adam(student.parameters(), config.student.learning_rate)
        step = _from_labels(learning, student, optimizers["student"], weights)
    else:
        projection = _projection(config, network, teacher).to(train.device)
        modules["projection"] = projection
        parameters = [*student.parameters(), *projection.parameters()]
        optimizers["student"] = _adam(parameters, config.student.learning_rate)
        if config.feedback.every and isinstance(teacher, Teacher):
            modules["teacher"] = teacher.eval()
            optimizers["teacher"] = _adam(teacher.parameters(), config.feedback.teacher_learning_rate)
            lessons = _Lessons(learning, learners, config)
            choose, share = lessons.begin, 1 - config.feedback.quiz_fraction
            step = _with_feedback(lessons, student, teacher, projection, optimizers, weights)
        else:
            step = _from_answers(learning, student, teacher, projection, optimizers["student"], weights)

    def run_epoch(epoch: int, on_batch: Callable[[], None]) -> Mapping[str, float]:
        mean = Means()
        student.train()
        for number, positions in enumerate(batches(choose(epoch), size)):
            mean.add(**step(number, positions))
            on_batch()
        return mean.values()

    stage = Stage(
        name=name,
        stream="student",
        epochs=config.student.epochs,
        batches_per_epoch=max(1, int(share * len(learners)) // size),
        modules=modules,
        optimizers=optimizers,
        keep=student,
        run_epoch=run_epoch,
        validate=lambda: validate(student, learning),
        patience=config.student.patience,
    )
    return student, fit(stage, folder, config.seed, reporter)


def _from_labels(
    learning: Learning, student: Student, optimizer: torch.optim.Optimizer, weights: DistillWeights
) -> Step:
    def step(number: int, positions: Tensor) -> Mapping[str, Tensor]:
        gsr, labels = learning.train.take_gsr(positions)
        return {"hard": label_step(student, optimizer, gsr, labels, weights.smoothing).hard}

    return step


def _from_answers(
    learning: Learning,
    student: Student,
    teacher: Teacher | Student,
    projection: nn.Module,
    optimizer: torch.optim.Optimizer,
    weights: DistillWeights,
) -> Step:
    """Learn from a teacher that does not change: its answers are computed once, and kept projected if possible."""
    fixed = answers(teacher, learning.train)
    if isinstance(projection, PoolProjection):
        fixed, projection = Output(fixed.logits, projection(fixed.feature)), nn.Identity()

    def step(number: int, positions: Tensor) -> Mapping[str, Tensor]:
        gsr, labels = learning.train.take_gsr(positions)
        taught = Output(fixed.logits[positions], fixed.feature[positions])
        return _told(kd_step(student, optimizer, gsr, labels, taught, weights, projection))

    return step


class _Lessons:
    """Who learns and who sets the quiz, epoch by epoch: the quizzing subjects rotate."""

    def __init__(self, learning: Learning, learners: Tensor, config: TrainConfig) -> None:
        self.learning, self.config = learning, config
        self._learners = learners
        rated = learning.train.subject[learning.train.rated().cpu().numpy()]
        self._subjects = sorted({str(name) for name in rated})
        if len(self._subjects) < 2:
            raise ConfigError("adaptive feedback needs two rated training subjects: set feedback.every=0")

    def begin(self, epoch: int) -> Tensor:
        """Start an epoch; returns the positions to learn from."""
        train, config = self.learning.train, self.config
        groups = min(max(2, round(1 / config.feedback.quiz_fraction)), len(self._subjects))
        quizzing = train.of(self._subjects[epoch % groups :: groups])
        size = config.feedback.quiz_batch_size or config.student.batch_size
        self._quizzes = endless(train, quizzing, size)
        return self._learners[~torch.isin(self._learners, quizzing)]

    def quiz(self) -> Batch:
        """The next quiz."""
        return next(self._quizzes)


def _with_feedback(
    lessons: _Lessons,
    student: Student,
    teacher: Teacher,
    projection: nn.Module,
    optimizers: Mapping[str, torch.optim.Optimizer],
    weights: DistillWeights,
) -> Step:
    feedback = lessons.config.feedback
    balance = FeedbackWeights(feedback.hard, feedback.quiz)

    def step(number: int, positions: Tensor) -> Mapping[str, Tensor]:
        batch = lessons.learning.train.take(positions)
        if number % feedback.every == 0:
            told = feedback_step(
                student, teacher, optimizers["student"], optimizers["teacher"], batch, lessons.quiz(),
                feedback.inner_learning_rate, weights, projection, balance, feedback.renewed,
            )  # fmt: skip
            return {"teacher": told.own, "quiz": told.quiz, **_told(told.terms)}
        own, taught = _task_step(teacher, optimizers["teacher"], batch)
        terms = kd_step(student, optimizers["student"], batch.gsr, batch.labels, taught, weights, projection)
        return {"teacher": own, **_told(terms)}

    return step


def _task_step(teacher: Teacher, optimizer: torch.optim.Optimizer, batch: Batch) -> tuple[Tensor, Output]:
    """One step of the teacher from its own loss; returns the loss and the answers it gave before the step."""
    taught: Output = teacher(batch.eeg, batch.gsr)
    loss = hard_loss(taught.logits, batch.labels)
    optimizer.zero_grad(set_to_none=True)
    (loss + teacher.regularization()).backward()
    optimizer.step()
    return loss.detach(), taught


def _told(terms: DistillLoss) -> dict[str, Tensor]:
    return {"hard": terms.hard, "soft": terms.soft, "feature": terms.feature}


def _weights(config: TrainConfig) -> DistillWeights:
    distill = config.distill
    return DistillWeights(distill.hard, distill.soft, distill.feature, distill.temperature, distill.label_smoothing)


def _projection(config: TrainConfig, network: NetworkConfig, teacher: Teacher | Student) -> nn.Module:
    if isinstance(teacher, Student):
        return nn.Identity()
    return build_projection(config.distill.projection, network)


def _adam(parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Adam:
    return torch.optim.Adam(parameters, lr=learning_rate, fused=True)
