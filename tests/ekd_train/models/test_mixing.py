"""Tests of the encoder that mixes tokens with convolutions."""

from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st

from ekd_train.models.config import NetworkConfig
from ekd_train.models.mixing import MixBlock, MixEncoder, TokenMixing
from ekd_train.models.student import Student

DETERMINISTIC = NetworkConfig(
    student="edge", filters=6, ffn=10, depth=3, head_dropout=0.0, block_dropout=0.0, classifier_dropout=0.0,
    student_noise=0.0,
)  # fmt: skip


@given(mix=st.sampled_from([1, 3, 5, 9]), tokens=st.integers(1, 20))
def test_mixing_is_a_zero_padded_depthwise_correlation(mix: int, tokens: int) -> None:
    mixing = TokenMixing(replace(DETERMINISTIC, student_mix=mix)).eval()
    values = torch.randn(2, tokens, 6)
    padded = torch.nn.functional.pad(values, (0, 0, mix // 2, mix // 2))
    expected = torch.stack(
        [sum(mixing.weight[:, 0, k] * padded[:, t + k] for k in range(mix)) for t in range(tokens)], dim=1
    )
    torch.testing.assert_close(mixing(values), expected / (1 + mixing.bn.eps) ** 0.5, rtol=1e-4, atol=1e-5)


def test_token_depends_only_on_tokens_within_the_kernel() -> None:
    encoder = MixEncoder(replace(DETERMINISTIC, student_mix=5)).eval()
    tokens = torch.randn(1, 30, 6)
    changed = tokens.clone()
    changed[0, 15] += 1
    for depth, (one, other) in enumerate(zip(encoder(tokens), encoder(changed), strict=True), start=1):
        affected = torch.nonzero((one != other).any(-1)[0]).flatten()
        assert (affected.min(), affected.max()) == (15 - 2 * depth, 15 + 2 * depth)


def test_block_output_is_near_its_input_at_initialization() -> None:
    block = MixBlock(DETERMINISTIC).train()
    tokens = torch.randn(8, 20, 6)
    assert block(tokens).shape == tokens.shape
    with torch.no_grad():
        for name, weight in block.named_parameters():
            if name in ("mixing.bn.weight", "bn2.weight"):
                weight.zero_()
    torch.testing.assert_close(block(tokens), tokens)


def test_student_sizes_default_to_those_of_the_kind() -> None:
    teacher = NetworkConfig(student="edge")
    shape = teacher.of_student
    assert (shape.filters, shape.ffn, shape.gate, teacher.filters, teacher.gate) == (48, 48, "hardtanh", 64, "softsign")
    own = replace(teacher, student_filters=20, student_ffn=24).of_student
    assert (own.filters, own.ffn) == (20, 24)
    student = Student(replace(teacher, student_filters=64))
    assert not list(student.to_teacher.parameters()), "the student is as wide as the teacher"
    compact = NetworkConfig(student="compact").of_student
    assert (compact.filters, compact.heads, compact.key_size, compact.gate) == (64, 2, 16, "hardtanh")
