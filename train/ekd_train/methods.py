"""The training methods that a sweep compares, as named data. Importable without torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ekd_edge.errors import ConfigError
from ekd_train.config import TrainConfig
from firmware_bridge.suggestions import did_you_mean

__all__ = ["METHODS", "Method", "choose_methods", "settings_of"]

TaughtBy = Literal["none", "teacher", "student", "crossfit"]


@dataclass(frozen=True, slots=True)
class Method:
    """A training method.

    title: for tables. taught_by: the trained "teacher", the trained "student" method (self-distillation), "crossfit"
    teachers, or "none". settings: its changes of the configuration. about: one line of help.
    """

    name: str
    title: str
    taught_by: TaughtBy
    settings: tuple[str, ...]
    about: str


_FIXED_TEACHER = ("feedback.every=0",)

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method("teacher", "Teacher (EEG + GSR)", "none", (), "the teacher, before adaptive feedback"),
        Method("student", "Student (GSR)", "none", (), "the student, trained on the labels only"),
        Method(
            "student-compact",
            "Compact student (GSR)",
            "none",
            ("network.student=compact",),
            "the student of kind compact, trained on the labels only",
        ),
        Method(
            "student-edge",
            "Edge student (GSR)",
            "none",
            ("network.student=edge", "student.choose_by=loss"),
            "the student of kind edge, trained on the labels only",
        ),
        Method(
            "label-smoothing",
            "Label smoothing",
            "none",
            ("distill.label_smoothing=0.1",),
            "control for KD: soft labels without information",
        ),
        Method(
            "self-distillation",
            "Self-distillation",
            "student",
            _FIXED_TEACHER,
            "control for KD: soft labels from another GSR student",
        ),
        Method("kd", "KD", "teacher", _FIXED_TEACHER, "distilled from a fixed teacher"),
        Method(
            "kd-compact",
            "KD, compact student",
            "teacher",
            (*_FIXED_TEACHER, "network.student=compact"),
            "the student of kind compact, distilled",
        ),
        Method(
            "kd-edge",
            "KD, edge student",
            "teacher",
            (*_FIXED_TEACHER, "network.student=edge", "student.choose_by=loss"),
            "the student of kind edge, distilled",
        ),
        Method(
            "kd-crossfit",
            "KD, cross-fitted teachers",
            "crossfit",
            _FIXED_TEACHER,
            "distilled, each window from a teacher that was not trained on its subject",
        ),
        Method(
            "kd-unrated",
            "KD on unrated subjects too",
            "teacher",
            (*_FIXED_TEACHER, "distill.unrated=true"),
            "distilled on the windows of unrated subjects as well (split.rated below 1)",
        ),
        Method(
            "kd-joint",
            "KD, teacher trained further (task loss only)",
            "teacher",
            ("feedback.quiz=0",),
            "control for feedback: the same teacher updates, from its own loss only",
        ),
        Method(
            "kd-feedback",
            "KD + feedback",
            "teacher",
            (),
            "distilled, with adaptive feedback to the teacher (EmotionKD)",
        ),
    )
}
"""By name, in the order of tables. A cell trains in the same order: a method's teacher is trained first."""


def choose_methods(names: Sequence[str], config: TrainConfig, has_eeg: bool) -> tuple[str, ...]:
    """Return these methods in the order of `METHODS`.

    Raises ConfigError for an unknown or missing name, and for a method that the data or configuration does not allow.
    """
    for name in names:
        if name not in METHODS:
            raise ConfigError(
                f"there is no method {name!r}: choose from {', '.join(METHODS)}{did_you_mean(name, METHODS)}"
            )
        if not has_eeg and (name == "teacher" or METHODS[name].taught_by in ("teacher", "crossfit")):
            raise ConfigError(f"the method {name} needs EEG, but the data has none: leave the method out")
        if name in ("kd-feedback", "kd-joint") and config.feedback.every == 0:
            raise ConfigError(f"the method {name} needs adaptive feedback: set feedback.every to 1 or more")
        if name == "kd-unrated" and config.split.rated == 1:
            raise ConfigError("the method kd-unrated needs unrated subjects: set split.rated below 1")
    if not names:
        raise ConfigError("name at least one method, such as --methods student,kd")
    return tuple(name for name in METHODS if name in names)


def settings_of(name: str, config: TrainConfig) -> TrainConfig:
    """Return the configuration with the method's changes."""
    return config.override(METHODS[name].settings)
