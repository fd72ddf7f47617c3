"""Evaluation: on validation subjects after every epoch, on the test subjects once at the end."""

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ekd_edge.metrics import evaluate
from ekd_train.models.batchnorm import recompute_statistics
from ekd_train.models.config import Output
from ekd_train.models.stacked import Network, Stack
from ekd_train.models.student import Student
from ekd_train.models.teacher import CrossFitted, Teacher
from ekd_train.training.distillation import hard_loss
from ekd_train.training.partitions import StackedTrainingData, TestData, TrainingData, WindowSubset

__all__ = ["TeacherNetwork", "evaluate_on_test", "predictions", "validate"]

_BATCH = 256
_GPU_BATCH = 2048
_SETTLING_WINDOWS = 1024


TeacherNetwork = Teacher | Student | CrossFitted
"""Networks from which a student can be distilled."""


def predictions(network: TeacherNetwork, subset: WindowSubset) -> Output:
    """The outputs for all windows of a subset, in inference mode, on the subset's device.

    Each cross-fitted teacher predicts its held-out subjects, which together must be all subjects of the subset.
    """
    network.eval()
    if not isinstance(network, CrossFitted):
        return _predictions(network, subset, subset.everything())
    choices = [subset.of(subjects) for subjects in network.held_out_subjects]
    each = [_predictions(teacher, subset, choice) for teacher, choice in zip(network.teachers, choices, strict=True)]
    order = torch.cat(choices).argsort()
    return Output(*(torch.cat(column)[order] for column in zip(*each, strict=True)))


@torch.no_grad()
def _predictions(network: Student | Teacher, subset: WindowSubset, choice: Tensor) -> Output:
    pieces = [_forward(network, subset, piece) for piece in choice.split(_batch(subset))]
    return Output(*(torch.cat(column) for column in zip(*pieces, strict=True)))


def validate(network: Network, training_data: TrainingData | StackedTrainingData) -> tuple[dict[str, float], ...]:
    """Scores of each network on the validation windows: loss, accuracy and macro-F1 (means over subjects and targets).

    Batch statistics are first updated on training windows. The network stays in inference mode.
    """
    network.eval()
    if not isinstance(network, Stack):
        return (_validate(network, training_data.folds[0]),)
    scores = []
    for number, (member, fold) in enumerate(zip(network.members(), training_data.folds, strict=True)):
        scores.append(_validate(member, fold))
        network.set_statistics(number, member)
    return tuple(scores)


def _validate(network: Student | Teacher, training_data: TrainingData) -> dict[str, float]:
    train = training_data.train
    picked = torch.linspace(0, len(train) - 1, min(_SETTLING_WINDOWS, len(train)), device=train.device)
    recompute_statistics(network, lambda batch: _forward(network, train, batch), picked.long().split(_BATCH))
    return _score(network, training_data.validation)[0]


def evaluate_on_test(network: Student | Teacher, test_data: TestData) -> dict[str, Any]:
    """Scores on the test windows, JSON-ready: the means as of `validate`, and every subject's scores for each target.

    "confusion" has one row for each true class and one column for each predicted class. "states" has the means of a
    student, with the numbers of windows and subjects, in each state of the normalization, if they are known.
    """
    means, targets = _score(network, test_data.subset)
    states = {
        state: {**_score(network, subset)[0], "windows": len(subset), "subjects": len(subset.subjects)}
        for state, subset in test_data.states.items()
        if isinstance(network, Student)
    }
    result = {**means, "subjects": len(test_data.subset.subjects), "targets": targets}
    return result | ({"states": states} if states else {})


def _score(network: Student | Teacher, subset: WindowSubset) -> tuple[dict[str, float], dict[str, Any]]:
    network.eval()
    logits = torch.cat([_logits(network, subset, piece) for piece in subset.everything().split(_batch(subset))])
    labels, outputs = subset.labels.cpu().numpy(), logits.float().cpu().numpy()
    names = network.config.targets
    scores = evaluate(names, labels, subset.subject, outputs)
    means = {
        "loss": float(hard_loss(logits, subset.labels)),
        "accuracy": float(np.mean([target.accuracy for target in scores.targets])),
        "macro_f1": float(np.mean([target.macro_f1 for target in scores.targets])),
    }
    predicted, classes = outputs.argmax(2), outputs.shape[2]
    detailed: dict[str, Any] = {}
    for column, target in enumerate(scores.targets):
        entry = asdict(target)
        for subject in entry["subjects"]:
            mine = subset.subject == subject["subject"]
            cells = labels[mine, column] * classes + predicted[mine, column]
            subject["confusion"] = np.bincount(cells, minlength=classes**2).reshape(classes, classes).tolist()
        detailed[target.target] = entry
    return means, detailed


def _batch(subset: WindowSubset) -> int:
    return _BATCH if subset.device.type == "cpu" else _GPU_BATCH


@torch.no_grad()
def _logits(network: Student | Teacher, subset: WindowSubset, positions: Tensor) -> Tensor:
    return _forward(network, subset, positions).logits


def _forward(network: Student | Teacher, subset: WindowSubset, positions: Tensor) -> Output:
    output: Output
    if isinstance(network, Teacher):
        batch = subset.take(positions)
        output = network(batch.eeg, batch.gsr)
    else:
        output = network(subset.take_gsr(positions)[0])
    return output
