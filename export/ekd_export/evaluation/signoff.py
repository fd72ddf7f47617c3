"""Sign-off: an equivalence test of what quantization changes, with statistics over subjects.

PASSED needs all criteria of `ekd_export.evaluation.criteria`, for every target: the 95 % t intervals of accuracy and
macro-F1 are within +-max_drop, and the test of `ekd_export.evaluation.equivalence` rejects a mean loss and a mean gain
of max_drop or more. As all of them must hold, more criteria do not make a false PASSED more likely (an
intersection-union test: Berger, Technometrics 24, 1982), and no correction for multiple comparisons is needed.

FAILED needs a change that is shown: a 95 % interval wholly outside the allowance, or a mean disagreement whose
95 % interval is wholly above the limit. Everything else is UNDECIDED.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import ConfigError, DataError, ExportError
from ekd_edge.model.manifest import SignOffResult
from ekd_export.evaluation.criteria import Shortfall, decide, limits_of, shortfalls
from ekd_export.evaluation.equivalence import ERROR, LARGEST_LOSS
from ekd_export.evaluation.target_figures import TargetFigures, target_figures

__all__ = [
    "LARGEST_MAX_DROP",
    "METHODS",
    "Result",
    "Verdict",
    "check_classes_present",
    "check_max_drop",
    "judge",
]

Result = SignOffResult | Literal["not judged"]

LARGEST_MAX_DROP = 0.5
METHODS = {
    "intervals": "95 %, paired Student t over test subjects",
    "rare losses": f"e-value of the test subjects' changes, at least {1 / ERROR:g}, with a limit on every subject's "
    f"disagreement; it assumes that no person loses more than {100 * LARGEST_LOSS:g} points (3 times the allowance, "
    "where that is more)",
}
"""Descriptions of the statistics, by their names in reports."""

_ALLOWANCES = tuple(step / 1000 for step in (*range(1, 50), *range(50, 501, 10)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of the sign-off.

    result: "passed", "failed", "undecided", or "not judged" where no max_drop was set. reasons: why it did not pass.
    test_subjects: how many test subjects like these would pass, with other subjects in proportion; None where no number
    would, or it passed. shown_within: the smallest allowance that these subjects would pass, None above 0.5.
    disagreement_limit: for any subject, by the allowance.
    """

    max_drop: float | None
    result: Result
    reasons: tuple[str, ...]
    test_subjects: int | None
    shown_within: float | None
    disagreement_limit: float | None
    class_names: tuple[str, ...]
    targets: tuple[TargetFigures, ...]

    @property
    def passed(self) -> bool | None:
        """Whether the result is "passed"; None where nothing was judged."""
        return None if self.result == "not judged" else self.result == "passed"

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict without NaN or infinity, with the names of the methods."""
        plain: dict[str, Any] = json.loads(json.dumps({"methods": METHODS, **asdict(self)}, allow_nan=False))
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
                    f"no window of the {group} is {name} {target}, so a loss of it cannot be measured: choose another "
                    "threshold, "
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
    others: Sequence[Mapping[str, float]] = (),
) -> Verdict:
    """Sign off the quantized model (after) against the float model (before), on the same n windows of test subjects.

    Args:
        targets: names of the targets.
        labels: int64 (n, targets).
        subjects: (n,), names to show in reports; each is one person.
        before_logits: float32 (n, targets, classes).
        after_logits: float32 (n, targets, classes).
        max_drop: the allowed change of accuracy and macro-F1, either way, as a fraction; None gives figures without a
            verdict.
        class_names: in the order of the logits.
        others: disagreement of each subject who is not a test subject, one mapping a target; empty for none.

    Returns:
        The verdict with the figures of every target.

    Raises:
        ConfigError: max_drop is out of range.
        DataError: there is no window, or a class is missing.
        ExportError: a logit is NaN or infinite.
    """
    if max_drop is not None:
        check_max_drop(max_drop)
    check_classes_present(targets, labels, class_names)
    if not (np.isfinite(before_logits).all() and np.isfinite(after_logits).all()):
        raise ExportError("the model computes NaN or infinite logits: its training diverged, train again")
    figures = tuple(
        target_figures(
            target, labels[:, [c]], subjects, before_logits[:, [c]], after_logits[:, [c]], others[c] if others else {}
        )
        for c, target in enumerate(targets)
    )
    result: Result = "not judged"
    found: tuple[Shortfall, ...] = ()
    if max_drop is not None:
        result, found = decide(figures, max_drop)
    needed = [each.test_subjects for each in found]
    return Verdict(
        max_drop=max_drop,
        result=result,
        reasons=tuple(each.reason for each in found),
        test_subjects=None if not needed or None in needed else max(each for each in needed if each is not None),
        shown_within=_shown_within(figures),
        disagreement_limit=None if max_drop is None else limits_of(figures[0], max_drop).disagreement,
        class_names=tuple(class_names),
        targets=figures,
    )


def _shown_within(figures: Sequence[TargetFigures]) -> float | None:
    """The smallest allowance that passes, with every larger one; None where 0.5 does not.

    Steps are of 0.001 up to 0.05, then of 0.01. It is a confidence limit: it is below the true mean
    change only where the sign-off gives a false PASSED for the largest step below that change.
    """
    shown = None
    for allowance in reversed(_ALLOWANCES):
        if any(shortfalls(each, allowance) for each in figures):
            break
        shown = allowance
    return shown
