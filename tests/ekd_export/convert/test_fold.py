from collections.abc import Callable

import numpy as np
import pytest
import torch

from ekd_export.convert.fold import InferenceStudent, fold, softsign_of_tanhs
from ekd_export.convert.tflite import torch_logits
from ekd_train.models.config import NetworkConfig
from ekd_train.models.student import Student

WINDOWS = np.random.default_rng(1).normal(size=(6, 512)).cumsum(axis=1).astype(np.float32) / 10
Make = Callable[[NetworkConfig, np.ndarray], Student]


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(),
        NetworkConfig(gate="hardtanh", targets=("arousal", "valence")),
        NetworkConfig(student="compact", targets=("arousal", "valence")),
        NetworkConfig(student="edge", targets=("arousal", "valence")),
        NetworkConfig(student="edge", student_filters=12, student_ffn=20, student_mix=5, depth=2, kernel=16, stride=5),
        NetworkConfig(filters=12, heads=3, key_size=5, ffn=7, depth=2, kernel=16, stride=5, targets=("a", "b", "c")),
    ],
    ids=["published", "hardtanh", "compact", "edge", "odd edge", "odd"],
)
def test_folding_changes_no_logit(random_student: Make, config: NetworkConfig) -> None:
    student = random_student(config, WINDOWS)
    expected = student(torch.tensor(WINDOWS)).logits.detach().numpy().reshape(len(WINDOWS), -1)
    folded = torch_logits(fold(student, integer=False), WINDOWS)
    assert folded.shape == (6, len(config.targets) * config.classes)
    np.testing.assert_allclose(folded, expected, atol=1e-5)
    assert np.ptp(expected, axis=0).min() > 1e-3


def test_hard_gates_stay_exact_in_integer_form(random_student: Make) -> None:
    student = random_student(NetworkConfig(gate="hardtanh"), WINDOWS)
    exact, integer = (torch_logits(InferenceStudent(student, integer=form), WINDOWS) for form in (False, True))
    np.testing.assert_allclose(exact, integer, atol=1e-5)


def test_folding_halves_the_weights_of_the_published_student(random_student: Make) -> None:
    student = random_student(NetworkConfig(), WINDOWS)
    trained = sum(weight.numel() for weight in student.parameters())
    folded = sum(weight.numel() for weight in InferenceStudent(student, integer=False).parameters())
    assert folded < 0.3 * trained


def test_softsign_of_tanhs_is_softsign_within_half_a_step_of_int8() -> None:
    values = torch.linspace(-64, 64, 100_001, dtype=torch.float64)
    error = (softsign_of_tanhs(values) - torch.nn.functional.softsign(values)).abs().max()
    assert error < 0.0034
    assert error < 0.5 * 2 / 255
    assert torch.equal(softsign_of_tanhs(-values), -softsign_of_tanhs(values))


def test_folded_student_keeps_its_own_weights(random_student: Make) -> None:
    student = random_student(NetworkConfig(depth=2, heads=1, filters=8), WINDOWS)
    folded = InferenceStudent(student, integer=False)
    before = torch_logits(folded, WINDOWS)
    with torch.no_grad():
        for weight in student.parameters():
            weight.zero_()
    np.testing.assert_array_equal(torch_logits(folded, WINDOWS), before)
