"""Figures of one target: the quantized model against the float one, on the same windows of the same subjects."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ekd_edge.metrics import Difference, TargetScores, compare, evaluate, paired_difference
from ekd_export.evaluation.disagreement import Disagreement, by_subject, summarize
from ekd_export.evaluation.window_metrics import (
    ClassBalance,
    Flips,
    LogitSample,
    MarginError,
    Reliability,
    class_balance,
    flips,
    logit_sample,
    margin_error,
    reliability,
)

__all__ = ["SubjectChange", "TargetFigures", "larger_class_accuracy", "target_figures"]


@dataclass(frozen=True, slots=True)
class SubjectChange:
    """One subject's scores before and after.

    macro_f1_before, macro_f1_after: None where the subject's labels lack a class. Macro-F1 is not informative there:
    with one class, the first wrong window halves it, and the second hardly changes it. disagreement: share of windows
    whose class changed.
    """

    subject: str
    windows: int
    accuracy_before: float
    accuracy_after: float
    macro_f1_before: float | None
    macro_f1_after: float | None
    disagreement: float

    @property
    def accuracy_change(self) -> float:
        """Accuracy after quantization minus accuracy before."""
        return self.accuracy_after - self.accuracy_before


@dataclass(frozen=True, slots=True)
class TargetFigures:
    """One target: the quantized model (after) against the float one (before).

    accuracy_before, accuracy_after: means over all test subjects. larger_class_accuracy: the same mean for always
    predicting one class, the better one, on these windows; a model below it is worse than a constant. macro_f1_before,
    macro_f1_after, macro_f1: over the subjects whose labels have every class, None without such subjects;
    one_class_subjects: number of the others. agreement: share of windows that get the same class. disagreement: of all
    subjects, training and validation subjects included. worst: the test subject with the largest loss of accuracy.
    logits: a sample for plots.
    """

    target: str
    windows: int
    accuracy_before: float
    accuracy_after: float
    accuracy: Difference
    larger_class_accuracy: float
    macro_f1_before: float | None
    macro_f1_after: float | None
    macro_f1: Difference | None
    one_class_subjects: int
    agreement: float
    disagreement: Disagreement
    flips: Flips
    classes: ClassBalance
    reliability_before: Reliability
    reliability_after: Reliability
    margin: MarginError
    worst: SubjectChange
    subjects: tuple[SubjectChange, ...]
    logits: LogitSample


def target_figures(
    target: str,
    labels: NDArray[np.int64],
    subjects: NDArray[np.str_],
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    others: Mapping[str, float],
) -> TargetFigures:
    """Compute the figures of one target.

    Args:
        target: its name.
        labels: int64 (n, 1).
        subjects: str (n,), of each window.
        before: float32 (n, 1, classes).
        after: float32 (n, 1, classes).
        others: disagreement of each further subject, whose labels are not used.

    Returns:
        The figures.
    """
    classes = before.shape[2]
    first, second = (evaluate((target,), labels, subjects, logits) for logits in (before, after))
    (comparison,) = compare(first, second, before, after)
    (one,), (two,) = first.targets, second.targets
    (changed,) = by_subject(subjects, before, after)
    complete = [s for s in np.unique(subjects) if len(np.unique(labels[subjects == s])) == classes]
    kept = np.isin(subjects, complete)
    f1 = [_macro_f1(target, labels[kept], subjects[kept], logits[kept]) for logits in (before, after)]
    changes = tuple(
        SubjectChange(
            a.subject, a.windows, a.accuracy, b.accuracy, f1[0].get(a.subject), f1[1].get(a.subject), changed[a.subject]
        )
        for a, b in zip(one.subjects, two.subjects, strict=True)
    )
    predictions, column = (before[:, 0].argmax(-1), after[:, 0].argmax(-1)), labels[:, 0]
    return TargetFigures(
        target=target,
        windows=len(labels),
        accuracy_before=one.accuracy,
        accuracy_after=two.accuracy,
        accuracy=paired_difference(_accuracies(one), _accuracies(two)),
        larger_class_accuracy=larger_class_accuracy(column, subjects, classes),
        macro_f1_before=float(np.mean(list(f1[0].values()))) if complete else None,
        macro_f1_after=float(np.mean(list(f1[1].values()))) if complete else None,
        macro_f1=paired_difference(*f1) if complete else None,
        one_class_subjects=len(changes) - len(complete),
        agreement=comparison.agreement,
        disagreement=summarize({**changed, **others}),
        flips=flips(column, *predictions),
        classes=class_balance(column, *predictions, classes),
        reliability_before=reliability(column, before[:, 0]),
        reliability_after=reliability(column, after[:, 0]),
        margin=margin_error(before[:, 0], after[:, 0]),
        worst=min(changes, key=lambda each: (each.accuracy_change, each.subject)),
        subjects=changes,
        logits=logit_sample(before[:, 0], after[:, 0]),
    )


def larger_class_accuracy(labels: NDArray[np.int64], subjects: NDArray[np.str_], classes: int) -> float:
    """Mean over subjects of the accuracy of always predicting one class, the best one; labels and subjects (n,)."""
    names = np.unique(subjects)
    return max(float(np.mean([np.mean(labels[subjects == name] == k) for name in names])) for k in range(classes))


def _accuracies(scores: TargetScores) -> dict[str, float]:
    return {each.subject: each.accuracy for each in scores.subjects}


def _macro_f1(
    target: str, labels: NDArray[np.int64], subjects: NDArray[np.str_], logits: NDArray[np.float32]
) -> dict[str, float]:
    if len(labels) == 0:
        return {}
    (scores,) = evaluate((target,), labels, subjects, logits).targets
    return {each.subject: each.macro_f1 for each in scores.subjects}
