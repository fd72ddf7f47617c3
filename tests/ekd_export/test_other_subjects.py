"""Disagreement of training and validation subjects."""

from dataclasses import replace

import numpy as np
import pytest

from ekd_export import other_subjects
from ekd_export.candidate import Candidate
from ekd_export.inputs import ExportInputs, read_inputs
from ekd_export.other_subjects import disagreement_of_others, thinned
from ekd_export.quantization.audit import audit
from ekd_export.quantization.recipes import RECIPES
from ekd_train.data.windows import WindowSet
from ekd_train.run import Run


@pytest.fixture(scope="module")
def inputs(run: Run) -> ExportInputs:
    return read_inputs(run, lambda message: None)


def test_thinned_windows_are_spread_over_each_subject(windows: WindowSet) -> None:
    few = thinned(windows, 3)
    for name in windows.subjects:
        mine = np.flatnonzero(windows.subject == name)
        np.testing.assert_array_equal(few.gsr[few.subject == name][[0, -1]], windows.gsr[mine[[0, -1]]])
    assert len(few) == 3 * len(windows.subjects)
    assert len(thinned(windows, 10_000)) == len(windows)
    assert len(thinned(windows.select([]))) == 0


def test_float_model_agrees_on_every_training_and_validation_subject(inputs: ExportInputs, exports) -> None:
    model_file = exports.float32
    candidate = Candidate(model_file, audit(model_file.flatbuffer, "float32"), model_file.flatbuffer)
    one_window = 1 / min(int((inputs.train.subject == name).sum()) for name in inputs.train.subjects)
    for shares in disagreement_of_others(inputs, candidate, RECIPES["float32"]):
        assert shares.keys() == {"s000", "s001", "s002"}
        assert sum(shares.values()) <= one_window, "only the median window of the random student has a margin of zero"


def test_training_subjects_never_meet_ranges_calibrated_on_them(
    inputs: ExportInputs, windows: WindowSet, exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []

    def requantized(candidate: Candidate, recipe: object, calibration: np.ndarray) -> Candidate:
        used.append(calibration)
        return candidate

    monkeypatch.setattr(other_subjects, "requantized", requantized)
    four = ["s003", "s004", "s005", "s006"]
    wider = replace(inputs, train=windows.of_subjects(four), validation=windows.select([]))
    candidate = Candidate(exports.int8, audit(exports.int8.flatbuffer, "int8"), exports.float32.flatbuffer)
    found = disagreement_of_others(wider, candidate, RECIPES["static"])
    assert [sorted(shares) for shares in found] == [four, four]
    rows = {row.tobytes(): name for row, name in zip(windows.gsr, windows.subject, strict=True)}
    assert [{rows[row.tobytes()] for row in each} for each in used] == [{"s004", "s006"}, {"s003", "s005"}]


def test_training_subjects_who_cannot_calibrate_each_other_are_left_out(inputs: ExportInputs, exports) -> None:
    candidate = Candidate(exports.int8, audit(exports.int8.flatbuffer, "int8"), exports.float32.flatbuffer)
    found = disagreement_of_others(inputs, candidate, RECIPES["static"])
    assert [sorted(shares) for shares in found] == [["s002"], ["s002"]]
