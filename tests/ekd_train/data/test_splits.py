import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.errors import ConfigError, DataError
from ekd_train.data.splits import (
    LeakyTrialSplit,
    SplitConfig,
    SubjectSplit,
    fold_count,
    holdout_split,
    k_fold_splits,
    leave_one_subject_out,
    make_split,
    parse_split,
    sides,
    split_from_json,
    split_to_json,
)
from ekd_train.data.windows import WindowSet

names = st.lists(st.text("abcdef0123", min_size=1, max_size=4), min_size=3, max_size=30, unique=True)


def everyone(split: SubjectSplit) -> list[str]:
    return sorted(split.train + split.validation + split.test)


@given(names, st.integers(0, 2**32), st.floats(0, 0.49), st.floats(0.01, 0.5))
def test_holdout_split_is_a_partition(subjects: list[str], seed: int, validation: float, test: float) -> None:
    split = holdout_split(subjects, seed, validation, test)
    assert everyone(split) == sorted(subjects)
    assert split.train
    assert split.test
    assert bool(split.validation) == (validation > 0)
    assert split == holdout_split(subjects[::-1], seed, validation, test)


@given(names, st.integers(2, 6), st.integers(0, 1000), st.floats(0, 0.9))
def test_folds_test_every_subject_once(subjects: list[str], folds: int, seed: int, validation: float) -> None:
    if len(subjects) < folds:
        with pytest.raises(DataError, match="at least"):
            list(k_fold_splits(subjects, folds, seed, validation))
        return
    splits = list(k_fold_splits(subjects, folds, seed, validation))
    assert len(splits) == folds
    assert sorted(name for split in splits for name in split.test) == sorted(subjects)
    assert all(everyone(split) == sorted(subjects) for split in splits)


def test_leave_one_out_tests_one_subject_per_fold() -> None:
    splits = list(leave_one_subject_out(["a", "b", "c", "d"]))
    assert sorted(split.test for split in splits) == [("a",), ("b",), ("c",), ("d",)]


def test_seeds_give_different_splits() -> None:
    subjects = [f"s{k}" for k in range(20)]
    assert len({holdout_split(subjects, seed).test for seed in range(10)}) > 5


@pytest.mark.parametrize(
    ("train", "validation", "test", "message"),
    [
        (("a", "b"), (), ("b",), "'b' is on two sides"),
        (("a", "a"), (), ("b",), "'a' is on two sides"),
        (("a",), ("c",), ("c",), "'c' is on two sides"),
        ((), (), ("b",), "at least one subject"),
        (("a",), (), (), "at least one subject"),
    ],
)
def test_subject_on_two_sides_is_refused(
    train: tuple[str, ...], validation: tuple[str, ...], test: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        SubjectSplit(train, validation, test)


def test_too_few_subjects_are_refused() -> None:
    with pytest.raises(DataError, match="needs at least 3 subjects, but there are 2"):
        holdout_split(["a", "b"], seed=0)
    with pytest.raises(DataError, match="shares"):
        holdout_split(["a", "b", "c"], seed=0, validation=0.5, test=0.5)
    with pytest.raises(DataError, match="at least 2 folds"):
        list(k_fold_splits(["a", "b", "c"], 1, 0))
    with pytest.raises(DataError, match="got a subject twice"):
        holdout_split(["a", "a", "b"], seed=0)


def windows_of(subjects: list[str], trials: int, per_trial: int) -> WindowSet:
    """Return windows of zeros, `per_trial` for each of `trials` trials of each subject."""
    n = len(subjects) * trials * per_trial
    return WindowSet(
        gsr=np.zeros((n, 4), np.float32),
        eeg=None,
        ratings=np.ones((n, 1), np.float32),
        labels=np.zeros((n, 1), np.int64),
        targets=("arousal",),
        subject=np.repeat(subjects, trials * per_trial),
        trial=np.tile(np.repeat([f"t{k}" for k in range(trials)], per_trial), len(subjects)),
        recording=np.repeat(subjects, trials * per_trial),
        end_s=np.arange(n, dtype=np.float64),
    )


kinds = st.sampled_from(["holdout", "leave-one-out", "k-fold", "trial-leaky"])


@given(st.integers(5, 12), kinds, st.integers(2, 5), st.integers(0, 1000), st.data())
def test_sides_are_disjoint_and_hold_every_window(
    people: int, kind: str, folds: int, seed: int, data: st.DataObject
) -> None:
    subjects = [f"s{k}" for k in range(people)]
    config = SplitConfig(kind=kind, folds=folds)  # type: ignore[arg-type]
    fold = data.draw(st.integers(0, fold_count(config, subjects) - 1))
    split = make_split(SplitConfig(kind=kind, folds=folds, fold=fold), seed, subjects)  # type: ignore[arg-type]
    windows = windows_of(subjects, 6, 3)
    found = sides(split, windows)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(windows)))
    on = [set(zip(windows.subject[side], windows.trial[side], strict=True)) for side in found]
    assert not (on[0] & on[1] | on[0] & on[2] | on[1] & on[2]), "a trial is on two sides"
    people_on = [{subject for subject, _ in side} for side in on]
    shared = people_on[0] & people_on[1] | people_on[0] & people_on[2] | people_on[1] & people_on[2]
    assert shared == (set(subjects) if kind == "trial-leaky" else set())
    assert split_from_json(split_to_json(split)) == split


@given(st.integers(0, 1000))
def test_leaky_folds_test_every_trial_once(seed: int) -> None:
    subjects = ["a", "b"]
    windows = windows_of(subjects, 10, 1)
    tested = [sides(LeakyTrialSplit(("a", "b"), seed, 5, fold, 0.2), windows).test for fold in range(5)]
    assert sorted(np.concatenate(tested).tolist()) == list(range(20))


def test_leave_one_out_tests_the_same_subject_with_every_seed() -> None:
    subjects = [f"s{k}" for k in range(6)]
    for seed in range(5):
        for fold in range(6):
            split = make_split(SplitConfig(kind="leave-one-out", fold=fold), seed, subjects)
            assert isinstance(split, SubjectSplit)
            assert split.test == (f"s{fold}",)


def test_empty_side_is_refused() -> None:
    split = SubjectSplit(("a",), ("b",), ("c",))
    with pytest.raises(DataError, match=r"the validation side of the split \(b\) has no windows"):
        sides(split, windows_of(["a", "c"], 2, 2))


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("holdout", {"kind": "holdout"}),
        ("leave-one-out", {"kind": "leave-one-out"}),
        ("k-fold:8", {"kind": "k-fold", "folds": 8}),
        ("trial-leaky", {"kind": "trial-leaky"}),
        ("trial-leaky:10", {"kind": "trial-leaky", "folds": 10}),
    ],
)
def test_split_names_are_parsed(text: str, settings: dict[str, object]) -> None:
    assert parse_split(text) == settings


@pytest.mark.parametrize("text", ["", "loso", "holdout:3", "k-fold:", "k-fold:x", "leave-one-out:2", "trial"])
def test_unknown_split_names_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="write holdout, leave-one-out"):
        parse_split(text)


def test_missing_fold_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"fold 3 does not exist: the folds of leave-one-out are 0 to 2"):
        make_split(SplitConfig(kind="leave-one-out", fold=3), 0, ["a", "b", "c"])


@pytest.mark.parametrize("wrong", [{"folds": 1}, {"validation": 0.0}, {"rated": 0.0}, {"fold": -1}])
def test_split_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        SplitConfig(**wrong)  # type: ignore[arg-type]
