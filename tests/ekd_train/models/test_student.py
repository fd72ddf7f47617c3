"""The student agrees with the reference values of the published network and follows its configuration."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from ekd_train.models.config import STUDENTS, NetworkConfig, Output
from ekd_train.models.student import Student
from ekd_train.settings.sections import DistillConfig
from ekd_train.training.distillation import distill_loss

WITHOUT_DROPOUT = NetworkConfig(head_dropout=0.0, block_dropout=0.0, classifier_dropout=0.0)
WEIGHTS = DistillConfig(1.0, 0.1, 1.0)


def published(golden, config=WITHOUT_DROPOUT):
    """Return the student with the reference weights. Only key biases have no counterpart."""
    student = Student(config)
    weights = golden.weights()
    missing, unexpected = student.load_state_dict(weights, strict=False)
    assert all(name.endswith("num_batches_tracked") for name in missing)
    assert sorted(unexpected) == [f"gsr_encoder.block{i}.attention.key.bias" for i in (1, 2, 3)]
    return student


def teacher_output(golden, prefix):
    """Return the reference's teacher outputs, with probabilities converted to logits."""
    return Output(golden[f"{prefix}in.soft_label"].log().unsqueeze(1), golden[f"{prefix}in.soft_feature"])


def terms(student, golden, prefix):
    output = student(golden[f"{prefix}in.gsr"].flatten(1))
    labels = golden[f"{prefix}in.hard_label"].argmax(1, keepdim=True)
    return output, distill_loss(output, teacher_output(golden, prefix), labels, WEIGHTS, torch.nn.Identity())


def test_student_has_the_published_number_of_weights(student_golden):
    student = Student(NetworkConfig())
    counted = sum(p.numel() for p in student.parameters())
    counted += sum(b.numel() for n, b in student.named_buffers() if not n.endswith("tracked"))
    assert counted + 3 * 512 == 993_986 == sum(w.numel() for w in student_golden.group("weight.").values())


def test_constants_equal_the_published_ones(student_golden):
    config = NetworkConfig()
    dropout = (config.head_dropout, config.block_dropout, config.classifier_dropout)
    assert dropout == pytest.approx(student_golden["const.dropout_head_block_classifier"].tolist())
    assert (config.heads, config.key_size) == (student_golden["const.num_heads"], student_golden["const.key_dim"])
    student = Student(config)
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            assert module.eps == pytest.approx(float(student_golden["const.batchnorm_epsilon"]))
            assert 1 - module.momentum == pytest.approx(float(student_golden["const.batchnorm_momentum_keras"]))
        if isinstance(module, torch.nn.LayerNorm):
            assert module.eps == pytest.approx(float(student_golden["const.layernorm_epsilon"]))


def test_student_intermediates_equal_the_reference(student_golden, recorded, close):
    student = published(student_golden).eval()
    seen = recorded(student)
    scores = {}
    for i in (1, 2, 3):
        attention = student.get_submodule(f"gsr_encoder.block{i}.attention")
        attention.register_forward_pre_hook(lambda m, args, i=i: scores.update({i: m.weights(args[0])}))
    with torch.no_grad():
        output = student(student_golden["in.gsr"].flatten(1))
    position = student.gsr_encoder.position_embedding
    actual = {
        "head": seen["gsr_head"],
        "x0": seen["gsr_head"] + position[:61],
        "att_feature": output.feature,
        "logits": output.logits[:, 0],
        "softmax": output.logits[:, 0].softmax(-1),
    }
    for i in (1, 2, 3):
        actual[f"x{i}"] = seen[f"gsr_encoder.x{i}"]
        actual[f"block{i}.attention.output"] = seen[f"gsr_encoder.block{i}.attention"]
        actual[f"block{i}.attention.scores_window1"] = scores[i].view(4, 61, 8, 61)[1].transpose(0, 1)
        actual[f"score{i}"] = seen[f"depth_fusion.score{i}"]
    for i in (1, 2, 3, 4):
        actual[f"classifier.dense{i}"] = seen[f"classifier.arousal.dense{i}"]
    assert actual.keys() == student_golden.group("out.").keys()
    for name, expected in student_golden.group("out.").items():
        tolerance = {"logits": 1e-4, "softmax": 1e-5, "att_feature": 1e-3}.get(name, 2e-4)
        close(actual[name], expected, tolerance)


def test_loss_terms_at_inference_equal_the_reference(student_golden, close):
    student = published(student_golden).eval()
    with torch.no_grad():
        _, loss = terms(student, student_golden, "")
        penalty = student.regularization()
    close(loss.hard, student_golden["eval.hard"], 0, 1e-4)
    close(loss.soft, student_golden["eval.soft_weighted_e2_0.1"], 0, 1e-4)
    close(loss.feature, student_golden["eval.middle_weighted_e3_1"], 0, 1e-4)
    close(penalty, student_golden["eval.l2_regularisation"], 0, 1e-5)
    close(loss.total + penalty, student_golden["eval.total_loss"], 0, 1e-4)


def test_student_training_pass_equals_the_reference(student_golden, gradients, statistics, close):
    student = published(student_golden).train()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    output, loss = terms(student, student_golden, "train.")
    penalties = [
        1e-3 * student.get_submodule(f"gsr_head.{n}").weight.square().sum() for n in ("temporal_conv", "spatial_conv")
    ]
    total = loss.total + student.regularization()
    total.backward()

    close(total, student_golden["train.total_loss"], 0, 1e-4)
    all_losses = torch.stack([*penalties, loss.hard, loss.soft, loss.feature]).sort().values
    close(all_losses, student_golden["train.all_losses"].sort().values, 1e-6, 1e-4)
    close(output.logits[:, 0].softmax(-1), student_golden["train.softmax"], 1e-5)
    gradients(student, student_golden)
    statistics(student, before, student_golden, tokens=16 * 61)


def test_student_weights_after_six_steps_equal_the_reference(student_golden, close):
    student = published(student_golden).train()
    optimizer = torch.optim.Adam(
        student.parameters(),
        lr=float(student_golden["train.adam_learning_rate"]),
        eps=float(student_golden["train.adam_epsilon"]),
    )
    losses = []
    for _ in range(6):
        _, loss = terms(student, student_golden, "train.")
        total = loss.total + student.regularization()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.detach())
    close(torch.stack(losses), student_golden["train.adam_total_loss"], 0, 2e-3)


def test_targets_have_separate_classifiers_on_one_backbone():
    config = replace(WITHOUT_DROPOUT, targets=("valence", "arousal"), classes=3, window_samples=96, heads=2)
    student = Student(config).eval()
    gsr = torch.randn(5, 96)
    logits, feature = student(gsr)
    assert logits.shape == (5, 2, 3)
    assert feature.shape == (5, config.student_feature)
    for column, target in enumerate(config.targets):
        alone = Student(replace(config, targets=(target,))).eval()
        alone.load_state_dict({n: v for n, v in student.state_dict().items() if n in alone.state_dict()})
        torch.testing.assert_close(alone(gsr).logits[:, 0], logits[:, column])


@pytest.mark.parametrize("kind", STUDENTS)
def test_feature_of_every_kind_has_the_width_of_the_teachers(kind):
    config = replace(WITHOUT_DROPOUT, student=kind, targets=("valence", "arousal"), classes=3, window_samples=96)
    logits, feature = Student(config).eval()(torch.randn(5, 96))
    assert logits.shape == (5, 2, 3)
    assert feature.shape == (5, config.student_feature)


@pytest.mark.parametrize("kind", STUDENTS)
def test_gradients_reach_every_weight_except_biases_before_batch_norms(kind):
    student = Student(replace(WITHOUT_DROPOUT, student=kind, targets=("valence", "arousal"), window_samples=96))
    output = student(torch.randn(6, 96))
    (output.logits.square().sum() + F.mse_loss(output.feature, torch.ones_like(output.feature))).backward()
    assert [name for name, p in student.named_parameters() if p.grad is None] == ["gsr_head.temporal_conv.bias"]


def test_hardtanh_gate_replaces_softsign():
    student = Student(replace(WITHOUT_DROPOUT, gate="hardtanh", window_samples=96)).eval()
    score = student.depth_fusion.score1(100 * torch.randn(2, 9, 64))
    assert score.min() == -1
    assert score.max() == 1
