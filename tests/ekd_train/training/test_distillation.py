"""The distillation loss and its gradients equal the published ones."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ekd_edge.errors import ConfigError
from ekd_train.models.config import NetworkConfig, Output
from ekd_train.models.student import Student
from ekd_train.settings.sections import DistillConfig
from ekd_train.training.distillation import (
    LinearProjection,
    PoolProjection,
    build_projection,
    distill_loss,
    hard_loss,
    kd_step,
    soft_loss,
)

TINY = NetworkConfig(window_samples=48, filters=8, heads=2, key_size=8, ffn=8, eeg_rows=3, kernel=16)


def outputs(golden, rows):
    student = Output(golden["in.student_logits"][:rows, None], golden["in.middle_student"][:rows])
    teacher = Output(golden["in.teacher_logits"][:rows, None], golden["in.middle_teacher"][:rows])
    return student, teacher, golden["in.hard_label"][:rows].argmax(1, keepdim=True)


@pytest.mark.parametrize(("rows", "name"), [(6, "first6"), (8, "all8")])
@pytest.mark.parametrize("soft", [1.0, 0.1])
def test_loss_terms_equal_the_published_ones(losses_golden, close, rows, name, soft):
    student, teacher, labels = outputs(losses_golden, rows)
    loss = distill_loss(student, teacher, labels, DistillConfig(1, soft, 1), nn.Identity())
    expected = losses_golden[f"mlkd.{name}.e_1_{soft:g}_1"]
    close(loss.hard, losses_golden[f"mlkd.hard_in_model.{name}"], 0, 1e-5)
    close(loss.soft, expected[1], 1e-6, 1e-5)
    close(loss.feature, expected[2], 0, 1e-5)
    if rows == 6:
        close(loss.hard, expected[0], 0, 1e-5)


def test_loss_terms_of_single_samples_equal_the_published_ones(losses_golden, close):
    student, teacher, labels = outputs(losses_golden, 8)
    for row in range(8):
        one = slice(row, row + 1)
        pair = [Output(output.logits[one], output.feature[one]) for output in (student, teacher)]
        loss = distill_loss(*pair, labels[one], DistillConfig(1, 1, 1), nn.Identity())
        close(loss.hard, losses_golden["per_sample.hard_from_logits"][row], 1e-6, 1e-5)
        close(loss.soft, losses_golden["per_sample.kl_teacher_student"][row], 1e-6, 1e-5)
        close(loss.feature, losses_golden["per_sample.mse_middle"][row], 0, 1e-5)


def test_gradients_equal_the_published_ones(losses_golden, close):
    student, teacher, labels = outputs(losses_golden, 6)
    student = Output(*(part.clone().requires_grad_() for part in student))
    distill_loss(student, teacher, labels, DistillConfig(1, 0.1, 1), nn.Identity()).total.backward()
    close(student.logits.grad[:, 0], losses_golden["grad.first6.e_1_0.1_1.student_logits"], 1e-6, 1e-5)
    close(student.feature.grad.norm(), losses_golden["grad.first6.e_1_0.1_1.middle_student_l2"], 0, 1e-5)


def test_feedback_cross_entropies_equal_the_published_ones(losses_golden, close):
    """The published layer clips probabilities: a sample of probability 0 has a loss of 16.118."""
    student, teacher, labels = outputs(losses_golden, 8)
    published = losses_golden["feedback.per_sample_batch1.e_1_1"]
    ours = torch.stack(
        [
            torch.stack([hard_loss(output.logits[row : row + 1], labels[row : row + 1]) for row in range(8)])
            for output in (teacher, student)
        ],
        dim=1,
    )
    saturated = ours > -math.log(1e-7)
    close(ours[~saturated], published[~saturated], 1e-6, 1e-5)
    close(published[saturated], torch.full_like(published[saturated], -math.log(1e-7)), 1e-3)
    assert (ours[saturated] > published[saturated]).all()

    for rows, name in ((6, "first6"), (8, "all8")):
        clipped = torch.where(saturated, published, ours)[:rows].mean(0)
        close(clipped, losses_golden[f"feedback.{name}.e_1_1"], 0, 1e-5)
    assert not saturated[:6, 1].any()
    close(hard_loss(student.logits[:6], labels[:6]), losses_golden["feedback.first6.e_1_1"][1], 0, 1e-5)
    close(hard_loss(student.logits, labels), losses_golden["mlkd.hard_in_model.all8"], 0, 1e-5)


@given(temperature=st.floats(0.5, 20), shift=st.floats(-3, 3))
def test_soft_term_is_a_scaled_divergence(temperature, shift):
    logits = torch.tensor([[[1.0, -0.5]], [[0.2, 0.3]]], dtype=torch.float64)
    assert soft_loss(logits + shift, logits, temperature) == pytest.approx(0.0, abs=1e-9)
    other = logits.flip(-1)
    p, q = (x.div(temperature).softmax(-1) for x in (logits, other))
    expected = temperature**2 * float((p * (p / q).log()).sum(-1).mean())
    assert float(soft_loss(other, logits, temperature)) == pytest.approx(expected, rel=1e-9)


def test_targets_are_averaged():
    generator = torch.Generator().manual_seed(0)
    logits, teacher = torch.randn(2, 5, 3, 2, generator=generator)
    labels = torch.randint(0, 2, (5, 3), generator=generator)
    each = [soft_loss(logits[:, i : i + 1], teacher[:, i : i + 1]) for i in range(3)]
    torch.testing.assert_close(soft_loss(logits, teacher), torch.stack(each).mean())
    each = [hard_loss(logits[:, i : i + 1], labels[:, i : i + 1]) for i in range(3)]
    torch.testing.assert_close(hard_loss(logits, labels), torch.stack(each).mean())


def test_projections_pair_the_tokens_of_a_position():
    eeg, gsr = torch.randn(2, 3, TINY.tokens, TINY.filters)
    feature = torch.cat([eeg, gsr], dim=1).flatten(1)
    expected = ((eeg + gsr) / 2).flatten(1)
    torch.testing.assert_close(PoolProjection()(feature), expected)
    torch.testing.assert_close(LinearProjection(TINY)(feature), expected)
    assert isinstance(build_projection("pool", TINY), PoolProjection)
    with pytest.raises(ConfigError, match="choose pool or linear"):
        build_projection("sum", TINY)


@pytest.mark.parametrize("kind", ["pool", "linear"])
def test_kd_steps_move_the_student_towards_its_teacher(kind):
    torch.manual_seed(3)
    student, projection = Student(TINY), build_projection(kind, TINY)
    gsr, labels = torch.randn(16, 48), torch.randint(0, 2, (16, 1))
    teacher = Output(torch.randn(16, 1, 2), torch.randn(16, TINY.teacher_feature))
    optimizer = torch.optim.Adam([*student.parameters(), *projection.parameters()], lr=1e-2)
    losses = [kd_step(student, optimizer, gsr, labels, teacher, DistillConfig(), projection).total for _ in range(30)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert all(not loss.requires_grad for loss in losses)


def test_loss_term_of_weight_zero_is_zero():
    student = Output(torch.randn(2, 1, 2), torch.full((2, 4), math.nan))
    teacher = Output(torch.randn(2, 1, 2), torch.zeros(2, 8))
    loss = distill_loss(student, teacher, torch.zeros(2, 1, dtype=torch.int64), DistillConfig(1, 0, 0), nn.Identity())
    assert loss.soft == 0
    assert loss.feature == 0
    assert loss.total == loss.hard


@pytest.mark.parametrize("wrong", [{"hard": -1}, {"hard": 0, "soft": 0, "feature": 0}, {"temperature": 0}])
def test_weights_without_a_valid_loss_are_refused(wrong):
    with pytest.raises(ConfigError):
        DistillConfig(**wrong)
