"""The temperature: known answers, the folded layer, and what is said where none can be fitted."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from ekd_export.convert.tflite import student_logits
from ekd_export.evaluation.temperature import fit_temperature, fit_temperatures, with_temperatures
from ekd_train.data.windows import WindowSet
from ekd_train.run import Run


def drawn(temperature: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn with the probabilities of logits / temperature, and the logits."""
    generator = np.random.default_rng(3)
    logits = generator.normal(scale=2, size=(count, 2)).astype(np.float32)
    labels = (generator.random(count) < softmax(logits / temperature, axis=1)[:, 1]).astype(np.int64)
    return labels, logits


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_fit_finds_the_temperature_that_labels_were_drawn_with(temperature: float) -> None:
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.05)


def test_temperature_lowers_nll_and_calibration_error(windows: WindowSet) -> None:
    labels, logits = drawn(3.0, len(windows))
    set_of_labels = replace(windows, labels=np.stack([labels, labels], axis=1))
    for each in fit_temperatures(set_of_labels, np.stack([logits, logits], axis=1), ("low", "high")):
        assert each.nll_before is not None
        assert each.nll_after is not None
        assert each.nll_after < each.nll_before
        assert each.ece_before is not None
        assert each.ece_after is not None
        assert each.ece_after < each.ece_before


def test_missing_class_or_windows_leave_probabilities_as_trained(windows: WindowSet) -> None:
    lacking = replace(windows, labels=np.zeros_like(windows.labels))
    logits = np.zeros((len(windows), 2, 2), np.float32)
    for each in (
        *fit_temperatures(lacking, logits, ("low", "high")),
        *fit_temperatures(windows.select([]), logits[:0], ("low", "high")),
    ):
        assert each.value == 1
        assert each.why_not is not None
        assert "give validation more subjects with split.validation" in each.why_not


def test_folded_temperature_divides_the_logits_and_changes_no_class(run: Run, windows: WindowSet) -> None:
    student = run.student()
    before = student_logits(student, windows.gsr[:50])
    after = student_logits(with_temperatures(student, {"arousal": 2.0, "valence": 0.5}), windows.gsr[:50])
    np.testing.assert_allclose(after, before / np.array([[[2.0], [0.5]]], np.float32), rtol=1e-4, atol=1e-6)
    assert (after.argmax(-1) == before.argmax(-1)).all()
    np.testing.assert_array_equal(student_logits(student, windows.gsr[:50]), before)
