"""What is proposed after a sign-off that did not pass."""

from typing import Any

import numpy as np
import pytest

from ekd_export.evaluation.advice import advice
from ekd_export.evaluation.signoff import Verdict, judge


def verdict(subjects: int, others: int, flipped: int = 0, max_drop: float | None = 0.01) -> Verdict:
    labels = np.tile(np.arange(40) % 2, subjects)[:, None]
    names = np.repeat([f"s{number:02d}" for number in range(subjects)], 40)
    before = np.stack([1.0 - labels, labels], axis=-1).astype(np.float32)
    after = before.copy()
    changed: Any = np.tile(np.arange(40) < flipped, subjects)
    after[changed] = 1 - before[changed]
    return judge(["t"], labels, names, before, after, max_drop, others=[{f"o{n}": 0.0 for n in range(others)}])


@pytest.mark.parametrize("found", [verdict(16, 48), verdict(16, 48, max_drop=None)])
def test_passed_and_not_judged_need_no_advice(found: Verdict) -> None:
    assert advice(found, "static") == ()


def test_undecided_for_few_subjects_begins_with_their_number() -> None:
    found = verdict(6, 18)
    assert found.result == "undecided"
    first, second, *others = advice(found, "static")
    assert first.startswith("more subjects: about 12 test subjects like these are enough")
    assert second == "a larger allowance: these subjects show a change within 2.2 points (--max-drop 0.022)"
    assert others[-1] == "the float32 student: --recipe float32"
    assert any("--recipe dynamic" in each for each in others)


def test_failed_begins_with_another_recipe() -> None:
    found = verdict(16, 48, flipped=4)
    assert found.result == "failed"
    assert advice(found, "static")[0].startswith("another recipe: --recipe")
    assert advice(found, "float16")[0] == "the float32 student: --recipe float32"
