"""The ways to a classifier that a sweep compares, as named data. Importable without torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ekd_edge.errors import ConfigError
from ekd_train.config import TrainConfig
from firmware_bridge.suggestions import did_you_mean

__all__ = ["METHODS", "Method", "choose_methods", "settings_of"]

TaughtBy = Literal["nobody", "teacher", "student", "crossfit"]


@dataclass(frozen=True, slots=True)
class Method:
    """One way.

    title: as a table shows it. taught_by: the trained "teacher", the trained "student" method (self-distillation),
    "crossfit" teachers, or "nobody". settings: what it changes of the configuration. about: one line of help.
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
        Method("teacher", "Teacher (EEG + GSR)", "nobody", (), "the teacher itself, as it is before it listens"),
        Method("student", "Student (GSR)", "nobody", (), "the student from the labels alone"),
        Method(
            "student-compact",
            "Compact student (GSR)",
            "nobody",
            ("network.student=compact",),
            "the student of kind compact, from the labels alone",
        ),
        Method(
            "student-edge",
            "Edge student (GSR)",
            "nobody",
            ("network.student=edge",),
            "the student of kind edge, from the labels alone",
        ),
        Method(
            "label-smoothing",
            "Label smoothing",
            "nobody",
            ("distill.label_smoothing=0.1",),
            "control for KD: soft labels that know nothing",
        ),
        Method(
            "self-distillation",
            "Self-distillation",
            "student",
            _FIXED_TEACHER,
            "control for KD: soft labels from another GSR student",
        ),
        Method("kd", "KD", "teacher", _FIXED_TEACHER, "distilled from a teacher that does not change"),
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
            (*_FIXED_TEACHER, "network.student=edge"),
            "the student of kind edge, distilled",
        ),
        Method(
            "kd-crossfit",
            "KD, cross-fitted teachers",
            "crossfit",
            _FIXED_TEACHER,
            "distilled, each window from a teacher that never saw its subject",
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
            "KD, teacher trained on (task loss alone)",
            "teacher",
            ("feedback.quiz=0",),
            "control for feedback: the same teacher updates, from its own task alone",
        ),
        Method("kd-feedback", "KD + feedback", "teacher", (), "distilled, and the teacher listens (EmotionKD)"),
    )
}
"""By name, in the order of tables, in which a cell runs them too: whoever teaches comes before whom it teaches."""


def choose_methods(names: Sequence[str], config: TrainConfig, has_eeg: bool) -> tuple[str, ...]:
    """These methods in their order.

    Raises ConfigError for an unknown or missing name, and for what the data or the configuration cannot give.
    """
    for name in names:
        if name not in METHODS:
            raise ConfigError(
                f"there is no method {name!r}: choose from {', '.join(METHODS)}{did_you_mean(name, METHODS)}"
            )
        if not has_eeg and (name == "teacher" or METHODS[name].taught_by in ("teacher", "crossfit")):
            raise ConfigError(f"the method {name} needs EEG, which this data has not: leave it out")
        if name in ("kd-feedback", "kd-joint") and config.feedback.every == 0:
            raise ConfigError(f"the method {name} needs a teacher that listens: set feedback.every to 1 or more")
        if name == "kd-unrated" and config.split.rated == 1:
            raise ConfigError("the method kd-unrated needs unrated subjects: set split.rated below 1")
    if not names:
        raise ConfigError("name at least one method, such as --methods student,kd")
    return tuple(name for name in METHODS if name in names)


def settings_of(name: str, config: TrainConfig) -> TrainConfig:
    """The configuration with the method's changes."""
    return config.override(METHODS[name].settings)
