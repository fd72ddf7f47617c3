"""The methods that a sweep compares."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["METHODS", "Method"]


@dataclass(frozen=True, slots=True)
class Method:
    """A way to train a network."""

    name: str
    title: str


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method("student", "student alone"),
        Method("kd", "KD"),
        Method("kd-feedback", "KD + feedback"),
        Method("teacher", "teacher"),
    )
}
