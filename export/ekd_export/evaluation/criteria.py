"""The criteria of the sign-off for one target and one allowance, and the reasons why one does not hold."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ekd_edge.formatting import percent, points
from ekd_edge.metrics import Difference
from ekd_edge.model.manifest import SignOffResult
from ekd_export.evaluation.equivalence import (
    ERROR,
    Limits,
    e_value,
    limits,
    subjects_for_e_value,
    subjects_for_t,
)
from ekd_export.evaluation.target_figures import TargetFigures

__all__ = ["Shortfall", "decide", "limits_of", "shortfalls"]

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A criterion that does not hold.

    reason: a sentence. shown: a change beyond the allowance is shown, so the sign-off fails. test_subjects: how
    many test subjects like these are enough, those without a class included; None where no number is, or where the
    number is not known.
    """

    reason: str
    shown: bool
    test_subjects: int | None


def decide(figures: Sequence[TargetFigures], max_drop: float) -> tuple[SignOffResult, tuple[Shortfall, ...]]:
    """The result of the sign-off over all targets, and the criteria that do not hold."""
    found = tuple(each for target in figures for each in shortfalls(target, max_drop))
    if not found:
        return "passed", ()
    return ("failed" if any(each.shown for each in found) else "undecided"), found


def limits_of(target: TargetFigures, max_drop: float) -> Limits:
    """The limits for the subjects of this target."""
    return limits(max_drop, len(target.subjects), target.disagreement.subjects)


def shortfalls(target: TargetFigures, max_drop: float) -> tuple[Shortfall, ...]:
    """All criteria that do not hold for this allowance; none where the target passes."""
    return (
        *_interval(target, "accuracy", target.accuracy, [each.accuracy_change for each in target.subjects], max_drop),
        *_interval(target, "macro-F1", target.macro_f1, _macro_f1_changes(target), max_drop),
        *_disagreement(target, limits_of(target, max_drop)),
        *_e_values(target, limits_of(target, max_drop)),
    )


def _macro_f1_changes(target: TargetFigures) -> list[float]:
    return [
        each.macro_f1_after - each.macro_f1_before
        for each in target.subjects
        if each.macro_f1_before is not None and each.macro_f1_after is not None
    ]


def _interval(
    target: TargetFigures, score: str, change: Difference | None, changes: list[float], max_drop: float
) -> Iterator[Shortfall]:
    if change is None:
        reason = f"{target.target}: no test subject has windows of every class, so {score} cannot be judged"
        yield Shortfall(reason, False, None)
    elif change.low is None or change.high is None:
        alone = change.subjects == len(target.subjects)
        who = "test subjects" if alone else "test subjects with windows of every class"
        reason = f"{target.target}: an interval of {score} needs two or more {who}, and there is one"
        yield Shortfall(reason, False, 2 * len(target.subjects))
    elif change.low < -max_drop - _ROUNDING or change.high > max_drop + _ROUNDING:
        shown = change.high < -max_drop - _ROUNDING or change.low > max_drop + _ROUNDING
        enough = subjects_for_t(changes, max_drop)
        yield Shortfall(
            f"{target.target}: {score} changes by {points(change.low)} to {points(change.high)} points (95% interval, "
            f"{change.subjects} test subjects), and at most {100 * max_drop:g} either way is allowed",
            shown,
            None if enough is None else math.ceil(enough * len(target.subjects) / change.subjects),
        )


def _disagreement(target: TargetFigures, bounds: Limits) -> Iterator[Shortfall]:
    found = target.disagreement
    if found.worst <= bounds.disagreement + _ROUNDING:
        return
    shown = found.low is not None and found.low > bounds.disagreement
    yield Shortfall(
        f"{target.target}: the class changes on {percent(found.worst)} of the windows of subject {found.worst_subject} "
        f"(mean of {found.subjects} subjects {percent(found.mean)}), and at most {percent(bounds.disagreement)} of any "
        "subject's is allowed",
        shown,
        None,
    )


def _e_values(target: TargetFigures, bounds: Limits) -> Iterator[Shortfall]:
    losses = np.array([-each.accuracy_change for each in target.subjects])
    for word, values in (("loss", losses), ("gain", -losses)):
        found = e_value(values, bounds)
        if found * ERROR >= 1 - _ROUNDING:
            continue
        yield Shortfall(
            f"{target.target}: {len(values)} test subjects of {target.disagreement.subjects} subjects are too few to "
            f"exclude a rare large {word} (e-value {found:.3g}, needed {1 / ERROR:g})",
            False,
            subjects_for_e_value(values, bounds),
        )
