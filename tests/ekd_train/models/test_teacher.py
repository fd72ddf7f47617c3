"""The teacher agrees with the reference values of the published network; fusion "figure" uses the deeper EEG."""

from dataclasses import replace

import torch

from ekd_train.models.config import NetworkConfig
from ekd_train.models.teacher import Teacher
from ekd_train.training.distillation import hard_loss

WITHOUT_DROPOUT = NetworkConfig(head_dropout=0.0, block_dropout=0.0, classifier_dropout=0.0)


def published(golden, config=WITHOUT_DROPOUT):
    """Return the teacher with the reference weights. Only key biases and the unused EEG block have no counterpart."""
    teacher = Teacher(config)
    missing, unexpected = teacher.load_state_dict(golden.weights(), strict=False)
    assert all(name.endswith("num_batches_tracked") for name in missing)
    assert all(n.startswith("eeg_encoder.block3") or n.endswith("key.bias") for n in unexpected)
    return teacher


def losses(teacher, golden):
    output = teacher(golden["train.in.eeg"].squeeze(3), golden["train.in.gsr"].flatten(1))
    labels = golden["train.in.hard_label"].argmax(1, keepdim=True)
    return output, hard_loss(output.logits, labels), teacher.regularization()


def test_teacher_has_the_published_number_of_weights_without_the_unused_block(teacher_golden):
    teacher = Teacher(NetworkConfig())
    counted = sum(p.numel() for p in teacher.parameters())
    counted += sum(b.numel() for n, b in teacher.named_buffers() if not n.endswith("tracked"))
    unused = sum(w.numel() for n, w in teacher_golden.group("weight.").items() if n.startswith("eeg_encoder.block3"))
    assert unused == 141_248
    assert counted + 5 * 512 + unused == 2_047_490


def test_teacher_intermediates_equal_the_reference(teacher_golden, recorded, close):
    teacher = published(teacher_golden).eval()
    seen = recorded(teacher)
    with torch.no_grad():
        output = teacher(teacher_golden["in.eeg"].squeeze(3), teacher_golden["in.gsr"].flatten(1))
        third = Teacher(replace(WITHOUT_DROPOUT, fusion="figure")).eval().eeg_encoder.block3
        weights = teacher_golden.weights()
        third.load_state_dict({n: weights[f"eeg_encoder.block3.{n}"] for n in third.state_dict()})
        unused = third(seen["eeg_encoder.x2"])
    actual = {
        "att_feature": output.feature,
        "logits": output.logits[:, 0],
        "softmax": output.logits[:, 0].softmax(-1),
        "eeg.x3": unused,
    }
    for source in ("gsr", "eeg"):
        actual[f"{source}.head"] = seen[f"{source}_head"]
        position = teacher.get_submodule(f"{source}_encoder").position_embedding
        actual[f"{source}.x0"] = seen[f"{source}_head"] + position[:61]
        for i in (1, 2, 3) if source == "gsr" else (1, 2):
            actual[f"{source}.x{i}"] = seen[f"{source}_encoder.x{i}"]
    for k in (1, 2):
        actual[f"imf{k}"] = seen[f"imf{k}"]
        for branch in ("before", "after"):
            actual[f"imf{k}.score_{branch}"] = seen[f"imf{k}.score_{branch}"]
    for i in (1, 2, 3, 4):
        actual[f"classifier.dense{i}"] = seen[f"classifier.arousal.dense{i}"]
    assert actual.keys() == teacher_golden.group("out.").keys()
    for name, expected in teacher_golden.group("out.").items():
        tolerance = {"logits": 1e-4, "softmax": 1e-5, "att_feature": 1e-3, "imf1": 1e-3, "imf2": 1e-3}.get(name, 2e-4)
        close(actual[name], expected, tolerance)


def test_teacher_training_pass_equals_the_reference(teacher_golden, gradients, statistics, close):
    teacher = published(teacher_golden).train()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    output, hard, penalty = losses(teacher, teacher_golden)
    (hard + penalty).backward()
    close(hard, teacher_golden["train.cross_entropy"], 0, 1e-4)
    close(penalty, teacher_golden["train.l2_regularisation"], 0, 1e-5)
    close(hard + penalty, teacher_golden["train.total_loss"], 0, 1e-4)
    close(output.logits[:, 0], teacher_golden["train.logits"], 1e-4)
    close(output.logits[:, 0].softmax(-1), teacher_golden["train.softmax"], 1e-5)
    gradients(teacher, teacher_golden)
    statistics(teacher, before, teacher_golden, tokens=8 * 122)


def test_teacher_weights_after_six_steps_equal_the_reference(teacher_golden, close):
    teacher = published(teacher_golden).train()
    optimizer = torch.optim.Adam(
        teacher.parameters(),
        lr=float(teacher_golden["train.adam_learning_rate"]),
        eps=float(teacher_golden["train.adam_epsilon"]),
    )
    found = []
    for _ in range(6):
        _, hard, penalty = losses(teacher, teacher_golden)
        optimizer.zero_grad()
        (hard + penalty).backward()
        optimizer.step()
        found.append((hard + penalty).detach())
    close(torch.stack(found), teacher_golden["train.adam_total_loss"], 0, 2e-3)


def test_figure_fusion_uses_the_deeper_eeg():
    config = replace(WITHOUT_DROPOUT, fusion="figure", window_samples=96, eeg_rows=5)
    teacher = Teacher(config).eval()
    eeg, gsr = torch.randn(2, 5, 96), torch.randn(2, 96)
    seen = teacher.eeg_encoder(teacher.eeg_head(eeg))
    assert len(seen) == 3
    shallow = Teacher(replace(config, fusion="published")).eval()
    shallow.load_state_dict({n: v for n, v in teacher.state_dict().items() if n in shallow.state_dict()})
    assert not torch.allclose(teacher(eeg, gsr).logits, shallow(eeg, gsr).logits)
    teacher(eeg, gsr).feature.sum().backward()
    assert teacher.eeg_encoder.block3.attention.value.weight.grad is not None


def test_teacher_shapes_follow_the_configuration():
    config = NetworkConfig(window_samples=100, eeg_rows=3, depth=2, targets=("valence", "arousal"), classes=3)
    output = Teacher(config).eval()(torch.randn(4, 3, 100), torch.randn(4, 100))
    assert output.logits.shape == (4, 2, 3)
    assert output.feature.shape == (4, config.teacher_feature)
