"""The feedback gradient equals finite differences and double backward; the step changes nothing else."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.func import functional_call

from ekd_edge.errors import ConfigError
from ekd_train.models.config import NetworkConfig
from ekd_train.models.student import Student
from ekd_train.models.teacher import Teacher
from ekd_train.settings.sections import DistillConfig, FeedbackConfig
from ekd_train.training.distillation import build_projection, distill_loss, hard_loss, kd_step
from ekd_train.training.feedback import Batch, feedback_gradient, feedback_step

NO_DROPOUT = NetworkConfig(
    window_samples=40,
    filters=8,
    kernel=16,
    heads=2,
    key_size=4,
    ffn=8,
    eeg_rows=3,
    targets=("valence", "arousal"),
    head_dropout=0.0,
    block_dropout=0.0,
    classifier_dropout=0.0,
)
WITH_DROPOUT = replace(NO_DROPOUT, head_dropout=0.3, block_dropout=0.1, classifier_dropout=0.5)
RATE = 0.3
WEIGHTS = DistillConfig(1.0, 0.7, 0.9, 2.0)
BALANCE = FeedbackConfig(hard=0.8, quiz=1.3)


def networks_and_batches(config=NO_DROPOUT, dtype=torch.float64, seed=1):
    torch.manual_seed(seed)
    student, teacher = Student(config).to(dtype), Teacher(config).to(dtype)

    def batch():
        return Batch(
            torch.randn(6, config.eeg_rows, config.window_samples, dtype=dtype),
            torch.randn(6, config.window_samples, dtype=dtype),
            torch.randint(0, config.classes, (6, len(config.targets))),
        )

    return student, teacher, batch(), batch()


def reference_loss(student, teacher, batch, quiz, rate, weights, projection, balance, create_graph=True):
    """Return the teacher's loss, differentiable through the temporary student's step by double backward."""
    parameters = dict(student.named_parameters())

    def call(values, gsr):
        buffers = {name: buffer.clone() for name, buffer in student.named_buffers()}
        return functional_call(student, {**values, **buffers}, (gsr,))

    buffers = {name: buffer.clone() for name, buffer in teacher.named_buffers()}
    teacher_output = functional_call(teacher, buffers, (batch.eeg, batch.gsr))
    student_loss = distill_loss(call(parameters, batch.gsr), teacher_output, batch.labels, weights, projection).total
    student_loss = student_loss + student.regularization()
    steps = torch.autograd.grad(
        student_loss, list(parameters.values()), create_graph=create_graph, materialize_grads=True
    )
    moved = {n: p - rate * s for (n, p), s in zip(parameters.items(), steps, strict=True)}
    loss = balance.hard * hard_loss(teacher_output.logits, batch.labels) + teacher.regularization()
    return loss + balance.quiz * hard_loss(call(moved, quiz.gsr).logits, quiz.labels)


def flat(tensors):
    return torch.cat([t.detach().flatten() for t in tensors])


@pytest.mark.parametrize("kind", ["pool", "linear"])
@pytest.mark.parametrize("training", [True, False])
def test_gradient_equals_double_backward(kind, training):
    student, teacher, batch, quiz = networks_and_batches()
    student.train(training)
    teacher.train(training)
    projection = build_projection(kind, NO_DROPOUT).double()
    arguments = (student, teacher, batch, quiz, RATE, WEIGHTS, projection, BALANCE)
    expected = torch.autograd.grad(reference_loss(*arguments), list(teacher.parameters()), materialize_grads=True)
    found = feedback_gradient(*arguments).gradients
    second = flat(expected) - flat(own_gradient(teacher, batch))
    assert second.norm() > 1e-3 * flat(expected).norm(), "the case must have a feedback term worth testing"
    assert (flat(found) - flat(expected)).norm() < 1e-8 * second.norm()


def own_gradient(teacher, batch):
    buffers = {name: buffer.clone() for name, buffer in teacher.named_buffers()}
    output = functional_call(teacher, buffers, (batch.eeg, batch.gsr))
    loss = BALANCE.hard * hard_loss(output.logits, batch.labels) + teacher.regularization()
    return torch.autograd.grad(loss, list(teacher.parameters()), materialize_grads=True)


@pytest.mark.parametrize("seed", [1, 2])
def test_gradient_equals_central_differences(seed):
    student, teacher, batch, quiz = networks_and_batches(seed=seed)
    projection = build_projection("pool", NO_DROPOUT)
    arguments = (student, teacher, batch, quiz, RATE, WEIGHTS, projection, BALANCE)
    result = feedback_gradient(*arguments)
    feedback = flat(result.gradients) - flat(own_gradient(teacher, batch))
    generator = torch.Generator().manual_seed(seed)
    parameters = list(teacher.parameters())
    quiz_only = FeedbackConfig(hard=0.0, quiz=BALANCE.quiz)
    directions = [feedback / feedback.norm()]
    directions += [d / d.norm() for d in torch.randn(3, feedback.numel(), dtype=torch.float64, generator=generator)]

    def shifted(direction, step):
        """Return the quiz term of the teacher's loss at shifted teacher weights."""
        parts = direction.split([p.numel() for p in parameters])
        moved = copy.deepcopy(teacher)
        with torch.no_grad():
            for p, d in zip(moved.parameters(), parts, strict=True):
                p += step * d.view_as(p)
        loss = reference_loss(student, moved, batch, quiz, RATE, WEIGHTS, projection, quiz_only, create_graph=False)
        return float((loss - moved.regularization()).detach())

    step = 1e-6
    for direction in directions:
        slope = (shifted(direction, step) - shifted(direction, -step)) / (2 * step)
        assert float(feedback @ direction) == pytest.approx(slope, rel=1e-5)


def test_rate_zero_gives_no_feedback():
    student, teacher, batch, quiz = networks_and_batches()
    projection = build_projection("pool", NO_DROPOUT)
    result = feedback_gradient(student, teacher, batch, quiz, 0.0, WEIGHTS, projection, BALANCE)
    torch.testing.assert_close(flat(result.gradients), flat(own_gradient(teacher, batch)), rtol=0, atol=0)
    buffers = {name: buffer.clone() for name, buffer in student.named_buffers()}
    with torch.no_grad():
        quiz_loss = hard_loss(functional_call(student, buffers, (quiz.gsr,)).logits, quiz.labels)
    torch.testing.assert_close(result.quiz, quiz_loss)


def test_feedback_is_proportional_to_a_small_rate():
    student, teacher, batch, quiz = networks_and_batches()
    projection = build_projection("pool", NO_DROPOUT)
    own = flat(own_gradient(teacher, batch))
    terms = []
    for rate in (1e-6, 2e-6):
        result = feedback_gradient(student, teacher, batch, quiz, rate, WEIGHTS, projection, BALANCE)
        terms.append(flat(result.gradients) - own)
    torch.testing.assert_close(2 * terms[0], terms[1], rtol=0, atol=1e-4 * float(terms[1].abs().max()))


def test_gradient_leaves_weights_and_grads_unchanged():
    student, teacher, batch, quiz = networks_and_batches(WITH_DROPOUT)
    projection = build_projection("linear", WITH_DROPOUT).double()
    before = [p.clone() for network in (student, teacher, projection) for p in network.parameters()]
    result = feedback_gradient(student, teacher, batch, quiz, RATE, WEIGHTS, projection, BALANCE)
    after = [p for network in (student, teacher, projection) for p in network.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert student.gsr_head.bn.num_batches_tracked == 1
    for network in (student, teacher, projection):
        assert all(p.grad is None for p in network.parameters())
    assert len(result.gradients) == len(list(teacher.parameters()))
    assert not any(g.requires_grad for g in result.gradients)
    assert teacher.gsr_head.bn.num_batches_tracked == 1
    assert student.training
    assert all(module.training for module in student.modules())


def test_quiz_is_taken_without_dropout():
    student, teacher, batch, quiz = networks_and_batches(WITH_DROPOUT)
    drawn = []
    for module in student.modules():
        if isinstance(module, torch.nn.Dropout):
            module.register_forward_hook(lambda module, *_: drawn.append(module.training))
    feedback_gradient(student, teacher, batch, quiz, RATE, WEIGHTS, build_projection("pool", WITH_DROPOUT), BALANCE)
    masks = len(drawn) // 2
    assert drawn == [True] * masks + [False] * masks
    assert all(module.training for module in student.modules())


def test_gradient_with_dropout_equals_double_backward_on_the_same_masks():
    config = replace(NO_DROPOUT, head_dropout=0.3, block_dropout=0.1)
    student, teacher, batch, quiz = networks_and_batches(config)
    teacher.eval()
    projection = build_projection("pool", config)
    arguments = (student, teacher, batch, quiz, RATE, WEIGHTS, projection, BALANCE)
    torch.manual_seed(5)
    found = feedback_gradient(*arguments).gradients

    def no_dropout_on_the_quiz(module, args):
        if args[0].shape[0] == len(quiz.gsr) and args[0].data_ptr() == quiz.gsr.data_ptr():
            for layer in module.modules():
                if isinstance(layer, torch.nn.Dropout):
                    layer.eval()

    student.register_forward_pre_hook(no_dropout_on_the_quiz)
    torch.manual_seed(5)
    expected = torch.autograd.grad(reference_loss(*arguments), list(teacher.parameters()), materialize_grads=True)
    assert (flat(found) - flat(expected)).norm() < 1e-8 * flat(expected).norm()


def test_step_updates_both_networks_in_one_pass_each():
    student, teacher, batch, quiz = networks_and_batches(WITH_DROPOUT, torch.float32)
    projection = build_projection("linear", WITH_DROPOUT)
    learners = [*student.parameters(), *projection.parameters()]
    optimizers = (torch.optim.Adam(learners, lr=1e-3), torch.optim.Adam(teacher.parameters(), lr=1e-3))
    networks = (student, teacher, projection)
    before = {n: p.clone() for network in networks for n, p in network.named_parameters(str(id(network)))}
    result = feedback_step(
        student, teacher, *optimizers, batch, quiz, RATE, DistillConfig(), projection, FeedbackConfig()
    )
    after = {n: p for network in networks for n, p in network.named_parameters(str(id(network)))}
    still = {name.split(".", 1)[1] for name, p in after.items() if torch.equal(p, before[name])}
    assert still == {"gsr_head.temporal_conv.bias", "eeg_head.temporal_conv.bias"}
    assert student.gsr_head.bn.num_batches_tracked == teacher.gsr_head.bn.num_batches_tracked == 1
    assert all(torch.isfinite(x) for x in (result.own, result.quiz, *result.terms))


@pytest.mark.parametrize("renewed", [False, True])
@pytest.mark.parametrize("kind", ["pool", "linear"])
def test_student_step_equals_plain_distillation(renewed, kind):
    student, teacher, batch, quiz = networks_and_batches(NO_DROPOUT)
    teacher.eval()
    projection = build_projection(kind, NO_DROPOUT).double()
    alone, alone_projection, teacher_before = copy.deepcopy(student), copy.deepcopy(projection), copy.deepcopy(teacher)
    optimizer = torch.optim.SGD([*student.parameters(), *projection.parameters()], lr=0.1)
    teacher_optimizer = torch.optim.SGD(teacher.parameters(), lr=0.1)
    feedback_step(
        student, teacher, optimizer, teacher_optimizer, batch, quiz, RATE, WEIGHTS, projection, BALANCE, renewed
    )
    with torch.no_grad():
        predictions = (teacher if renewed else teacher_before)(batch.eeg, batch.gsr)
    other = torch.optim.SGD([*alone.parameters(), *alone_projection.parameters()], lr=0.1)
    kd_step(alone, other, batch.gsr, batch.labels, predictions, WEIGHTS, alone_projection)
    for one, two in ((student, alone), (projection, alone_projection)):
        assert one.state_dict().keys() == two.state_dict().keys()
        for name, value in one.state_dict().items():
            torch.testing.assert_close(value, two.state_dict()[name], rtol=0, atol=1e-12, msg=name)


def test_negative_weights_are_refused():
    with pytest.raises(ConfigError):
        FeedbackConfig(quiz=-1.0)
