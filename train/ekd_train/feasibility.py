"""Checks that data and settings fit each other, before windows are converted. Importable without torch."""

from ekd_edge.errors import ConfigError, DataError
from ekd_train.config import TrainConfig
from ekd_train.data.source import Source
from ekd_train.data.splits import Split, SubjectSplit
from firmware_bridge.suggestions import did_you_mean

__all__ = ["check_split", "check_targets"]


def check_targets(config: TrainConfig, source: Source) -> None:
    """Raise ConfigError if the data has no ratings of a target, DataError where a cell of it is not a rating."""
    for target in config.targets:
        if target in source.refused_targets:
            raise DataError(source.refused_targets[target])
        if target not in source.targets:
            raise ConfigError(
                f"{source.name} has no ratings of {target!r}: choose {', '.join(source.targets)}"
                f"{did_you_mean(target, source.targets)}"
            )


def check_split(config: TrainConfig, split: Split, has_eeg: bool) -> None:
    """Raise ConfigError if the split leaves too few subjects.

    Args:
        config: the settings.
        split: the subjects on each side.
        has_eeg: whether the data has a teacher, so that `feedback.every` applies.

    Raises:
        ConfigError: no validation subject, or fewer than two training subjects for adaptive feedback.
    """
    if not isinstance(split, SubjectSplit):
        return
    if not split.validation:
        raise ConfigError(
            f"{len(split.train) + len(split.test)} subjects leave none for validation, which selects the best epoch: "
            "add subjects"
        )
    if has_eeg and config.feedback.every and len(split.train) < 2:
        raise ConfigError(
            f"adaptive feedback needs two training subjects, and this split has {len(split.train)}: add subjects, or "
            "train without it by --set feedback.every=0"
        )
