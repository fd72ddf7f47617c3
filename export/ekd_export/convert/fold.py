"""Inference form of the student: the same function with consecutive linear operations folded into one.

Batch norms are folded into the layers before them, the four dense layers of each classifier into one, the classifiers
of all targets into one matrix, and per attention head Wq Wk^T and Wv Wo into one matrix each. Folding is done in
float64. The input is one window, so that all tokens are one (tokens, filters) matrix.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ekd_export.convert.folding import batch_norm, constant, folded_classifier, linear, normed
from ekd_train.models.blocks import Attention, Block, Encoder, Score
from ekd_train.models.mixing import MixBlock, MixEncoder
from ekd_train.models.student import Student

__all__ = ["TANH_TERMS", "InferenceStudent", "MixingStudent", "fold", "softsign_of_tanhs"]

TANH_TERMS = ((0.15603, 3.19683), (0.42722, 0.77945), (0.3001, 0.20049), (0.10167, 0.03977))
"""Amplitude and slope of hyperbolic tangents; their sum is softsign within 0.0033 for |x| <= 64 (a minimax fit).

Half a step of the int8 output is 0.0039. Softsign itself needs an int8 division, which some runtimes lack."""


def softsign_of_tanhs(values: Tensor) -> Tensor:
    """Elementwise approximation of softsign by `TANH_TERMS`; tanh is a table look-up in int8."""
    return sum((a * torch.tanh(b * values) for a, b in TANH_TERMS[1:]), _first_term(values))


def fold(student: Student, *, integer: bool) -> nn.Module:
    """The inference form of a student of any kind: one window (1, window_samples) -> logits (1, targets * classes).

    integer: see `InferenceStudent`; it has no effect on students with hard gates.
    """
    if isinstance(student.gsr_encoder, MixEncoder):
        return MixingStudent(student)
    return InferenceStudent(student, integer=integer)


class InferenceStudent(nn.Module):
    """A student with attention in inference form: one window (1, window_samples) -> logits (1, targets * classes).

    integer: use gates of operations that every runtime has in int8; softsign is replaced by `softsign_of_tanhs`, all
    else stays exact.
    """

    def __init__(self, student: Student, *, integer: bool) -> None:
        super().__init__()
        head, config, encoder = student.gsr_head, student.shape, student.gsr_encoder
        assert isinstance(encoder, Encoder)
        scale, shift = batch_norm(head.bn)
        conv_bias, spatial = head.temporal_conv.bias, head.spatial_conv
        assert conv_bias is not None
        assert spatial.bias is not None
        self.stride, self.tokens, self.filters = config.stride, config.tokens, config.filters
        self.kernel = constant(head.temporal_conv.weight.double() * scale[:, None, None, None])
        self.kernel_bias = constant(conv_bias.double() * scale + shift)
        self.spatial = linear(spatial.weight[:, :, 0, 0], spatial.bias)
        self.position = constant(encoder.position_embedding[: config.tokens])
        depths = range(1, config.depth + 1)
        blocks = (encoder.get_submodule(f"block{number}") for number in depths)
        scores = (student.depth_fusion.get_submodule(f"score{number}") for number in depths)
        self.blocks = nn.ModuleList(_Block(block) for block in blocks if isinstance(block, Block))
        self.scores = nn.ModuleList(_Score(score, integer) for score in scores if isinstance(score, Score))
        self.pooled = student.pooled
        self.classifier = folded_classifier(student.classifier)
        self.eval()

    def forward(self, window: Tensor) -> Tensor:
        """(1, window_samples) -> (1, targets * classes)."""
        hidden = F.conv2d(window.view(1, 1, 1, -1), self.kernel, self.kernel_bias, stride=(1, self.stride))
        tokens = F.relu(hidden).reshape(self.filters, self.tokens).T
        tokens = self.spatial(tokens) + self.position
        gated = []
        for block, score in zip(self.blocks, self.scores, strict=True):
            tokens = block(tokens)
            gated.append(score(tokens) * tokens)
        fused = sum(gated[1:], gated[0])
        feature = fused.mean(0, keepdim=True) if self.pooled else fused.reshape(1, self.tokens * self.filters)
        logits: Tensor = self.classifier(feature)
        return logits


class _Block(nn.Module):
    """A transformer block on (tokens, filters)."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.attention = _Attention(block.attention)
        self.norm1, self.norm2 = _LayerNorm(block.layernorm1), _LayerNorm(block.layernorm2)
        self.dense1 = linear(block.ffn.dense1.weight, block.ffn.dense1.bias)
        self.dense2 = linear(block.ffn.dense2.weight, block.ffn.dense2.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.norm1(tokens + self.attention(tokens))
        result: Tensor = self.norm2(tokens + self.dense2(F.relu(self.dense1(tokens))))
        return result


class _Attention(nn.Module):
    """Attention with scores x M x^T and values x N; M = Wq Wk^T / sqrt(key size), N = Wv Wo, for all heads at once."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        heads, size = attention.heads, attention.size
        filters = attention.output.out_features
        query = attention.query.weight.double().view(heads, size, filters) / math.sqrt(size)
        bias = attention.query.bias.double().view(heads, 1, size) / math.sqrt(size)
        key = attention.key.weight.double().view(heads, size, filters)
        value = attention.value.weight.double().view(heads, size, filters)
        output = attention.output.weight.double().view(filters, heads, size).transpose(0, 1)
        self.query_key = linear((key.transpose(1, 2) @ query).reshape(-1, filters), (bias @ key).reshape(-1))
        self.value_output = linear(
            (output @ value).transpose(0, 1).reshape(filters, -1),
            attention.output.weight.double() @ attention.value.bias.double() + attention.output.bias,
        )

    def forward(self, tokens: Tensor) -> Tensor:
        count, filters = tokens.shape
        queries = self.query_key(tokens).reshape(1, -1, filters)
        weights = torch.matmul(queries, tokens.T.reshape(1, filters, count)).softmax(-1)
        attended = torch.matmul(weights, tokens.reshape(1, count, filters))
        result: Tensor = self.value_output(attended.reshape(count, -1))
        return result


class _LayerNorm(nn.Module):
    """Layer norm written with mean, mul and rsqrt, which int8 runtimes have."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.scale, self.shift, self.epsilon = constant(norm.weight), constant(norm.bias), norm.eps

    def forward(self, tokens: Tensor) -> Tensor:
        centered = tokens - tokens.mean(-1, keepdim=True)
        variance = (centered * centered).mean(-1, keepdim=True)
        return centered * torch.rsqrt(variance + self.epsilon) * self.scale + self.shift


class _Score(nn.Module):
    """A score gate: dense, ReLU, dense, squash."""

    def __init__(self, score: Score, integer: bool) -> None:
        super().__init__()
        self.dense1 = normed(score.dense1, score.bn1)
        self.dense2 = normed(score.dense2, score.bn2)
        self.kind, self.integer = score.gate.kind, integer

    def forward(self, tokens: Tensor) -> Tensor:
        values: Tensor = self.dense2(F.relu(self.dense1(tokens)))
        if self.kind == "hardtanh":
            return F.hardtanh(values)
        return softsign_of_tanhs(values) if self.integer else F.softsign(values)


def _first_term(values: Tensor) -> Tensor:
    amplitude, slope = TANH_TERMS[0]
    return amplitude * torch.tanh(slope * values)


class MixingStudent(nn.Module):
    """A student without attention in inference form: convolutions with constant weights on tokens (B, F, 1, T)."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        head, encoder = student.gsr_head, student.gsr_encoder
        assert isinstance(encoder, MixEncoder)
        scale, shift = batch_norm(head.bn)
        conv_bias, spatial = head.temporal_conv.bias, head.spatial_conv
        assert conv_bias is not None
        assert spatial.bias is not None
        self.stem = _conv(
            head.temporal_conv.weight.double() * scale[:, None, None, None],
            conv_bias.double() * scale + shift,
            stride=head.stride,
        )
        self.spatial = _conv(spatial.weight, spatial.bias)
        depths = range(1, student.shape.depth + 1)
        blocks = (encoder.get_submodule(f"block{number}") for number in depths)
        scores = (student.depth_fusion.get_submodule(f"score{number}") for number in depths)
        self.blocks = nn.ModuleList(_MixBlock(block) for block in blocks if isinstance(block, MixBlock))
        self.scores = nn.ModuleList(_HardScore(score) for score in scores if isinstance(score, Score))
        self.classifier = folded_classifier(student.classifier)
        self.eval()

    def forward(self, window: Tensor) -> Tensor:
        """(B, window_samples) -> (B, targets * classes)."""
        tokens = self.spatial(F.relu(self.stem(window.view(-1, 1, 1, window.shape[1]))))
        gated = []
        for block, score in zip(self.blocks, self.scores, strict=True):
            tokens = block(tokens)
            gated.append(score(tokens) * tokens)
        fused = sum(gated[1:], gated[0])
        logits: Tensor = self.classifier(fused.mean((2, 3)))
        return logits


class _MixBlock(nn.Module):
    """A depthwise convolution and two pointwise ones, with residual connections."""

    def __init__(self, block: MixBlock) -> None:
        super().__init__()
        scale, shift = batch_norm(block.mixing.bn)
        weight = block.mixing.weight.double() * scale[:, None, None]
        self.mixing = _conv(weight[:, :, None], shift, padding=block.mixing.padding, groups=len(weight))
        self.dense1 = _pointwise(normed(block.dense1, block.bn1))
        self.dense2 = _pointwise(normed(block.dense2, block.bn2))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.mixing(tokens)
        mixed: Tensor = tokens + self.dense2(F.relu(self.dense1(tokens)))
        return mixed


class _HardScore(nn.Module):
    """A score gate of two pointwise convolutions; hard-tanh is a fused activation of the second."""

    def __init__(self, score: Score) -> None:
        super().__init__()
        self.dense1 = _pointwise(normed(score.dense1, score.bn1))
        self.dense2 = _pointwise(normed(score.dense2, score.bn2))

    def forward(self, tokens: Tensor) -> Tensor:
        return F.hardtanh(self.dense2(F.relu(self.dense1(tokens))))


def _pointwise(dense: nn.Linear) -> nn.Conv2d:
    return _conv(dense.weight[:, :, None, None], dense.bias)


def _conv(weight: Tensor, bias: Tensor, stride: int = 1, padding: int = 0, groups: int = 1) -> nn.Conv2d:
    """A convolution (outputs, inputs / groups, 1, width) along the last axis."""
    outputs, inputs, _, width = weight.shape
    conv = nn.Conv2d(inputs * groups, outputs, (1, width), (1, stride), (0, padding), groups=groups)
    conv.weight, conv.bias = constant(weight), constant(bias)
    return conv
