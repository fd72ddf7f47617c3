"""Suggestions after a sign-off that did not pass: more subjects, a larger allowance, another recipe."""

from collections.abc import Iterator

from ekd_export.evaluation.signoff import Verdict
from ekd_export.quantization.recipes import RECIPES

__all__ = ["advice"]

_CLOSER = ("int16", "dynamic", "float16")
"""Recipes whose logits are closer to the float student's than those of int8, closest to int8's speed first."""


def advice(verdict: Verdict, recipe: str) -> tuple[str, ...]:
    """Suggestions after a sign-off, most promising first; empty where it passed or max_drop was None.

    recipe: name of the recipe that was signed off.
    """
    if verdict.result in ("passed", "not judged"):
        return ()
    subjects, recipes = tuple(_more_subjects(verdict)), tuple(_other_recipes(recipe))
    return (*subjects, *recipes) if verdict.result == "undecided" and verdict.test_subjects else (*recipes, *subjects)


def _more_subjects(verdict: Verdict) -> Iterator[str]:
    present = len(verdict.targets[0].subjects)
    if verdict.test_subjects is not None:
        yield (
            f"more subjects: about {max(verdict.test_subjects, present + 1)} test subjects like these are enough, with "
            f"training and validation subjects in proportion; there are {present}"
        )
    if verdict.shown_within is not None:
        yield (
            f"a larger allowance: these subjects show a change within {100 * verdict.shown_within:g} points "
            f"(--max-drop {verdict.shown_within:g})"
        )


def _other_recipes(recipe: str) -> Iterator[str]:
    place = _CLOSER.index(recipe) + 1 if recipe in _CLOSER else 0
    for name in _CLOSER[place:]:
        if name in RECIPES:
            yield f"another recipe: --recipe {name} ({RECIPES[name].about})"
    yield "the float32 student: --recipe float32"
