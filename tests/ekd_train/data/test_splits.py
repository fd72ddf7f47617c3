import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.errors import DataError
from ekd_train.data.splits import SubjectSplit, holdout_split, k_fold_splits, leave_one_subject_out

names = st.lists(st.text("abcdef0123", min_size=1, max_size=4), min_size=3, max_size=30, unique=True)


def sides(split: SubjectSplit) -> list[str]:
    return sorted(split.train + split.validation + split.test)


@given(names, st.integers(0, 2**32), st.floats(0, 0.49), st.floats(0.01, 0.5))
def test_a_holdout_split_is_a_partition(subjects: list[str], seed: int, validation: float, test: float) -> None:
    split = holdout_split(subjects, seed, validation, test)
    assert sides(split) == sorted(subjects)
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
    assert all(sides(split) == sorted(subjects) for split in splits)


def test_leaving_one_out_tests_one_at_a_time() -> None:
    splits = list(leave_one_subject_out(["a", "b", "c", "d"]))
    assert sorted(split.test for split in splits) == [("a",), ("b",), ("c",), ("d",)]


def test_seeds_differ() -> None:
    subjects = [f"s{k}" for k in range(20)]
    assert len({holdout_split(subjects, seed).test for seed in range(10)}) > 5


@pytest.mark.parametrize(
    ("train", "validation", "test", "says"),
    [
        (("a", "b"), (), ("b",), "'b' is on two sides"),
        (("a", "a"), (), ("b",), "'a' is on two sides"),
        (("a",), ("c",), ("c",), "'c' is on two sides"),
        ((), (), ("b",), "at least one subject"),
        (("a",), (), (), "at least one subject"),
    ],
)
def test_overlap_is_refused(
    train: tuple[str, ...], validation: tuple[str, ...], test: tuple[str, ...], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        SubjectSplit(train, validation, test)


def test_too_few_subjects_are_refused() -> None:
    with pytest.raises(DataError, match="needs at least 3 subjects, there are 2"):
        holdout_split(["a", "b"], seed=0)
    with pytest.raises(DataError, match="shares"):
        holdout_split(["a", "b", "c"], seed=0, validation=0.5, test=0.5)
    with pytest.raises(DataError, match="at least 2 folds"):
        list(k_fold_splits(["a", "b", "c"], 1, 0))
    with pytest.raises(DataError, match="named once"):
        holdout_split(["a", "a", "b"], seed=0)
