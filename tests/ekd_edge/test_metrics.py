import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from ekd_edge.metrics import accuracy, compare, evaluate, macro_f1, paired_difference, students_t_limit

classes = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


def _logits(predicted: list[list[int]]) -> np.ndarray:
    return np.eye(2, dtype=np.float32)[np.array(predicted)]


def test_accuracy_and_macro_f1_match_hand_calculation() -> None:
    labels, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert accuracy(labels, predicted) == 0.75
    # class 0: 2 hits, 3 true, 2 predicted -> 4/5; class 1: 1 hit, 1 true, 2 predicted -> 2/3
    assert macro_f1(labels, predicted) == pytest.approx((0.8 + 2 / 3) / 2)
    assert macro_f1(np.array([0, 1]), np.array([0, 0])) == pytest.approx((2 / 3 + 0) / 2)
    assert macro_f1(np.array([1, 1]), np.array([1, 1])) == 1.0


@given(classes)
def test_scores_are_between_0_and_1(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(pairs).T
    assert 0 <= macro_f1(labels, predicted) <= 1
    assert (accuracy(labels, predicted) == 1) == (macro_f1(labels, predicted) == 1)
    assert (accuracy(labels, predicted) == 0) == (macro_f1(labels, predicted) == 0)
    relabeled = macro_f1(2 - labels, 2 - predicted)
    assert macro_f1(labels, predicted) == pytest.approx(relabeled)


def test_subjects_weigh_the_same() -> None:
    labels = np.array([[0], [1], [0], [1], [1]])
    subjects = np.array(["b", "b", "b", "b", "a"])
    scores = evaluate(("arousal",), labels, subjects, _logits([[0], [1], [0], [0], [0]]))
    (target,) = scores.targets
    assert [(each.subject, each.windows, each.accuracy) for each in target.subjects] == [("a", 1, 0.0), ("b", 4, 0.75)]
    assert target.accuracy == 0.375
    assert target.predicted == (4, 1)
    assert scores.to_json()["arousal"]["subjects"][1]["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)


def test_interval_is_students_t() -> None:
    difference = paired_difference({"a": 0.5, "b": 0.6, "c": 0.7}, {"a": 0.4, "b": 0.6, "c": 0.5})
    # differences -0.1, 0, -0.2: mean -0.1, standard deviation 0.1, t(0.975, 2) = 4.302653
    assert difference.mean == pytest.approx(-0.1)
    assert difference.low == pytest.approx(-0.1 - 4.302653 * 0.1 / 3**0.5)
    assert difference.high == pytest.approx(-0.1 + 4.302653 * 0.1 / 3**0.5)
    assert difference.subjects == 3


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_limit_of_students_t_equals_scipys_to_12_digits(confidence: float) -> None:
    degrees = [*range(1, 100), 333, 1000, 1001, 9999, 10_000]
    found = [students_t_limit(each, confidence) for each in degrees]
    np.testing.assert_allclose(found, stdtrit(degrees, (1 + confidence) / 2), rtol=1e-12)


def test_single_subject_has_no_interval() -> None:
    difference = paired_difference({"a": 0.5}, {"a": 0.75})
    assert (difference.mean, difference.low, difference.high) == (0.25, None, None)


def test_interval_covers_the_truth_at_its_confidence() -> None:
    chance = np.random.default_rng(4)
    covered = 0
    for _ in range(1000):
        values = {str(i): float(value) for i, value in enumerate(chance.normal(0.02, 0.05, 6))}
        difference = paired_difference(dict.fromkeys(values, 0.0), values)
        assert difference.low is not None
        assert difference.high is not None
        covered += difference.low <= 0.02 <= difference.high
    assert 930 <= covered <= 970


def test_models_are_compared_on_the_same_windows() -> None:
    labels = np.array([[0, 1], [1, 1], [0, 0], [1, 0]])
    subjects = np.array(["a", "a", "b", "b"])
    one = _logits([[0, 1], [1, 1], [0, 0], [1, 0]])
    two = _logits([[0, 0], [1, 1], [1, 0], [1, 0]])
    targets = ("arousal", "valence")
    first, second = (evaluate(targets, labels, subjects, logits) for logits in (one, two))
    arousal, valence = compare(first, second, one, two)
    assert (arousal.target, arousal.agreement, arousal.accuracy.mean) == ("arousal", 0.75, -0.25)
    assert (valence.target, valence.agreement, valence.accuracy.mean) == ("valence", 0.75, -0.25)
    same = compare(first, first, one, one)[0]
    assert (same.agreement, same.accuracy.low, same.accuracy.high) == (1.0, 0.0, 0.0)
