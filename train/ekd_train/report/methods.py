"""How a report calls the methods of a sweep, in which order, and which pairs of them answer a question."""

from collections.abc import Iterable, Sequence

from ekd_train.methods import METHODS

__all__ = ["ordered", "questions", "short_title", "title"]

QUESTIONS = (
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
    """How a method is called in tables and plots; an unknown one goes by its own name."""
    return METHODS[method].title if method in METHODS else method


def short_title(method: str) -> str:
    """The same without what is in brackets, where there is little room."""
    return title(method).partition(" (")[0]


def ordered(methods: Iterable[str]) -> tuple[str, ...]:
    """Known methods in the order of the tables, then the others as they come."""
    known = list(METHODS)
    return tuple(sorted(methods, key=lambda name: known.index(name) if name in METHODS else len(known)))


def questions(methods: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The pairs (method, reference) to compare, fixed by the methods' names before any figure is seen.

    A method that no question names is held to the student, or to the first other method but the teacher.
    """
    present = ordered(methods)
    pairs = [pair for pair in QUESTIONS if set(pair) <= set(present)]
    reference = "student" if "student" in present else next((name for name in present if name != "teacher"), "")
    asked = {name for pair in pairs for name in pair}
    others = [name for name in present if reference and name not in asked | {reference}]
    return (*pairs, *((name, reference) for name in others))
