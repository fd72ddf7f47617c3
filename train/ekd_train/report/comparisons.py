"""Paired comparisons between methods, with Holm's correction for multiple tests."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ekd_train.report.collect import Cell
from ekd_train.report.methods import comparison_pairs, ordered
from ekd_train.report.scores import SCORES, always, confusions, shared
from ekd_train.report.statistics import Paired, compare_paired, holm

__all__ = ["LARGER_CLASS", "LEVEL", "Comparison", "compare_methods"]

LEVEL = 0.05
LARGER_CLASS = "larger-class"
"""The reference that predicts the larger class for every window."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One method against one reference, for one target and one score.

    family: "methods", or "larger-class" if the reference is not a method. Each family is corrected separately, over
    all its targets and scores. t_p_holm, wilcoxon_p_holm: Holm-corrected. shown: t_p_holm is below LEVEL.
    """

    family: str
    target: str
    score: str
    method: str
    reference: str
    paired: Paired
    t_p_holm: float | None = None
    wilcoxon_p_holm: float | None = None

    @property
    def shown(self) -> bool:
        """Whether the difference is significant after correction."""
        return self.t_p_holm is not None and self.t_p_holm < LEVEL

    def to_json(self) -> dict[str, Any]:
        """A flat JSON-ready dict, with the differences as a list of subjects."""
        flat = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "paired"}
        paired = {f.name: getattr(self.paired, f.name) for f in dataclasses.fields(self.paired)}
        by_seed = self.paired.by_seed
        paired["by_seed"] = {"means": {str(seed): mean for seed, mean in by_seed.means.items()}, "sd": by_seed.sd}
        paired["differences"] = [
            {"subject": subject, "mean": mean, "low": low, "high": high}
            for subject, (mean, low, high) in self.paired.differences.items()
        ]
        return flat | {"shown": self.shown} | paired


def compare_methods(
    cells: Mapping[str, Mapping[str, Sequence[Cell]]], larger: Mapping[str, int | None]
) -> list[Comparison]:
    """All comparisons of a report; cells: by target and method; larger: each target's larger class, None if unknown."""
    comparisons = []
    for target, by_method in cells.items():
        present = ordered(method for method, method_cells in by_method.items() if method_cells)
        for method, reference in comparison_pairs(present):
            theirs, ours = map(confusions, shared(by_method[reference], by_method[method]))
            for score, of in SCORES.items():
                paired = compare_paired(of(theirs), of(ours))
                if paired is not None:
                    comparisons.append(Comparison("methods", target, score, method, reference, paired))
        label = larger[target]
        if label is None:
            continue
        for method in present:
            ours = confusions(by_method[method])
            for score, of in SCORES.items():
                paired = compare_paired(of(always(ours, label)), of(ours))
                if paired is not None:
                    comparisons.append(Comparison(LARGER_CLASS, target, score, method, LARGER_CLASS, paired))
    return [*_corrected(comparisons, "methods"), *_corrected(comparisons, LARGER_CLASS)]


def _corrected(comparisons: Sequence[Comparison], family: str) -> list[Comparison]:
    members = [comparison for comparison in comparisons if comparison.family == family]
    t = holm([member.paired.t_p for member in members])
    wilcoxon = holm([member.paired.wilcoxon_p for member in members])
    return [
        dataclasses.replace(member, t_p_holm=t_p, wilcoxon_p_holm=wilcoxon_p)
        for member, t_p, wilcoxon_p in zip(members, t, wilcoxon, strict=True)
    ]
