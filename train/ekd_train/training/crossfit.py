"""Cross-fitted teachers: every window is taught by a teacher that never saw its subject.

A teacher remembers its own training windows, and then its soft labels say no more than the labels do. Here the training
subjects are dealt into groups, a teacher is trained without each, and answers for that group.
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
from ekd_train.training.stages import teach

__all__ = ["cross_fit"]


def cross_fit(
    learning: TrainingData | StackedTrainingData,
    network: NetworkConfig,
    config: TrainConfig,
    state: Path,
    folders: Sequence[Path],
    reporter: Reporter,
) -> list[CrossFitted]:
    """Train `distill.crossfit` teachers for each fold, or load those that are there.

    state: where unfinished epochs are kept; folders: where each fold's crossfit-NUMBER.safetensors go.
    Raises ConfigError where a fold has fewer training subjects than groups.
    """
    groups = [_groups(fold, config) for fold in learning.folds]
    found: list[list[Teacher]] = [[] for _ in learning.folds]
    for number in range(config.distill.crossfit):
        name = f"crossfit-{number}"
        paths = [folder / f"{name}.safetensors" for folder in folders]
        if not all(path.is_file() for path in paths):
            rest = [
                replace(fold, train=fold.train.without(mine[number]))
                for fold, mine in zip(learning.folds, groups, strict=True)
            ]
            apart = rest[0] if isinstance(learning, TrainingData) else StackedTrainingData(rest)
            trained, _ = teach(apart, network, config, state, reporter, name)
            members = trained.members() if isinstance(trained, Stack) else [trained]
            for path, member in zip(paths, members, strict=True):
                save_weights(path, member)
            checkpoint_path(state, name).unlink(missing_ok=True)
        for path, teachers in zip(paths, found, strict=True):
            teacher = Teacher(network)
            load_weights(path, teacher)
            teachers.append(teacher.to(learning.train.device))
    return [CrossFitted(teachers, mine) for teachers, mine in zip(found, groups, strict=True)]


def _groups(learning: TrainingData, config: TrainConfig) -> list[list[str]]:
    """The training subjects, dealt into groups at random."""
    subjects, count = learning.train.subjects, config.distill.crossfit
    if len(subjects) < count:
        raise ConfigError(
            f"{count} cross-fitted teachers need as many training subjects, there are {len(subjects)}: "
            "set distill.crossfit lower"
        )
    order = np.random.default_rng(seed_of(config.seed, "crossfit")).permutation(len(subjects))
    return [[subjects[k] for k in order[number::count]] for number in range(count)]
