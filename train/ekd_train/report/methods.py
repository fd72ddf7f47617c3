"""Titles and order of methods in a report, and the pairs of methods to compare."""

from collections.abc import Iterable, Sequence

from ekd_train.methods import METHODS

__all__ = ["comparison_pairs", "ordered", "short_title", "title"]

COMPARED_PAIRS = (
    ("kd", "student"),
    ("student-compact", "student"),
    ("student-edge", "student"),
    ("kd-compact", "kd"),
    ("kd-edge", "kd"),
    ("kd-edge", "student-edge"),
    ("kd-crossfit", "student"),
    ("kd-crossfit", "kd"),
    ("kd-unrated", "student"),
    ("kd-unrated", "kd"),
    ("kd-feedback", "student"),
    ("kd-feedback", "kd"),
    ("kd-feedback", "kd-joint"),
    ("kd-joint", "kd"),
    ("kd", "label-smoothing"),
    ("kd", "self-distillation"),
    ("label-smoothing", "student"),
    ("self-distillation", "student"),
    ("teacher", "student"),
)


def title(method: str) -> str:
    """A method's title in tables and plots; the name of an unknown method."""
    return METHODS[method].title if method in METHODS else method


def short_title(method: str) -> str:
    """The title without the part in brackets."""
    return title(method).partition(" (")[0]


def ordered(methods: Iterable[str]) -> tuple[str, ...]:
    """Known methods in the order of the tables, then the others in the given order."""
    known = list(METHODS)
    return tuple(sorted(methods, key=lambda name: known.index(name) if name in METHODS else len(known)))


def comparison_pairs(methods: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The pairs (method, reference) to compare, chosen by the methods' names and not by any figure.

    A method without a predefined pair is compared with the student, or with the first method that is not the teacher.
    """
    present = ordered(methods)
    pairs = [pair for pair in COMPARED_PAIRS if set(pair) <= set(present)]
    reference = "student" if "student" in present else next((name for name in present if name != "teacher"), "")
    compared = {name for pair in pairs for name in pair}
    others = [name for name in present if reference and name not in compared | {reference}]
    return (*pairs, *((name, reference) for name in others))
