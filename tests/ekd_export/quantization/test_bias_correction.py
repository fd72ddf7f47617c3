"""Tests of the correction of the last bias."""

import numpy as np
import torch

from ekd_export.convert.fold import fold
from ekd_export.convert.tflite import convert, student_logits, torch_logits
from ekd_export.quantization.bias_correction import correct_bias
from ekd_export.quantization.interpret import Graph
from ekd_export.quantization.quantize import quantize
from ekd_export.quantization.recipes import RECIPES


def int8_logits(flatbuffer: bytes, windows: np.ndarray) -> np.ndarray:
    """Logits (n, outputs) of an int8 model."""
    graph, rows = Graph(flatbuffer), []
    for window in windows:
        graph.run(window)
        rows.append(graph.values(graph.activations[-1])[0])
    return np.array(rows)


def test_correction_removes_the_mean_error_and_keeps_the_student(run, windows) -> None:
    student = run.student()
    folded = fold(student, integer=True)
    exact = student_logits(student, windows.gsr)
    before = {name: value.clone() for name, value in folded.state_dict().items()}
    shift = np.float32([0.3, -0.2, 0.0, 1.5]).reshape(1, 2, 2)
    corrected = correct_bias(folded, exact + shift, exact)
    moved = torch_logits(corrected, windows.gsr[:20]) - torch_logits(folded, windows.gsr[:20])
    np.testing.assert_allclose(moved, -np.tile(shift.reshape(1, 4), (20, 1)), atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in folded.state_dict().items())


def test_correction_lowers_the_mean_error_of_the_int8_model(run, windows) -> None:
    student, calibration = run.student(), windows.gsr[:256]
    folded, exact = fold(student, integer=True), student_logits(student, calibration).reshape(len(calibration), -1)

    def error(form: torch.nn.Module) -> np.ndarray:
        model = quantize(convert(form, calibration.shape[1]), RECIPES["static"], calibration)
        return int8_logits(model, calibration) - exact

    first = error(folded)
    second = error(correct_bias(folded, (first + exact).reshape(-1, 2, 2), exact.reshape(-1, 2, 2)))
    assert np.abs(second.mean(axis=0)).max() < 0.5 * np.abs(first.mean(axis=0)).max()
