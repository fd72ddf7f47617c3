"""The stages of training: `train_teacher` and `train_student`. Both take training data and never test data."""

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
from ekd_train.settings.sections import DistillConfig
from ekd_train.training.device import Means, arithmetic, batch_size
from ekd_train.training.distillation import (
    DistillLoss,
    PoolProjection,
    build_projection,
    hard_loss,
    kd_step,
    label_step,
)
from ekd_train.training.evaluation import TeacherNetwork, predictions, validate
from ekd_train.training.feedback import Batch, feedback_step
from ekd_train.training.loop import Fitted, Reporter, Stage, fit, seed_of
from ekd_train.training.partitions import StackedTrainingData, TrainingData, endless

__all__ = ["train_student", "train_teacher"]

Step = Callable[[int, Tensor], Mapping[str, Tensor]]
"""(index of the batch in its epoch, positions of its windows) -> losses."""

_STAGE_TABLES = ("teacher", "student", "distill", "feedback")


def train_teacher(
    training_data: TrainingData | StackedTrainingData,
    network: NetworkConfig,
    config: TrainConfig,
    folder: Path,
    reporter: Reporter,
    name: str = "teacher",
) -> tuple[Network, tuple[Fitted, ...]]:
    """Train the teacher of each fold on the rated training windows.

    Args:
        training_data: of one fold or of several stacked folds.
        network: the shape of the teacher.
        config: the settings.
        folder: of the checkpoint that each epoch writes.
        reporter: shows progress.
        name: of the stage and its checkpoint.

    Returns:
        The teacher (a `Stack` for several folds) and the result of each fold.
    """
    train = training_data.train
    teacher = _start(lambda: Teacher(network), "teacher", training_data, config)
    stepping = _compiled(teacher, config)
    optimizer = _adam(teacher.parameters(), config.teacher.learning_rate)
    rated = train.rated()
    size = batch_size(config.teacher.batch_size, train.count(rated))

    def run_epoch(epoch: int, on_batch: Callable[[], None]) -> Mapping[str, float]:
        mean = Means(len(training_data.folds))
        teacher.train()
        for positions in train.batches(rated, size):
            with arithmetic(train.device, config.compute.precision):
                mean.add(loss=_task_step(stepping, optimizer, train.take(positions))[0])
            on_batch()
        return mean.values()

    stage = Stage(
        name=name,
        stream="teacher",
        identity=_identity(training_data, network, config, ("teacher",)),
        epochs=config.teacher.epochs,
        batches_per_epoch=train.count(rated) // size,
        modules={"teacher": teacher},
        optimizers={"teacher": optimizer},
        keep=teacher,
        run_epoch=run_epoch,
        validate=lambda: validate(teacher, training_data),
        patience=config.teacher.patience,
        choose_by=config.teacher.choose_by,
    )
    return teacher, fit(stage, folder, config.seed, reporter)


def train_student(
    training_data: TrainingData | StackedTrainingData,
    network: NetworkConfig,
    config: TrainConfig,
    teachers: Sequence[TeacherNetwork],
    folder: Path,
    reporter: Reporter,
    name: str = "student",
) -> tuple[Network, tuple[Fitted, ...]]:
    """Train the student of each fold: from the labels, or by distillation if there are teachers.

    Without feedback (feedback.every = 0) the teachers predict all windows once. With feedback they are trained, too. A
    `Student` as teacher gives self-distillation.

    Args:
        training_data: of one fold or of several stacked folds.
        network: the shape of the student.
        config: the settings.
        teachers: one for each fold, or none.
        folder: of the checkpoint that each epoch writes.
        reporter: shows progress.
        name: of the stage and its checkpoint.

    Returns:
        The student (a `Stack` for several folds) and the result of each fold.

    Raises:
        ConfigError: a learned projection or a compiled network was combined with several folds, or adaptive feedback
            has fewer than two rated training subjects.
    """
    train, folds = training_data.train, len(training_data.folds)
    identity = _identity(training_data, network, config, ("student", "distill", "feedback"), teachers)
    student = _start(lambda: Student(network), "student", training_data, config)
    modules: dict[str, nn.Module] = {"student": student}
    learned = train.everything() if config.distill.unrated and teachers else train.rated()
    size = batch_size(config.student.batch_size, train.count(learned))
    weights = config.distill
    optimizers: dict[str, torch.optim.Optimizer] = {}
    choose: Callable[[int], Tensor] = lambda epoch: learned  # noqa: E731
    share = 1.0
    if not teachers:
        optimizers["student"] = _adam(student.parameters(), config.student.learning_rate)
        step = _from_labels(training_data, _compiled(student, config), optimizers["student"], weights)
    else:
        projection = _projection(config, network, teachers[0]).to(train.device)
        if folds > 1 and list(projection.parameters()):
            raise ConfigError("a learned projection cannot be trained for stacked folds: leave --stack out")
        modules["projection"] = projection
        optimizers["student"] = _adam([*student.parameters(), *projection.parameters()], config.student.learning_rate)
        trained_teachers = [each.to(train.device) for each in teachers if isinstance(each, Teacher)]
        if config.feedback.every and trained_teachers:
            teacher = assemble(trained_teachers, folds > 1).eval()
            modules["teacher"] = teacher
            optimizers["teacher"] = _adam(teacher.parameters(), config.feedback.teacher_learning_rate)
            rotation = _QuizRotation(training_data, learned, config)
            choose, share = rotation.begin, 1 - config.feedback.quiz_fraction
            step = _with_feedback(rotation, student, teacher, projection, optimizers, weights)
        else:
            stepping = _compiled(student, config)
            step = _from_fixed_teachers(training_data, stepping, teachers, projection, optimizers["student"], weights)

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
        batches_per_epoch=max(1, int(share * train.count(learned)) // size),
        modules=modules,
        optimizers=optimizers,
        keep=student,
        run_epoch=run_epoch,
        validate=lambda: validate(student, training_data),
        patience=config.student.patience,
        choose_by=config.student.choose_by,
    )
    return student, fit(stage, folder, config.seed, reporter)


def _identity(
    training_data: TrainingData | StackedTrainingData,
    network: NetworkConfig,
    config: TrainConfig,
    tables: Sequence[str],
    teachers: Sequence[TeacherNetwork] = (),
) -> str:
    """A hash of everything that a stage's weights depend on; tables: configuration tables that only some stages read.

    Windows enter by their index in the dataset, which must not change while its name stays the same.
    """
    shared = replace(config, **{name: getattr(TrainConfig(), name) for name in _STAGE_TABLES}).to_json()
    own = {name: asdict(getattr(config, name)) for name in tables}
    subsets = [subset.identity for fold in training_data.folds for subset in (fold.train, fold.validation)]
    digest = hashlib.sha256(json.dumps([shared, asdict(network), own, subsets]).encode())
    for teacher in teachers:
        for name, tensor in teacher.state_dict().items():
            digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def _start(
    make: Callable[[], Teacher | Student],
    stream: str,
    training_data: TrainingData | StackedTrainingData,
    config: TrainConfig,
) -> Network:
    """A new network, or a stack of one for each fold; all start from the same weights."""
    members = []
    for _ in training_data.folds:
        torch.manual_seed(seed_of(config.seed, stream, "weights"))
        members.append(make().to(training_data.train.device))
    return assemble(members, len(members) > 1)


def _compiled(network: Network, config: TrainConfig) -> Network:
    """The network, compiled for its training steps if `compute.compile` is set."""
    if not config.compute.compile:
        return network
    if isinstance(network, Stack):
        raise ConfigError("stacked folds cannot be compiled: set compute.compile=false or leave --stack out")
    compiled: Network = torch.compile(network)  # type: ignore[assignment]
    return compiled


def _from_labels(
    training_data: TrainingData | StackedTrainingData,
    student: Network,
    optimizer: torch.optim.Optimizer,
    weights: DistillConfig,
) -> Step:
    def step(number: int, positions: Tensor) -> Mapping[str, Tensor]:
        gsr, labels = training_data.train.take_gsr(positions)
        return {"hard": label_step(student, optimizer, gsr, labels, weights.label_smoothing).hard}

    return step


def _from_fixed_teachers(
    training_data: TrainingData | StackedTrainingData,
    student: Network,
    teachers: Sequence[TeacherNetwork],
    projection: nn.Module,
    optimizer: torch.optim.Optimizer,
    weights: DistillConfig,
) -> Step:
    """A step towards fixed teachers: their outputs are computed once, and projected in advance if possible."""
    fixed = [
        predictions(each.to(training_data.train.device), fold.train)
        for each, fold in zip(teachers, training_data.folds, strict=True)
    ]
    if isinstance(projection, PoolProjection):
        fixed, projection = [Output(each.logits, projection(each.feature)) for each in fixed], nn.Identity()

    def teacher_output_at(positions: Tensor) -> Output:
        rows = positions.view(len(fixed), -1)
        selected = [(each.logits[mine], each.feature[mine]) for each, mine in zip(fixed, rows, strict=True)]
        if len(fixed) == 1:
            return Output(*selected[0])
        return Output(*(torch.stack(column) for column in zip(*selected, strict=True)))

    def step(number: int, positions: Tensor) -> Mapping[str, Tensor]:
        gsr, labels = training_data.train.take_gsr(positions)
        return _losses(kd_step(student, optimizer, gsr, labels, teacher_output_at(positions), weights, projection))

    return step


class _QuizRotation:
    """Divides the training subjects of each epoch into those to learn from and those for the quiz."""

    def __init__(self, training_data: TrainingData | StackedTrainingData, learned: Tensor, config: TrainConfig) -> None:
        self.training_data, self.config = training_data, config
        self._learned = learned

    def begin(self, epoch: int) -> Tensor:
        """Start an epoch and return the choice to learn from."""
        train, config = self.training_data.train, self.config
        learned, quizzing = train.quiz_choice(self._learned, epoch, config.feedback.quiz_fraction)
        size = config.feedback.quiz_batch_size or config.student.batch_size
        self._quizzes = endless(train, quizzing, size)
        return learned

    def quiz(self) -> Batch:
        """The next quiz batch."""
        return next(self._quizzes)


def _with_feedback(
    rotation: _QuizRotation,
    student: Network,
    teacher: Network,
    projection: nn.Module,
    optimizers: Mapping[str, torch.optim.Optimizer],
    weights: DistillConfig,
) -> Step:
    feedback = rotation.config.feedback

    def step(number: int, positions: Tensor) -> Mapping[str, Tensor]:
        batch = rotation.training_data.train.take(positions)
        if number % feedback.every == 0:
            result = feedback_step(
                student, teacher, optimizers["student"], optimizers["teacher"], batch, rotation.quiz(),
                feedback.inner_learning_rate, weights, projection, feedback, feedback.renewed,
            )  # fmt: skip
            return {"teacher": result.own, "quiz": result.quiz, **_losses(result.terms)}
        own, teacher_output = _task_step(teacher, optimizers["teacher"], batch)
        terms = kd_step(student, optimizers["student"], batch.gsr, batch.labels, teacher_output, weights, projection)
        return {"teacher": own, **_losses(terms)}

    return step


def _task_step(teacher: Network, optimizer: torch.optim.Optimizer, batch: Batch) -> tuple[Tensor, Output]:
    """One step of the teacher from its own loss; returns the loss and the outputs before the step."""
    teacher_output: Output = teacher(batch.eeg, batch.gsr)
    loss = hard_loss(teacher_output.logits, batch.labels)
    optimizer.zero_grad(set_to_none=True)
    (loss + teacher.regularization()).backward()
    optimizer.step()
    return loss.detach(), teacher_output


def _losses(terms: DistillLoss) -> dict[str, Tensor]:
    return {"hard": terms.hard, "soft": terms.soft, "feature": terms.feature}


def _projection(config: TrainConfig, network: NetworkConfig, teacher: TeacherNetwork) -> nn.Module:
    if isinstance(teacher, Student):
        return nn.Identity()
    return build_projection(config.distill.projection, network)


def _adam(parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Adam:
    return torch.optim.Adam(parameters, lr=learning_rate, fused=True)
