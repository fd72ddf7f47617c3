"""Sign-off: a non-inferiority test of what quantization costs, with statistics over subjects.

An interval of the mean change over subjects that is wholly above -max_drop shows the loss to be within the allowance.
The test requires this for accuracy and macro-F1, for every target, and for both intervals of `Change`. As all of them
must hold, more criteria do not make a false PASSED more likely (an intersection-union test: Berger, Technometrics 24,
1982), and no correction for multiple comparisons is needed.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import ConfigError, DataError, ExportError
from ekd_edge.formatting import points
from ekd_edge.metrics import TargetScores, compare, evaluate
from ekd_export.evaluation.intervals import METHODS, Change, change_over_subjects
from ekd_export.evaluation.window_metrics import (
    ClassBalance,
    Flips,
    LogitSample,
    Reliability,
    class_balance,
    flips,
    logit_sample,
    reliability,
    sqnr_db,
)

__all__ = [
    "LARGEST_MAX_DROP",
    "Result",
    "SubjectChange",
    "TargetVerdict",
    "Verdict",
    "check_classes_present",
    "check_max_drop",
    "judge",
]

LARGEST_MAX_DROP = 0.5
_ROUNDING = 1e-9

Result = Literal["passed", "not shown", "not judged"]


@dataclass(frozen=True, slots=True)
class SubjectChange:
    """One subject's scores before and after.

    macro_f1_before, macro_f1_after: None where the subject's labels lack a class. Macro-F1 is not informative there:
    with one class, the first wrong window halves it, and the second hardly changes it.
    """

    subject: str
    windows: int
    accuracy_before: float
    accuracy_after: float
    macro_f1_before: float | None
    macro_f1_after: float | None

    @property
    def accuracy_change(self) -> float:
        """After minus before."""
        return self.accuracy_after - self.accuracy_before


@dataclass(frozen=True, slots=True)
class TargetVerdict:
    """One target: the quantized model (after) against the float one (before), on the same windows.

    accuracy_before, accuracy_after: means over all subjects. macro_f1_before, macro_f1_after, macro_f1: over the
    subjects whose labels have every class, None without such subjects; one_class_subjects: number of the others.
    agreement: share of windows that get the same class. worst: the subject with the largest loss of accuracy. logits:
    a sample for plots. output_sqnr_db: see `sqnr_db`.
    """

    target: str
    windows: int
    accuracy_before: float
    accuracy_after: float
    accuracy: Change
    macro_f1_before: float | None
    macro_f1_after: float | None
    macro_f1: Change | None
    one_class_subjects: int
    agreement: float
    flips: Flips
    classes: ClassBalance
    reliability_before: Reliability
    reliability_after: Reliability
    output_sqnr_db: float | None
    worst: SubjectChange
    subjects: tuple[SubjectChange, ...]
    logits: LogitSample


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of the sign-off. passed: None where no max_drop was set. reasons: why a loss is not shown."""

    max_drop: float | None
    passed: bool | None
    reasons: tuple[str, ...]
    class_names: tuple[str, ...]
    targets: tuple[TargetVerdict, ...]

    @property
    def result(self) -> Result:
        """`passed` as text."""
        return "not judged" if self.passed is None else "passed" if self.passed else "not shown"

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict without NaN or infinity, with `result` and the names of the intervals."""
        data = {"result": self.result, "intervals": METHODS, **asdict(self)}
        plain: dict[str, Any] = json.loads(json.dumps(data, allow_nan=False))
        return plain


def check_max_drop(max_drop: float) -> None:
    """Raise ConfigError unless 0 < max_drop <= 0.5."""
    if not 0 < max_drop <= LARGEST_MAX_DROP:
        raise ConfigError(
            f"the allowed drop is a fraction above 0 and up to {LARGEST_MAX_DROP:g}, not {max_drop:g}: "
            "write 0.01 for one point (1 %)"
        )


def check_classes_present(
    targets: Sequence[str], labels: NDArray[np.int64], class_names: Sequence[str], group: str = "test subjects"
) -> None:
    """Raise DataError where there is no window, or a target lacks a class; labels (n, targets)."""
    if len(labels) == 0:
        raise DataError(f"the {group} have no window to judge by: give them more recordings")
    for column, target in enumerate(targets):
        for number, name in enumerate(class_names):
            if not (labels[:, column] == number).any():
                raise DataError(
                    f"no window of the {group} is {name} {target}, so a loss would not show: choose another threshold, "
                    "or a split in which these subjects have every class"
                )


def judge(
    targets: Sequence[str],
    labels: NDArray[np.int64],
    subjects: NDArray[np.str_],
    before_logits: NDArray[np.float32],
    after_logits: NDArray[np.float32],
    max_drop: float | None,
    class_names: Sequence[str] = ("low", "high"),
    group: str = "test subjects",
) -> Verdict:
    """Judge the model after quantization against the model before, on the same n windows.

    Args:
        targets: names of the targets.
        labels: int64 (n, targets).
        subjects: (n,), names to show in reports; each is one person.
        before_logits: float32 (n, targets, classes).
        after_logits: float32 (n, targets, classes).
        max_drop: the allowed drop of accuracy and macro-F1 as a fraction; None gives figures without a verdict.
        class_names: in the order of the logits.
        group: the name of the group of subjects in messages.

    Returns:
        The verdict with the figures of every target.

    Raises:
        ConfigError: max_drop is out of range.
        DataError: there is no window, or a class is missing.
        ExportError: a logit is NaN or infinite.
    """
    if max_drop is not None:
        check_max_drop(max_drop)
    check_classes_present(targets, labels, class_names, group)
    if not (np.isfinite(before_logits).all() and np.isfinite(after_logits).all()):
        raise ExportError("the model computes NaN or infinite logits: its training diverged, train again")
    judged = tuple(
        _judge_target(target, labels[:, [c]], subjects, before_logits[:, [c]], after_logits[:, [c]])
        for c, target in enumerate(targets)
    )
    reasons = () if max_drop is None else tuple(reason for each in judged for reason in _reasons(each, max_drop))
    return Verdict(max_drop, None if max_drop is None else not reasons, reasons, tuple(class_names), judged)


def _judge_target(
    target: str,
    labels: NDArray[np.int64],
    subjects: NDArray[np.str_],
    before: NDArray[np.float32],
    after: NDArray[np.float32],
) -> TargetVerdict:
    """labels (n, 1), logits (n, 1, classes)."""
    classes = before.shape[2]
    first, second = (evaluate((target,), labels, subjects, logits) for logits in (before, after))
    (comparison,) = compare(first, second, before, after)
    (one,), (two,) = first.targets, second.targets
    complete = [s for s in np.unique(subjects) if len(np.unique(labels[subjects == s])) == classes]
    kept = np.isin(subjects, complete)
    f1 = [_macro_f1(target, labels[kept], subjects[kept], logits[kept]) for logits in (before, after)]
    changes = tuple(
        SubjectChange(a.subject, a.windows, a.accuracy, b.accuracy, f1[0].get(a.subject), f1[1].get(a.subject))
        for a, b in zip(one.subjects, two.subjects, strict=True)
    )
    predictions, column = (before[:, 0].argmax(-1), after[:, 0].argmax(-1)), labels[:, 0]
    return TargetVerdict(
        target=target,
        windows=len(labels),
        accuracy_before=one.accuracy,
        accuracy_after=two.accuracy,
        accuracy=change_over_subjects(_accuracies(one), _accuracies(two)),
        macro_f1_before=float(np.mean(list(f1[0].values()))) if complete else None,
        macro_f1_after=float(np.mean(list(f1[1].values()))) if complete else None,
        macro_f1=change_over_subjects(*f1) if complete else None,
        one_class_subjects=len(changes) - len(complete),
        agreement=comparison.agreement,
        flips=flips(column, *predictions),
        classes=class_balance(column, *predictions, classes),
        reliability_before=reliability(column, before[:, 0]),
        reliability_after=reliability(column, after[:, 0]),
        output_sqnr_db=sqnr_db(before, after),
        worst=min(changes, key=lambda each: (each.accuracy_change, each.subject)),
        subjects=changes,
        logits=logit_sample(before[:, 0], after[:, 0]),
    )


def _accuracies(scores: TargetScores) -> dict[str, float]:
    return {each.subject: each.accuracy for each in scores.subjects}


def _macro_f1(
    target: str, labels: NDArray[np.int64], subjects: NDArray[np.str_], logits: NDArray[np.float32]
) -> dict[str, float]:
    if len(labels) == 0:
        return {}
    (scores,) = evaluate((target,), labels, subjects, logits).targets
    return {each.subject: each.macro_f1 for each in scores.subjects}


def _reasons(target: TargetVerdict, max_drop: float) -> list[str]:
    reasons = []
    for score, change in (("accuracy", target.accuracy), ("macro-F1", target.macro_f1)):
        if change is None:
            reasons.append(f"{target.target}: no subject has windows of every class, so {score} cannot be judged")
            continue
        if not change.intervals:
            reasons.append(f"{target.target}: the loss of {score} needs two or more subjects, and there is one")
        for method, interval in change.intervals.items():
            if interval.low < -max_drop - _ROUNDING:
                reasons.append(
                    f"{target.target}: {score} may change by {points(interval.low)} points (lower bound of the 95% "
                    f"{method} interval, {change.subjects} subjects), and at most {points(-max_drop)} is allowed"
                )
    return reasons
