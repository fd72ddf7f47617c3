"""Cross-fitted teachers: each window's soft labels come from a teacher that was not trained on its subject.

A teacher memorizes its own training windows, so its soft labels for them add little to the labels. Here the training
subjects are divided into groups. For each group a teacher is trained on all others, and it predicts that group.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ekd_edge.errors import ConfigError
from ekd_train.checkpoint import checkpoint_path, load_weights, save_weights
from ekd_train.config import TrainConfig
from ekd_train.models.config import NetworkConfig
from ekd_train.models.stacked import Stack
from ekd_train.models.teacher import CrossFitted, Teacher
from ekd_train.training.loop import Reporter, seed_of
from ekd_train.training.partitions import StackedTrainingData, TrainingData
from ekd_train.training.stages import train_teacher

__all__ = ["cross_fit"]


def cross_fit(
    training_data: TrainingData | StackedTrainingData,
    network: NetworkConfig,
    config: TrainConfig,
    state: Path,
    folders: Sequence[Path],
    reporter: Reporter,
) -> list[CrossFitted]:
    """Train `distill.crossfit` teachers for each fold, or load the finished ones.

    Args:
        training_data: of one fold or of several stacked folds.
        network: the shape of the teachers.
        config: the settings.
        state: folder of the checkpoints.
        folders: each fold's folder of crossfit-NUMBER.safetensors.
        reporter: shows progress.

    Returns:
        The cross-fitted teachers of each fold.

    Raises:
        ConfigError: a fold has fewer training subjects than groups.
    """
    groups = [_groups(fold, config) for fold in training_data.folds]
    teachers_by_fold: list[list[Teacher]] = [[] for _ in training_data.folds]
    for number in range(config.distill.crossfit):
        name = f"crossfit-{number}"
        paths = [folder / f"{name}.safetensors" for folder in folders]
        if not all(path.is_file() for path in paths):
            remaining = [
                replace(fold, train=fold.train.without(fold_groups[number]))
                for fold, fold_groups in zip(training_data.folds, groups, strict=True)
            ]
            reduced = remaining[0] if isinstance(training_data, TrainingData) else StackedTrainingData(remaining)
            trained, _ = train_teacher(reduced, network, config, state, reporter, name)
            members = trained.members() if isinstance(trained, Stack) else [trained]
            for path, member in zip(paths, members, strict=True):
                save_weights(path, member)
            checkpoint_path(state, name).unlink(missing_ok=True)
        for path, teachers in zip(paths, teachers_by_fold, strict=True):
            teacher = Teacher(network)
            load_weights(path, teacher)
            teachers.append(teacher.to(training_data.train.device))
    return [CrossFitted(teachers, held_out) for teachers, held_out in zip(teachers_by_fold, groups, strict=True)]


def _groups(training_data: TrainingData, config: TrainConfig) -> list[list[str]]:
    """The training subjects, divided into groups at random."""
    subjects, count = training_data.train.subjects, config.distill.crossfit
    if len(subjects) < count:
        raise ConfigError(
            f"{count} cross-fitted teachers need as many training subjects, but there are {len(subjects)}: "
            "set distill.crossfit lower"
        )
    order = np.random.default_rng(seed_of(config.seed, "crossfit")).permutation(len(subjects))
    return [[subjects[k] for k in order[number::count]] for number in range(count)]
