"""How well a network does: on validation subjects after every epoch, on the test subjects once, at the end."""

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ekd_edge.metrics import evaluate
from ekd_train.models.batchnorm import settle_statistics
from ekd_train.models.config import Output
from ekd_train.models.stacked import Network, Stack
from ekd_train.models.student import Student
from ekd_train.models.teacher import CrossFitted, Teacher
from ekd_train.training.distillation import hard_loss
from ekd_train.training.partitions import Part, StackedTrainingData, TestData, TrainingData

__all__ = ["Taught", "answers", "examine", "validate"]

_BATCH = 256
_GPU_BATCH = 2048
_SETTLING_WINDOWS = 1024


Taught = Teacher | Student | CrossFitted
"""Whoever can teach a student."""


def answers(network: Taught, part: Part) -> Output:
    """The outputs for all windows of a part, in inference mode, on the part's device.

    Cross-fitted teachers answer each for its subjects, who must be all of the part's.
    """
    network.eval()
    if not isinstance(network, CrossFitted):
        return _answers(network, part, part.everything())
    choices = [part.of(subjects) for subjects in network.answers_for]
    each = [_answers(teacher, part, choice) for teacher, choice in zip(network.teachers, choices, strict=True)]
    order = torch.cat(choices).argsort()
    return Output(*(torch.cat(column)[order] for column in zip(*each, strict=True)))


@torch.no_grad()
def _answers(network: Student | Teacher, part: Part, choice: Tensor) -> Output:
    pieces = [_forward(network, part, piece) for piece in choice.split(_batch(part))]
    return Output(*(torch.cat(column) for column in zip(*pieces, strict=True)))


def validate(network: Network, learning: TrainingData | StackedTrainingData) -> tuple[dict[str, float], ...]:
    """Scores on the validation windows, of each network: loss; accuracy and macro-F1, means over subjects and targets.

    BatchNorm's statistics are first brought up to date on training windows, and the network is left in inference mode.
    """
    network.eval()
    if not isinstance(network, Stack):
        return (_validate(network, learning.folds[0]),)
    scores = []
    for number, (member, fold) in enumerate(zip(network.members(), learning.folds, strict=True)):
        scores.append(_validate(member, fold))
        network.take_statistics(number, member)
    return tuple(scores)


def _validate(network: Student | Teacher, learning: TrainingData) -> dict[str, float]:
    train = learning.train
    picked = torch.linspace(0, len(train) - 1, min(_SETTLING_WINDOWS, len(train)), device=train.device)
    settle_statistics(network, lambda batch: _forward(network, train, batch), picked.long().split(_BATCH))
    return _score(network, learning.validation)[0]


def examine(network: Student | Teacher, exam: TestData) -> dict[str, Any]:
    """Scores on the test windows, JSON-ready: the means of `validate`, and for each target every subject's scores.

    "confusion" has a row a true class and a column a predicted one.
    """
    means, targets = _score(network, exam.part)
    return {**means, "subjects": len(exam.part.subjects), "targets": targets}


def _score(network: Student | Teacher, part: Part) -> tuple[dict[str, float], dict[str, Any]]:
    network.eval()
    logits = torch.cat([_logits(network, part, piece) for piece in part.everything().split(_batch(part))])
    labels, outputs = part.labels.cpu().numpy(), logits.float().cpu().numpy()
    names = network.config.targets
    scores = evaluate(names, labels, part.subject, outputs)
    means = {
        "loss": float(hard_loss(logits, part.labels)),
        "accuracy": float(np.mean([target.accuracy for target in scores.targets])),
        "macro_f1": float(np.mean([target.macro_f1 for target in scores.targets])),
    }
    predicted, classes = outputs.argmax(2), outputs.shape[2]
    detailed: dict[str, Any] = {}
    for column, target in enumerate(scores.targets):
        entry = asdict(target)
        for subject in entry["subjects"]:
            mine = part.subject == subject["subject"]
            cells = labels[mine, column] * classes + predicted[mine, column]
            subject["confusion"] = np.bincount(cells, minlength=classes**2).reshape(classes, classes).tolist()
        detailed[target.target] = entry
    return means, detailed


def _batch(part: Part) -> int:
    return _BATCH if part.device.type == "cpu" else _GPU_BATCH


@torch.no_grad()
def _logits(network: Student | Teacher, part: Part, positions: Tensor) -> Tensor:
    return _forward(network, part, positions).logits


def _forward(network: Student | Teacher, part: Part, positions: Tensor) -> Output:
    output: Output
    if isinstance(network, Teacher):
        batch = part.take(positions)
        output = network(batch.eeg, batch.gsr)
    else:
        output = network(part.take_gsr(positions)[0])
    return output
