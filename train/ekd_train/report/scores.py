"""Confusion matrices and scores for each test subject and seed."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from ekd_train.report.collect import Cell, Confusion, scores_of

__all__ = ["SCORES", "Confusions", "Scores", "always", "confusions", "larger_class", "shared", "total"]

Confusions = Mapping[tuple[str, int], Confusion]
"""A confusion matrix for each (subject, seed)."""

Scores = Mapping[tuple[str, int], float]
"""A score for each (subject, seed)."""

SCORES: Mapping[str, Callable[[Confusions], Scores]] = {
    "accuracy": lambda counts: {key: scores_of(confusion)[0] for key, confusion in counts.items()},
    "macro_f1": lambda counts: {key: scores_of(confusion)[1] for key, confusion in counts.items()},
}


def confusions(cells: Iterable[Cell]) -> Confusions:
    """The confusion matrix of each (subject, seed), over all folds that test the subject; keys in sorted order."""
    sums: dict[tuple[str, int], list[Confusion]] = {}
    for cell in cells:
        for result in cell.subjects:
            sums.setdefault((result.subject, cell.seed), []).append(result.confusion)
    return {key: total(sums[key]) for key in sorted(sums)}


def total(counts: Iterable[Confusion]) -> Confusion:
    """The sum of confusion matrices."""
    (tn, fp), (fn, tp) = np.sum([((0, 0), (0, 0)), *counts], axis=0).tolist()
    return (tn, fp), (fn, tp)


def shared(first: Sequence[Cell], second: Sequence[Cell]) -> tuple[list[Cell], list[Cell]]:
    """The cells of two methods with a seed and fold that both methods have."""
    both = {(cell.seed, cell.fold) for cell in first} & {(cell.seed, cell.fold) for cell in second}
    return [c for c in first if (c.seed, c.fold) in both], [c for c in second if (c.seed, c.fold) in both]


def larger_class(counts: Confusions) -> int:
    """The class of more test windows, with the same weight for every subject; 0 on a tie."""
    high = [sum(confusion[1]) / sum(map(sum, confusion)) for confusion in counts.values()]
    return int(float(np.mean(high)) > 0.5)


def always(counts: Confusions, label: int) -> Confusions:
    """The confusion matrices of predicting `label` for every window."""
    constant: dict[tuple[str, int], Confusion] = {}
    for key, (low, high) in counts.items():
        constant[key] = ((0, sum(low)), (0, sum(high))) if label else ((sum(low), 0), (sum(high), 0))
    return constant
