from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from ekd_edge.errors import DataError, ExportError
from ekd_export.quantize import calibration_windows, fingerprint, quantize


def test_few_windows_are_all_taken_in_their_order(windows) -> None:
    np.testing.assert_array_equal(calibration_windows(windows, seed=0), windows.gsr)


def test_the_draw_is_even_over_subjects_and_classes(windows) -> None:
    marked = replace(windows, gsr=np.arange(len(windows), dtype=np.float32)[:, None] + np.array([[0.0, 0.5]], "f4"))
    picked = calibration_windows(marked, seed=3, count=48)[:, 0].astype(int)
    groups = Counter(zip(windows.subject[picked], map(tuple, windows.labels[picked].tolist()), strict=True))
    present = set(zip(windows.subject, map(tuple, windows.labels.tolist()), strict=True))
    assert groups.keys() == present
    assert max(groups.values()) - min(groups.values()) <= 1
    assert len(set(picked)) == 48


def test_the_draw_depends_on_the_seed_alone(windows) -> None:
    one, again, other = (calibration_windows(windows, seed, 20) for seed in (1, 1, 2))
    assert fingerprint(one) == fingerprint(again) != fingerprint(other)


def test_the_fingerprint_is_of_the_bytes() -> None:
    zeros = np.zeros((1, 4), np.float32)
    assert fingerprint(zeros) == "374708fff7719dd5979ec875d56cd2286f6d3cf7ec317a3b25632aab28ec37bb"


def test_windows_that_cannot_calibrate_are_refused(windows) -> None:
    with pytest.raises(DataError, match="no calibration window"):
        calibration_windows(windows.select([]), seed=0)
    with pytest.raises(DataError, match="constant"):
        calibration_windows(replace(windows, gsr=np.ones_like(windows.gsr)), seed=0)
    with pytest.raises(DataError, match="no numbers"):
        calibration_windows(replace(windows, gsr=np.full_like(windows.gsr, np.nan)), seed=0)
    with pytest.raises(DataError, match="same arousal"):
        calibration_windows(windows.select(windows.labels[:, 0] == 1), seed=0)


def test_what_is_no_model_cannot_be_quantized(windows) -> None:
    with pytest.raises(ExportError, match="cannot quantize"):
        quantize(b"\x1c\0\0\0TFL3" + bytes(64), windows.gsr[:2])
