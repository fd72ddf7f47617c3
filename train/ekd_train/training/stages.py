"""The stages of training, as functions of what training may see: the teacher's own, and the student's distillation."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ekd_edge.errors import ConfigError
from ekd_train.config import TrainConfig
from ekd_train.models.config import NetworkConfig, Output
from ekd_train.models.stacked import Network, Stack, assemble
from ekd_train.models.student import Student
from ekd_train.models.teacher import Teacher
from ekd_train.settings import DistillConfig
from ekd_train.training.device import Means, arithmetic, batch_size
from ekd_train.training.distillation import (
    DistillLoss,
    PoolProjection,
    build_projection,
    hard_loss,
    kd_step,
    label_step,
)
from ekd_train.training.evaluation import Taught, answers, validate
from ekd_train.training.feedback import Batch, feedback_step
from ekd_train.training.loop import Fitted, Reporter, Stage, fit, seed_of
from ekd_train.training.partitions import StackedTrainingData, TrainingData, endless

__all__ = ["distil", "teach"]

Step = Callable[[int, Tensor], Mapping[str, Tensor]]
"""(number of the batch in its epoch, positions of its windows) -> losses."""

_STAGE_TABLES = ("teacher", "student", "distill", "feedback")


def teach(
    learning: TrainingData | StackedTrainingData,
    network: NetworkConfig,
    config: TrainConfig,
    folder: Path,
    reporter: Reporter,
    name: str = "teacher",
) -> tuple[Network, tuple[Fitted, ...]]:
    """Train the teacher (of each fold) on the rated training windows; its state is kept in `folder` between epochs."""
    train = learning.train
    teacher = _start(lambda: Teacher(network), "teacher", learning, config)
    stepping = _compiled(teacher, config)
    optimizer = _adam(teacher.parameters(), config.teacher.learning_rate)
    rated = train.rated()
    size = batch_size(config.teacher.batch_size, train.count(rated))

    def run_epoch(epoch: int, on_batch: Callable[[], None]) -> Mapping[str, float]:
        mean = Means(len(learning.folds))
        teacher.train()
        for positions in train.batches(rated, size):
            with arithmetic(train.device, config.compute.precision):
                mean.add(loss=_task_step(stepping, optimizer, train.take(positions))[0])
            on_batch()
        return mean.values()

    stage = Stage(
        name=name,
        stream="teacher",
        identity=_identity(learning, network, config, ("teacher",)),
        epochs=config.teacher.epochs,
        batches_per_epoch=train.count(rated) // size,
        modules={"teacher": teacher},
        optimizers={"teacher": optimizer},
        keep=teacher,
        run_epoch=run_epoch,
        validate=lambda: validate(teacher, learning),
        patience=config.teacher.patience,
    )
    return teacher, fit(stage, folder, config.seed, reporter)


def distil(
    learning: TrainingData | StackedTrainingData,
    network: NetworkConfig,
    config: TrainConfig,
    teachers: Sequence[Taught],
    folder: Path,
    reporter: Reporter,
    name: str = "student",
) -> tuple[Network, tuple[Fitted, ...]]:
    """Train a student (of each fold): from the labels alone where there are no teachers, else with their help.

    teachers: one for each fold. Those that do not listen (feedback.every = 0) answer once, for all windows; those that
    do are changed. A `Student` as teacher makes self-distillation. name: of the stage and its checkpoint in `folder`.
    """
    train, folds = learning.train, len(learning.folds)
    identity = _identity(learning, network, config, ("student", "distill", "feedback"), teachers)
    student = _start(lambda: Student(network), "student", learning, config)
    modules: dict[str, nn.Module] = {"student": student}
    learners = train.everything() if config.distill.unrated and teachers else train.rated()
    size = batch_size(config.student.batch_size, train.count(learners))
    weights = config.distill
    optimizers: dict[str, torch.optim.Optimizer] = {}
    choose: Callable[[int], Tensor] = lambda epoch: learners  # noqa: E731
    share = 1.0
    if not teachers:
        optimizers["student"] = _adam(student.parameters(), config.student.learning_rate)
        step = _from_labels(learning, _compiled(student, config), optimizers["student"], weights)
    else:
        projection = _projection(config, network, teachers[0]).to(train.device)
        if folds > 1 and list(projection.parameters()):
            raise ConfigError("a learned projection cannot be trained for folds side by side: leave --stack out")
        modules["projection"] = projection
        optimizers["student"] = _adam([*student.parameters(), *projection.parameters()], config.student.learning_rate)
        listeners = [each.to(train.device) for each in teachers if isinstance(each, Teacher)]
        if config.feedback.every and listeners:
            teacher = assemble(listeners, folds > 1).eval()
            modules["teacher"] = teacher
            optimizers["teacher"] = _adam(teacher.parameters(), config.feedback.teacher_learning_rate)
            lessons = _Lessons(learning, learners, config)
            choose, share = lessons.begin, 1 - config.feedback.quiz_fraction
            step = _with_feedback(lessons, student, teacher, projection, optimizers, weights)
        else:
            stepping = _compiled(student, config)
            step = _from_answers(learning, stepping, teachers, projection, optimizers["student"], weights)

    def run_epoch(epoch: int, on_batch: Callable[[], None]) -> Mapping[str, float]:
        mean = Means(folds)
        student.train()
        chosen = choose(epoch)
        for number, positions in enumerate(train.batches(chosen, batch_size(size, train.count(chosen)))):
            with arithmetic(train.device, config.compute.precision):
                mean.add(**step(number, positions))
            on_batch()
        return mean.values()

    stage = Stage(
        name=name,
        stream="student",
        identity=identity,
        epochs=config.student.epochs,
        batches_per_epoch=max(1, int(share * train.count(learners)) // size),
        modules=modules,
        optimizers=optimizers,
        keep=student,
        run_epoch=run_epoch,
        validate=lambda: validate(student, learning),
        patience=config.student.patience,
    )
    return student, fit(stage, folder, config.seed, reporter)


def _identity(
    learning: TrainingData | StackedTrainingData,
    network: NetworkConfig,
    config: TrainConfig,
    tables: Sequence[str],
    teachers: Sequence[Taught] = (),
) -> str:
    """Changes with all that a stage's weights depend on; tables: those of the configuration that only some stages read.

    Windows count by their number in the data, which is taken to be the same as long as its name is.
    """
    shared = replace(config, **{name: getattr(TrainConfig(), name) for name in _STAGE_TABLES}).to_json()
    own = {name: asdict(getattr(config, name)) for name in tables}
    parts = [part.identity for fold in learning.folds for part in (fold.train, fold.validation)]
    digest = hashlib.sha256(json.dumps([shared, asdict(network), own, parts]).encode())
    for teacher in teachers:
        for name, tensor in teacher.state_dict().items():
            digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def _start(
    make: Callable[[], Teacher | Student],
    stream: str,
    learning: TrainingData | StackedTrainingData,
    config: TrainConfig,
) -> Network:
    """A fresh network, or one for each fold; all start from the same weights."""
    members = []
    for _ in learning.folds:
        torch.manual_seed(seed_of(config.seed, stream, "weights"))
        members.append(make().to(learning.train.device))
    return assemble(members, len(members) > 1)


def _compiled(network: Network, config: TrainConfig) -> Network:
    """The same network, compiled for its training steps where that is asked for."""
    if not config.compute.compile:
        return network
    if isinstance(network, Stack):
        raise ConfigError("folds side by side cannot be compiled: set compute.compile=false or leave --stack out")
    compiled: Network = torch.compile(network)  # type: ignore[assignment]
    return compiled


def _from_labels(
    learning: TrainingData | StackedTrainingData,
    student: Network,
    optimizer: torch.optim.Optimizer,
    weights: DistillConfig,
) -> Step:
    def step(number: int, positions: Tensor) -> Mapping[str, Tensor]:
        gsr, labels = learning.train.take_gsr(positions)
        return {"hard": label_step(student, optimizer, gsr, labels, weights.label_smoothing).hard}

    return step


def _from_answers(
    learning: TrainingData | StackedTrainingData,
    student: Network,
    teachers: Sequence[Taught],
    projection: nn.Module,
    optimizer: torch.optim.Optimizer,
    weights: DistillConfig,
) -> Step:
    """Learn from teachers that do not change: their answers are computed once, and kept projected if possible."""
    fixed = [
        answers(each.to(learning.train.device), fold.train) for each, fold in zip(teachers, learning.folds, strict=True)
    ]
    if isinstance(projection, PoolProjection):
        fixed, projection = [Output(each.logits, projection(each.feature)) for each in fixed], nn.Identity()

    def told(positions: Tensor) -> Output:
        rows = positions.view(len(fixed), -1)
        given = [(each.logits[mine], each.feature[mine]) for each, mine in zip(fixed, rows, strict=True)]
        if len(fixed) == 1:
            return Output(*given[0])
        return Output(*(torch.stack(column) for column in zip(*given, strict=True)))

    def step(number: int, positions: Tensor) -> Mapping[str, Tensor]:
        gsr, labels = learning.train.take_gsr(positions)
        return _told(kd_step(student, optimizer, gsr, labels, told(positions), weights, projection))

    return step


class _Lessons:
    """Who learns and who sets the quiz, epoch by epoch."""

    def __init__(self, learning: TrainingData | StackedTrainingData, learners: Tensor, config: TrainConfig) -> None:
        self.learning, self.config = learning, config
        self._learners = learners

    def begin(self, epoch: int) -> Tensor:
        """Start an epoch; returns the choice to learn from."""
        train, config = self.learning.train, self.config
        learners, quizzing = train.quiz_choice(self._learners, epoch, config.feedback.quiz_fraction)
        size = config.feedback.quiz_batch_size or config.student.batch_size
        self._quizzes = endless(train, quizzing, size)
        return learners

    def quiz(self) -> Batch:
        """The next quiz."""
        return next(self._quizzes)


def _with_feedback(
    lessons: _Lessons,
    student: Network,
    teacher: Network,
    projection: nn.Module,
    optimizers: Mapping[str, torch.optim.Optimizer],
    weights: DistillConfig,
) -> Step:
    feedback = lessons.config.feedback

    def step(number: int, positions: Tensor) -> Mapping[str, Tensor]:
        batch = lessons.learning.train.take(positions)
        if number % feedback.every == 0:
            told = feedback_step(
                student, teacher, optimizers["student"], optimizers["teacher"], batch, lessons.quiz(),
                feedback.inner_learning_rate, weights, projection, feedback, feedback.renewed,
            )  # fmt: skip
            return {"teacher": told.own, "quiz": told.quiz, **_told(told.terms)}
        own, taught = _task_step(teacher, optimizers["teacher"], batch)
        terms = kd_step(student, optimizers["student"], batch.gsr, batch.labels, taught, weights, projection)
        return {"teacher": own, **_told(terms)}

    return step


def _task_step(teacher: Network, optimizer: torch.optim.Optimizer, batch: Batch) -> tuple[Tensor, Output]:
    """One step of the teacher from its own loss; returns the loss and the answers it gave before the step."""
    taught: Output = teacher(batch.eeg, batch.gsr)
    loss = hard_loss(taught.logits, batch.labels)
    optimizer.zero_grad(set_to_none=True)
    (loss + teacher.regularization()).backward()
    optimizer.step()
    return loss.detach(), taught


def _told(terms: DistillLoss) -> dict[str, Tensor]:
    return {"hard": terms.hard, "soft": terms.soft, "feature": terms.feature}


def _projection(config: TrainConfig, network: NetworkConfig, teacher: Taught) -> nn.Module:
    if isinstance(teacher, Student):
        return nn.Identity()
    return build_projection(config.distill.projection, network)


def _adam(parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Adam:
    return torch.optim.Adam(parameters, lr=learning_rate, fused=True)
