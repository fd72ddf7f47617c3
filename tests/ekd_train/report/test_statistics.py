import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ekd_train.report.statistics import by_subject, compare_paired, holm, seed_spread, summarize

share = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)
pairs = st.dictionaries(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 2)), st.tuples(share, share), min_size=1, max_size=24
)


def split(scores: dict) -> tuple[dict, dict]:
    return {key: pair[0] for key, pair in scores.items()}, {key: pair[1] for key, pair in scores.items()}


def test_seeds_are_averaged_within_a_subject_before_subjects_are_counted() -> None:
    summary = summarize({("a", 0): 0.6, ("a", 1): 0.8, ("b", 0): 0.5, ("b", 1): 0.5, ("c", 0): 0.9})
    # subjects 0.7, 0.5, 0.9: mean 0.7, sd 0.2, t(0.975, 2) = 4.302653
    assert summary.subjects == 3
    assert summary.mean == pytest.approx(0.7)
    assert summary.sd == pytest.approx(0.2)
    assert summary.low == pytest.approx(0.7 - 4.302653 * 0.2 / math.sqrt(3))
    assert summary.high == pytest.approx(0.7 + 4.302653 * 0.2 / math.sqrt(3))


@pytest.mark.parametrize(
    ("scores", "sd"),
    [
        ({("a", 0): 0.6, ("a", 1): 0.8}, None),
        ({("a", 0): 0.6, ("b", 0): 0.6, ("c", 0): 0.6}, 0.0),
        # the same means, but not the same last bits
        ({("a", 0): 0.1, ("a", 1): 0.2, ("a", 2): 0.3, ("b", 0): 0.2, ("b", 1): 0.2, ("b", 2): 0.2}, 0.0),
    ],
)
def test_interval_is_none_for_one_subject_or_identical_values(scores, sd) -> None:
    summary = summarize(scores)
    assert (summary.sd, summary.low, summary.high) == (sd, None, None)
    paired = compare_paired(dict.fromkeys(scores, 0.25), scores)
    assert paired is not None
    assert paired.mean == pytest.approx(summary.mean - 0.25)
    assert (paired.low, paired.high, paired.half_width, paired.t_p, paired.wilcoxon_p) == (None,) * 5


def test_identical_methods_have_no_test_result() -> None:
    scores = {("a", 0): 0.5, ("b", 0): 0.7}
    paired = compare_paired(scores, scores)
    assert paired is not None
    assert (paired.mean, paired.t_p, paired.wilcoxon_p) == (0.0, None, None)


def test_comparison_equals_a_computation_by_hand() -> None:
    first = {("a", 0): 0.5, ("b", 0): 0.6, ("c", 0): 0.7}
    second = {("a", 0): 0.4, ("b", 0): 0.6, ("c", 0): 0.5}
    paired = compare_paired(first, second)
    assert paired is not None
    # differences -0.1, 0, -0.2: mean -0.1, sd 0.1, t = -sqrt(3), whose two-sided p with 2 degrees is 1 - sqrt(3/5)
    assert paired.mean == pytest.approx(-0.1)
    assert paired.half_width == pytest.approx(4.302653 * 0.1 / math.sqrt(3))
    assert paired.t_p == pytest.approx(1 - math.sqrt(3 / 5))
    # two differences that are not zero, both negative: the two-sided exact p is 2 / 2**2
    assert paired.wilcoxon_p == pytest.approx(0.5)
    assert (paired.subjects, paired.seeds) == (3, 1)


def test_p_values_equal_scipy_over_subjects() -> None:
    chance = np.random.default_rng(7)
    first = {(f"s{subject:02d}", seed): float(chance.normal(0.6, 0.1)) for subject in range(12) for seed in range(3)}
    second = {key: value + float(chance.normal(0.02, 0.03)) for key, value in first.items()}
    paired = compare_paired(first, second)
    assert paired is not None
    one, two = (np.array(list(by_subject(scores).values())) for scores in (first, second))
    reference = stats.ttest_rel(two, one)
    assert paired.t_p == pytest.approx(reference.pvalue)
    assert (paired.low, paired.high) == pytest.approx(tuple(reference.confidence_interval(0.95)))
    assert paired.wilcoxon_p == pytest.approx(stats.wilcoxon(two, one).pvalue)


def test_comparison_uses_pairs_that_both_methods_have() -> None:
    first = {("a", 0): 0.5, ("a", 1): 0.1, ("b", 0): 0.5, ("c", 0): 0.9}
    second = {("a", 0): 0.6, ("b", 0): 0.7, ("b", 1): 0.0, ("d", 0): 0.1}
    paired = compare_paired(first, second)
    assert paired is not None
    assert {name: each[0] for name, each in paired.differences.items()} == pytest.approx({"a": 0.1, "b": 0.2})
    assert compare_paired({("a", 0): 0.5}, {("a", 1): 0.5}) is None


def test_spread_over_seeds_uses_subjects_that_every_seed_has() -> None:
    spread = seed_spread({("a", 0): 0.5, ("a", 1): 0.6, ("b", 0): 0.7, ("b", 1): 0.6, ("c", 0): 0.0})
    assert spread.means == pytest.approx({0: 0.6, 1: 0.6})
    assert spread.sd == pytest.approx(0.0)
    assert seed_spread({("a", 0): 0.5}).sd is None
    assert seed_spread({("a", 0): 0.5, ("b", 1): 0.7}).means == {}


def test_holm_equals_a_computation_by_hand() -> None:
    # sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, never falling
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, None, 0.9]) == [1.0, None, 1.0]
    assert holm([0.03, None]) == [0.03, None]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_between_uncorrected_and_bonferroni_and_keeps_the_order(p_values) -> None:
    corrected = holm(p_values)
    for p, q in zip(p_values, corrected, strict=True):
        assert p <= q <= min(1.0, len(p_values) * p)
    order = np.argsort(p_values, kind="stable")
    assert all(corrected[a] <= corrected[b] for a, b in itertools.pairwise(order))


@given(pairs, st.integers(-500, 500))
def test_constant_gain_shifts_only_the_mean_difference(scores, thousandths) -> None:
    first, second = split(scores)
    gain = thousandths / 1000
    before = compare_paired(first, second)
    after = compare_paired(first, {key: value + gain for key, value in second.items()})
    assert before is not None
    assert after is not None
    assert after.mean - before.mean == pytest.approx(gain, abs=1e-12)
    assert (after.half_width is None) == (before.half_width is None)
    if before.half_width is not None:
        assert after.half_width == pytest.approx(before.half_width, rel=1e-6)


@given(pairs)
def test_reversed_comparison_changes_only_its_sign(scores) -> None:
    first, second = split(scores)
    there, back = compare_paired(first, second), compare_paired(second, first)
    assert there is not None
    assert back is not None
    assert back.mean == pytest.approx(-there.mean)
    assert back.t_p == (None if there.t_p is None else pytest.approx(there.t_p))
    assert back.wilcoxon_p == (None if there.wilcoxon_p is None else pytest.approx(there.wilcoxon_p))
    if there.low is not None:
        assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
        assert there.low <= there.mean <= there.high


@given(pairs, st.randoms())
def test_statistics_do_not_depend_on_the_order_of_scores(scores, chance) -> None:
    items = list(scores.items())
    chance.shuffle(items)
    assert compare_paired(*split(scores)) == compare_paired(*split(dict(items)))
    assert summarize(split(scores)[0]) == summarize(split(dict(items))[0])
