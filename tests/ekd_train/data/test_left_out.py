import numpy as np
import pytest

from ekd_edge.errors import DataError
from ekd_train.data.left_out import count_left_out, describe_left_out, describe_quality, total_left_out
from ekd_train.data.splits import LeakyTrialSplit, SubjectSplit, sides
from ekd_train.data.windows import LeftOut, WindowSet

SPLIT = SubjectSplit(("a",), ("b",), ("c",))


def windows(names: str, *left_out: LeftOut) -> WindowSet:
    """One window of each letter's subject, trial and recording."""
    n, text = len(names), np.array(list(names))
    rows, labels = np.zeros((n, 4), np.float32), np.zeros((n, 1), np.int64)
    ratings = np.ones((n, 1), np.float32)
    return WindowSet(rows, None, ratings, labels, ("arousal",), text, text, text, np.zeros(n), left_out)


def lost(subject: str, count: int, trial: str = "") -> LeftOut:
    return LeftOut(subject, subject, trial or subject, count)


def test_left_out_windows_are_counted_by_side() -> None:
    counts = count_left_out(SPLIT, windows("aaabbc", lost("a", 1), lost("c", 3), lost("x", 9)))
    assert counts == {
        "training": {"left_out": 1, "windows": 4},
        "validation": {"left_out": 0, "windows": 2},
        "test": {"left_out": 3, "windows": 4},
    }
    assert total_left_out(counts) == (4, 10)
    line = describe_left_out(counts)
    assert line.startswith(
        "left out for signal quality: 4 of 10 windows (40.0%): training 1 of 4 (25.0%), validation 0 "
    )
    assert describe_quality({"keep_bad_windows": False, "sides": counts}) == line
    assert "no window was left out" in describe_quality({"keep_bad_windows": True, "sides": counts})


def test_a_leaky_split_counts_the_trial_on_its_side() -> None:
    trials = [f"t{k}" for k in range(12)]
    subject = np.full(12, "a")
    whole = windows("a" * 12)
    every = WindowSet(
        whole.gsr, None, whole.ratings, whole.labels, ("arousal",), subject, np.array(trials), subject, whole.end_s
    )
    split = LeakyTrialSplit(("a",), 3, 4, 1, 0.2)
    before = sides(split, every)
    bad = int(before.test[0])
    fewer = every.select(np.arange(12) != bad)
    marked = WindowSet(
        *(getattr(fewer, name) for name in fewer.__dataclass_fields__ if name != "left_out"),
        left_out=(LeftOut("a", "a", trials[bad], 5),),
    )
    counts = count_left_out(split, marked)
    assert [count["left_out"] for count in counts.values()] == [0, 0, 5]
    after = sides(split, marked)
    assert marked.trial[after.train].tolist() == every.trial[before.train].tolist()


def test_a_side_of_bad_windows_alone_is_refused_with_a_remedy() -> None:
    with pytest.raises(DataError, match=r"validation side .*\(b\) were left out for their signal quality.*--keep-bad"):
        sides(SPLIT, windows("aac", lost("b", 7)))
    with pytest.raises(DataError, match="has no windows: add subjects"):
        sides(SPLIT, windows("aac", lost("a", 7)))
