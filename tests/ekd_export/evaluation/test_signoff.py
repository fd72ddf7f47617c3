"""The sign-off: its figures against known values, and verdicts that pass and fail."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.signoff_simulation import SCENARIOS, SUBJECTS, false_pass_rate
from ekd_edge.errors import ConfigError, DataError, ExportError
from ekd_export.evaluation.criteria import shortfalls
from ekd_export.evaluation.equivalence import ERROR, e_value, limits, subjects_for_e_value, subjects_for_t
from ekd_export.evaluation.latency import measure_latency
from ekd_export.evaluation.signoff import Verdict, judge
from ekd_export.evaluation.window_metrics import BINS, flips, margin_error, reliability, sqnr_db


def windows(seed: int, subjects: int = 5, each: int = 30, targets: int = 1) -> tuple[Any, Any, Any]:
    """Labels, subjects, and logits that are right in most windows."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, (subjects * each, targets))
    logits = generator.normal(size=(len(labels), targets, 2)).astype(np.float32)
    logits[..., 1] += 1.5 * (labels * 2 - 1)
    return labels, np.repeat([f"s{number}" for number in range(subjects)], each), logits


def verdict(
    labels: Any, subjects: Any, before: Any, after: Any, max_drop: float | None = 0.01, others: int = 0
) -> Verdict:
    """others: the number of further subjects, whose classes never changed."""
    targets = [f"t{number}" for number in range(labels.shape[1])]
    unchanged = [{f"o{number}": 0.0 for number in range(others)} for _ in targets]
    return judge(targets, labels, subjects, before, after, max_drop, others=unchanged)


@given(seed=st.integers(0, 10_000), max_drop=st.floats(0.01, 0.5))
@settings(max_examples=20, deadline=None)
def test_unchanged_classes_pass_with_60_subjects(seed: int, max_drop: float) -> None:
    labels, subjects, logits = windows(seed, subjects=15, each=10, targets=2)
    found = verdict(labels, subjects, logits, logits, max_drop, others=45)
    assert found.passed
    assert (found.reasons, found.test_subjects) == ((), None)
    assert found.shown_within == 0.008
    for each in found.targets:
        assert (each.accuracy.mean, each.agreement, each.margin.sqnr_db) == (0, 1, None)
        assert (each.flips.broken, each.flips.repaired, each.flips.p) == (0, 0, 1)
        assert each.disagreement.beyond_worst == pytest.approx(1 - 0.025 ** (1 / 60))


def test_unchanged_classes_of_few_subjects_are_undecided_and_say_how_many_it_takes() -> None:
    labels, subjects, logits = windows(1, subjects=6)
    found = verdict(labels, subjects, logits, logits, others=18)
    assert (found.result, found.passed, found.test_subjects) == ("undecided", False, 12)
    assert "6 test subjects of 24 subjects are too few to exclude a rare large loss" in found.reasons[0]
    labels, subjects, logits = windows(1, subjects=12)
    assert verdict(labels, subjects, logits, logits, others=36).passed


def test_one_other_subject_whose_classes_change_prevents_passed() -> None:
    labels, subjects, logits = windows(1, subjects=16)
    others = [{f"o{number}": 0.0 for number in range(47)} | {"worst": 0.05}]
    found = judge(["t"], labels, subjects, logits, logits, 0.01, others=others)
    assert found.result == "undecided"
    assert found.test_subjects is None
    (reason,) = found.reasons
    assert "5.0% of the windows of subject worst" in reason
    assert found.disagreement_limit == pytest.approx(0.01 + 0.11 * 16 / 64)
    assert reason.endswith(f"at most {found.disagreement_limit:.1%} of any subject's is allowed")


def test_gain_by_answering_one_class_more_often_fails() -> None:
    labels, subjects, before = windows(4, subjects=16, each=200)
    wrong = np.flatnonzero((before[:, 0].argmax(-1) != labels[:, 0]) & (labels[:, 0] == 0))
    after = before.copy()
    after[wrong[: int(0.06 * len(labels))]] = (1, 0)
    found = verdict(labels, subjects, before, after, others=48)
    (target,) = found.targets
    assert target.accuracy.mean > 0.02
    assert found.result == "failed"
    assert any("accuracy changes by +" in reason for reason in found.reasons)


def test_many_changed_classes_fail_without_any_change_of_accuracy() -> None:
    labels, subjects, before = windows(5, subjects=16, each=200)
    after, predicted = before.copy(), before[:, 0].argmax(-1)
    for subject in np.unique(subjects):
        for right in (True, False):
            mine = np.flatnonzero((subjects == subject) & ((predicted == labels[:, 0]) == right))[:7]
            after[mine] = -before[mine]
    found = verdict(labels, subjects, before, after, others=0)
    assert found.targets[0].accuracy.mean == 0
    assert not found.passed
    shifted = judge(["t"], labels, subjects, before, after, 0.01, others=[{f"o{n}": 0.07 for n in range(48)}])
    assert shifted.result == "failed"
    assert any("the class changes on" in reason for reason in shifted.reasons)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("subjects", SUBJECTS)
def test_false_passed_is_rare_for_normal_and_skewed_losses(scenario: str, subjects: int) -> None:
    draws = 200
    passed = round(draws * false_pass_rate(scenario, subjects, draws, seed=7))
    assert stats.binom.sf(passed - 1, draws, ERROR) > 1e-4, f"{passed} of {draws} draws passed"


def test_every_population_within_the_assumption_is_rejected_as_often_as_proved() -> None:
    generator = np.random.default_rng(11)
    for test, others, loss in ((4, 4, 0.012), (16, 48, 0.03), (30, 90, 0.12), (20, 40, 0.08), (43, 0, 0.12)):
        bounds = limits(0.01, test, test + others)
        passed = 0
        for _ in range(4000):
            losses = np.where(generator.random(test + others) < 0.01 / loss, loss, 0.0)
            passed += losses.max() <= bounds.disagreement and e_value(losses[:test], bounds) * ERROR >= 1
        assert stats.binom.sf(passed - 1, 4000, ERROR) > 1e-4, (test, others, loss, passed)


def test_number_of_subjects_that_would_do_does() -> None:
    changes = [0.0, 0.004, -0.004, 0.002]
    needed = subjects_for_t(changes, 0.01)
    assert needed is not None
    for count, enough in ((needed, True), (needed - 1, False)):
        half = stats.t.ppf(0.975, count - 1) * np.std(changes, ddof=1) / np.sqrt(count)
        assert (0.0005 + half <= 0.01) == enough
    assert subjects_for_t([0.02, 0.03], 0.01) is None
    assert subjects_for_t([0.0], 0.01) is None
    bounds = limits(0.01, 4, 16)
    count = subjects_for_e_value(-np.array(changes), bounds)
    assert count is not None
    assert e_value(np.tile(-np.array(changes), 25)[: 4 * (-(-count // 4))], bounds) * ERROR >= 1
    assert subjects_for_e_value(np.array([0.03, 0.02]), bounds) is None


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_before_and_after_swapped_swaps_the_figures_and_order_is_irrelevant(seed: int) -> None:
    labels, subjects, before = windows(seed)
    after = before + np.random.default_rng(seed).normal(size=before.shape).astype(np.float32)
    (one,), (other,) = (verdict(labels, subjects, *pair).targets for pair in ((before, after), (after, before)))
    assert one.accuracy.mean == pytest.approx(-other.accuracy.mean)
    assert (one.flips.broken, one.flips.repaired) == (other.flips.repaired, other.flips.broken)
    order = np.random.default_rng(seed + 1).permutation(len(labels))
    (mixed,) = verdict(labels[order], subjects[order], before[order], after[order]).targets
    assert (mixed.accuracy, mixed.macro_f1, mixed.flips) == (one.accuracy, one.macro_f1, one.flips)


def test_damage_fails_and_each_failing_bound_is_named() -> None:
    labels, subjects, before = windows(0, targets=2)
    after = before.copy()
    after[:, 1] += np.random.default_rng(1).normal(scale=2, size=after[:, 1].shape).astype(np.float32)
    found = verdict(labels, subjects, before, after)
    assert (found.result, found.passed, found.test_subjects) == ("failed", False, None)
    of_damaged = [reason for reason in found.reasons if reason.startswith("t1: ")]
    assert {"accuracy", "macro-F1", "the"} <= {reason.split()[1] for reason in of_damaged}
    assert any("at most 1 either way is allowed" in reason for reason in of_damaged)
    json.dumps(found.to_json(), allow_nan=False)


def test_macro_f1_of_few_complete_subjects_needs_more_test_subjects_in_proportion() -> None:
    labels, subjects, logits = windows(2)
    labels[subjects != "s3"] = 1
    found = verdict(labels, subjects, logits, logits)
    (shortfall,) = (each for each in shortfalls(found.targets[0], 0.01) if "macro-F1" in each.reason)
    assert "needs two or more test subjects with windows of every class, and there is one" in shortfall.reason
    assert shortfall.test_subjects == 2 * len(np.unique(subjects))


def test_single_subject_has_no_interval_and_single_class_no_macro_f1() -> None:
    labels, subjects, logits = windows(2)
    alone = verdict(labels, np.full(len(labels), "s0"), logits, logits)
    assert alone.result == "undecided"
    assert "needs two or more test subjects, and there is one" in alone.reasons[0]
    labels[subjects == "s3"] = 1
    (target,) = verdict(labels, subjects, logits, logits).targets
    assert (target.one_class_subjects, target.accuracy.subjects) == (1, 5)
    assert target.macro_f1 is not None
    assert target.macro_f1.subjects == 4
    labels[:] = np.isin(subjects, ["s0", "s1"])[:, None]
    damaged = verdict(labels, subjects, logits, -logits)
    assert any("no test subject has windows of every class" in reason for reason in damaged.reasons)
    assert any("the class changes on 100.0%" in reason for reason in damaged.reasons)


def test_larger_class_is_the_yardstick_over_subjects() -> None:
    labels, subjects, logits = windows(6, subjects=2, each=10)
    labels[:, 0] = [0] * 8 + [1] * 2 + [0] * 4 + [1] * 6
    (target,) = verdict(labels, subjects, logits, logits).targets
    assert target.larger_class_accuracy == pytest.approx((0.8 + 0.4) / 2)


def test_data_that_cannot_be_judged_is_refused() -> None:
    labels, subjects, logits = windows(3)
    with pytest.raises(DataError, match="no window of the test subjects is high t0"):
        verdict(np.zeros_like(labels), subjects, logits, logits)
    with pytest.raises(DataError, match="no window to judge by"):
        verdict(labels[:0], subjects[:0], logits[:0], logits[:0])
    for wrong in (0.0, 1.0, float("nan")):
        with pytest.raises(ConfigError, match=r"write 0\.01 for one point"):
            verdict(labels, subjects, logits, logits, wrong)
    with pytest.raises(ExportError, match="NaN or infinite logits"):
        verdict(labels, subjects, logits, logits * np.float32("nan"))
    assert verdict(labels, subjects, logits, logits, None).result == "not judged"


def test_flips_calibration_and_noise_match_hand_calculation() -> None:
    labels, before, after = (np.array(each) for each in ([0, 0, 1, 1, 1], [0, 0, 1, 0, 0], [1, 0, 0, 1, 0]))
    found = flips(labels, before, after)
    assert (found.broken, found.repaired) == (2, 1)
    assert found.p == pytest.approx(stats.binomtest(1, 3).pvalue)
    sure = np.log(np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.2, 0.8]], np.float32))
    table = reliability(np.array([0, 0, 1, 1]), sure)
    assert table.ece == pytest.approx((3 * abs(2 / 3 - 0.9) + 0.2) / 4, abs=1e-6)
    assert len(table.bins) == BINS
    assert sum(each.windows for each in table.bins) == 4
    logits = np.array([[0.0, 2.0], [0.0, -1.0]], np.float32)
    margin = margin_error(logits, logits + np.array([[1.0, 1.2]], np.float32))
    assert margin.sqnr_db == pytest.approx(10 * np.log10(5 / 0.08), abs=1e-4)
    assert (margin.mean_absolute, margin.mean_absolute_margin) == (pytest.approx(0.2), pytest.approx(1.5))
    assert sqnr_db(np.ones((4, 2), np.float32), np.full((4, 2), 1.1, np.float32)) == pytest.approx(20, abs=1e-4)


def test_latency_is_measured_where_there_is_time(exports, windows) -> None:
    quick = measure_latency(exports.int8, windows.gsr, budget_s=0.0)
    assert (quick.runs, quick.p99_ms) == (1, None)
    whole = measure_latency(exports.int8, windows.gsr)
    assert whole.p99_ms is not None
    assert 0 < whole.p50_ms <= whole.p99_ms
    assert whole.runs >= 200
    assert whole.machine
