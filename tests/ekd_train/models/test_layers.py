"""Tests of the noise that imitates int8 rounding in training."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ekd_train.models.config import STUDENTS, NetworkConfig, StudentKind
from ekd_train.models.layers import RoundingNoise
from ekd_train.models.student import Student
from ekd_train.models.teacher import Teacher

SMALL = NetworkConfig(
    window_samples=64, filters=8, kernel=16, heads=2, key_size=4, ffn=8, eeg_rows=3, student_filters=8, student_ffn=8,
    head_dropout=0.0, block_dropout=0.0, classifier_dropout=0.0,
)  # fmt: skip


@given(steps=st.floats(0.5, 64), low=st.floats(-50, 50), width=st.floats(0.1, 100))
def test_noise_is_at_most_half_its_width_in_int8_steps_of_the_range(steps: float, low: float, width: float) -> None:
    values = torch.rand(16, 9, 5) * width + low
    added = RoundingNoise(steps)(values) - values
    step = (max(float(values.max()), 0.0) - min(float(values.min()), 0.0)) / 255
    rounding = 1e-5 * (abs(low) + width)
    assert float(added.abs().max()) <= steps * step / 2 + rounding
    assert float(added.abs().max()) > steps * step / 4


def test_noise_is_the_same_at_all_tokens_of_a_channel_and_differs_between_windows() -> None:
    values = torch.randn(4, 7, 3)
    added = RoundingNoise(16.0)(values) - values
    torch.testing.assert_close(added, added[:, :1].expand_as(added), rtol=0, atol=1e-6)
    assert len(torch.unique(added[:, 0].round(decimals=6))) == 12


def test_noise_passes_the_gradient_unchanged() -> None:
    values = torch.randn(4, 7, 3, requires_grad=True)
    RoundingNoise(16.0)(values).sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, torch.ones_like(values))


@pytest.mark.parametrize("noise", [RoundingNoise(0.0), RoundingNoise(16.0).eval()], ids=["no steps", "inference"])
def test_noise_is_absent_without_steps_and_in_inference(noise: RoundingNoise) -> None:
    values = torch.randn(2, 3, 4)
    assert noise(values) is values


@pytest.mark.parametrize("kind", STUDENTS)
def test_student_of_kind_edge_only_is_trained_with_noise(kind: StudentKind) -> None:
    student, window = Student(replace(SMALL, student=kind)).train(), torch.randn(4, 64)
    repeated = torch.equal(student(window).logits, student(window).logits)
    assert repeated is (kind != "edge")


def test_teacher_is_trained_without_noise() -> None:
    teacher = Teacher(SMALL).train()
    eeg, gsr = torch.randn(4, 3, 64), torch.randn(4, 64)
    assert torch.equal(teacher(eeg, gsr).logits, teacher(eeg, gsr).logits)
