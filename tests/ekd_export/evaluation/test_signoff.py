"""The sign-off: its figures against known values, and verdicts that pass and fail."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ekd_edge.errors import ConfigError, DataError, ExportError
from ekd_export.evaluation.intervals import change_over_subjects
from ekd_export.evaluation.latency import measure_latency
from ekd_export.evaluation.signoff import Verdict, judge
from ekd_export.evaluation.window_metrics import BINS, flips, reliability, sqnr_db


def windows(seed: int, subjects: int = 5, each: int = 30, targets: int = 1) -> tuple[Any, Any, Any]:
    """Labels, subjects, and logits that are right in most windows."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, (subjects * each, targets))
    logits = generator.normal(size=(len(labels), targets, 2)).astype(np.float32)
    logits[..., 1] += 1.5 * (labels * 2 - 1)
    return labels, np.repeat([f"s{number}" for number in range(subjects)], each), logits


def verdict(labels: Any, subjects: Any, before: Any, after: Any, max_drop: float | None = 0.01) -> Verdict:
    return judge([f"t{number}" for number in range(labels.shape[1])], labels, subjects, before, after, max_drop)


@given(seed=st.integers(0, 10_000), max_drop=st.floats(1e-9, 0.5))
@settings(max_examples=20, deadline=None)
def test_unchanged_model_passes_every_allowance(seed: int, max_drop: float) -> None:
    labels, subjects, logits = windows(seed, targets=2)
    found = verdict(labels, subjects, logits, logits, max_drop)
    assert found.passed
    for each in found.targets:
        assert (each.accuracy.mean, each.agreement, each.output_sqnr_db) == (0, 1, None)
        assert (each.flips.broken, each.flips.repaired, each.flips.p) == (0, 0, 1)


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


def test_damage_does_not_pass_and_each_failing_bound_is_named() -> None:
    labels, subjects, before = windows(0, targets=2)
    after = before.copy()
    after[:, 1] += np.random.default_rng(1).normal(scale=2, size=after[:, 1].shape).astype(np.float32)
    found = verdict(labels, subjects, before, after)
    assert found.passed is False
    assert found.result == "not shown"
    assert all(reason.startswith("t1: ") for reason in found.reasons)
    assert {"accuracy", "macro-F1"} <= {reason.split()[1] for reason in found.reasons}
    assert any("bootstrap" in reason for reason in found.reasons)
    assert any("Student t" in reason for reason in found.reasons)
    assert all("-1.00 is allowed" in reason for reason in found.reasons)
    json.dumps(found.to_json(), allow_nan=False)


def test_single_subject_has_no_interval_and_single_class_no_macro_f1() -> None:
    labels, subjects, logits = windows(2)
    single = verdict(labels, np.full(len(labels), "s0"), logits, logits)
    assert single.passed is False
    assert "needs two or more subjects, and there is one" in single.reasons[0]
    labels[subjects == "s3"] = 1
    (target,) = verdict(labels, subjects, logits, logits).targets
    assert (target.one_class_subjects, target.accuracy.subjects) == (1, 5)
    assert target.macro_f1 is not None
    assert target.macro_f1.subjects == 4
    labels[:] = np.isin(subjects, ["s0", "s1"])[:, None]
    damaged = verdict(labels, subjects, logits, -logits)
    assert damaged.passed is False
    assert {reason.split()[1] for reason in damaged.reasons} == {"accuracy", "no"}, "both failings are named"


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


def test_intervals_are_those_of_scipy() -> None:
    generator = np.random.default_rng(4)
    before = {f"s{number}": float(value) for number, value in enumerate(generator.uniform(0.6, 0.9, 12))}
    after = {name: value + float(generator.normal(-0.01, 0.02)) for name, value in before.items()}
    differences = np.array([after[name] - before[name] for name in before])
    change = change_over_subjects(before, after)
    assert change.student_t is not None
    assert change.bootstrap is not None
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (change.student_t.low, change.student_t.high) == pytest.approx((expected.low, expected.high))
    drawn = stats.bootstrap(
        (differences,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(9)
    ).confidence_interval
    assert (change.bootstrap.low, change.bootstrap.high) == pytest.approx((drawn.low, drawn.high), abs=1e-3)


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
    assert sqnr_db(np.ones((4, 2), np.float32), np.full((4, 2), 1.1, np.float32)) == pytest.approx(20, abs=1e-4)


def test_latency_is_measured_where_there_is_time(exports, windows) -> None:
    quick = measure_latency(exports.int8, windows.gsr, budget_s=0.0)
    assert (quick.runs, quick.p99_ms) == (1, None)
    whole = measure_latency(exports.int8, windows.gsr)
    assert whole.p99_ms is not None
    assert 0 < whole.p50_ms <= whole.p99_ms
    assert whole.runs >= 200
    assert whole.machine
