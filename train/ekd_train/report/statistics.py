"""Statistics over subjects. Seeds are averaged within a subject first, because subjects are the sample."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ekd_edge.metrics import paired_difference
from ekd_train.report.scores import Scores

__all__ = ["Paired", "SeedSpread", "Summary", "by_subject", "compare_paired", "holm", "seed_spread", "summarize"]

IDENTICAL = 1e-9


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean and standard deviation over subjects, and the 95 % t interval of the mean.

    sd is None for one subject; low and high are None for one subject and for identical values.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    subjects: int


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """The effect of the training seed on the mean over subjects.

    means: the mean by seed, over the subjects that every seed has; sd: their standard deviation, None for one seed.
    """

    means: Mapping[int, float]
    sd: float | None


@dataclass(frozen=True, slots=True)
class Paired:
    """Second minus first over the subjects that both have, seeds averaged within a subject.

    low, high: 95 % t interval; half_width: half of it, the smallest mean difference that differs significantly from
    zero; t_p: two-sided paired t test; wilcoxon_p: two-sided signed-rank test, zeros dropped. All None for one
    subject or no spread. by_seed: the mean difference seed by seed. differences: by subject, mean, least and
    greatest over seeds.
    """

    mean: float
    low: float | None
    high: float | None
    half_width: float | None
    t_p: float | None
    wilcoxon_p: float | None
    subjects: int
    seeds: int
    by_seed: SeedSpread
    differences: Mapping[str, tuple[float, float, float]]


def by_subject(scores: Scores) -> dict[str, float]:
    """Each subject's mean over seeds, subjects in order."""
    return {subject: float(np.mean(values)) for subject, values in _grouped(scores).items()}


def summarize(scores: Scores) -> Summary:
    """Mean, spread and interval over subjects, at least one."""
    means = by_subject(scores)
    values = np.array(list(means.values()))
    mean = paired_difference(dict.fromkeys(means, 0.0), means)
    if len(values) < 2:
        return Summary(mean.mean, None, None, None, 1)
    sd = float(values.std(ddof=1))
    if sd < IDENTICAL:
        return Summary(mean.mean, 0.0, None, None, mean.subjects)
    return Summary(mean.mean, sd, mean.low, mean.high, mean.subjects)


def seed_spread(scores: Scores) -> SeedSpread:
    """The mean over subjects, seed by seed; over none where no subject has every seed."""
    seeds = sorted({seed for _, seed in scores})
    whole = [subject for subject in sorted({s for s, _ in scores}) if all((subject, seed) in scores for seed in seeds)]
    if not whole:
        return SeedSpread({}, None)
    means = {seed: float(np.mean([scores[subject, seed] for subject in whole])) for seed in seeds}
    return SeedSpread(means, float(np.std(list(means.values()), ddof=1)) if len(seeds) > 1 else None)


def compare_paired(first: Scores, second: Scores) -> Paired | None:
    """Second against first on the (subject, seed) pairs that both have; None if there are none."""
    both = {key: second[key] - first[key] for key in sorted(first.keys() & second.keys())}
    if not both:
        return None
    spread = {name: (float(np.mean(v)), min(v), max(v)) for name, v in _grouped(both).items()}
    means = {name: each[0] for name, each in spread.items()}
    difference = paired_difference(dict.fromkeys(means, 0.0), means)
    low, high, half, t_p, wilcoxon_p = None, None, None, None, None
    values = np.array(list(means.values()))
    if len(values) > 1 and float(values.std(ddof=1)) >= IDENTICAL:
        from scipy import stats

        assert difference.low is not None
        assert difference.high is not None
        low, high = difference.low, difference.high
        half = (high - low) / 2
        t_p = float(stats.ttest_1samp(values, 0.0).pvalue)
        # Rounded, so that equal differences tie and zero differences are zero despite rounding errors.
        ranked = values.round(12)
        wilcoxon_p = float(stats.wilcoxon(ranked[ranked != 0]).pvalue)
    return Paired(
        mean=difference.mean,
        low=low,
        high=high,
        half_width=half,
        t_p=t_p,
        wilcoxon_p=wilcoxon_p,
        subjects=difference.subjects,
        seeds=len({seed for _, seed in both}),
        by_seed=seed_spread(both),
        differences=spread,
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (1979) of the values that are not None, in the given order."""
    tested = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    floor = 0.0
    for rank, (p, index) in enumerate(tested):
        floor = max(floor, min(1.0, (len(tested) - rank) * p))
        corrected[index] = floor
    return corrected


def _grouped(scores: Scores) -> dict[str, list[float]]:
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for subject, seed in sorted(scores):
        groups[subject].append(scores[subject, seed])
    return dict(groups)
