"""The student as it runs on the device: the same function, with everything folded that folds.

Batch norms go into the layers before them, the four dense layers of each classifier into one, the classifiers of
all targets into one matrix, and per attention head Wq Wk^T and Wv Wo into one matrix each. Folding is done in
float64. One window at a time, so that all tokens are one (tokens, filters) matrix.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ekd_train.blocks import Attention, Block, Classifier, Score
from ekd_train.student import Student

__all__ = ["TANH_TERMS", "InferenceStudent", "softsign_of_tanhs"]

TANH_TERMS = ((0.15603, 3.19683), (0.42722, 0.77945), (0.3001, 0.20049), (0.10167, 0.03977))
"""Amplitude and slope of the hyperbolic tangents whose sum is softsign to 0.0033 for |x| <= 64 (a minimax fit).

Half a step of the int8 output is 0.0039. Softsign itself needs an int8 division, which only some runtimes have."""


def softsign_of_tanhs(values: Tensor) -> Tensor:
    """Softsign, elementwise, by `TANH_TERMS`: tanh is a table look-up in int8."""
    return sum((a * torch.tanh(b * values) for a, b in TANH_TERMS[1:]), _first_term(values))


class InferenceStudent(nn.Module):
    """A student in inference form: one window (1, window_samples) -> logits (1, targets * classes).

    integer: write the gates with operations that exist in int8 everywhere; a softsign then becomes
    `softsign_of_tanhs`, everything else stays exact.
    """

    def __init__(self, student: Student, *, integer: bool) -> None:
        super().__init__()
        head, config = student.gsr_head, student.config
        scale, shift = _batch_norm(head.bn)
        conv_bias, spatial = head.temporal_conv.bias, head.spatial_conv
        assert conv_bias is not None
        assert spatial.bias is not None
        self.stride, self.tokens, self.filters = config.stride, config.tokens, config.filters
        self.kernel = _buffer(head.temporal_conv.weight.double() * scale[:, None, None, None])
        self.kernel_bias = _buffer(conv_bias.double() * scale + shift)
        self.spatial = _dense(spatial.weight[:, :, 0, 0], spatial.bias)
        self.position = _buffer(student.gsr_encoder.position_embedding[: config.tokens])
        depths = range(1, config.depth + 1)
        blocks = (student.gsr_encoder.get_submodule(f"block{number}") for number in depths)
        scores = (student.depth_fusion.get_submodule(f"score{number}") for number in depths)
        self.blocks = nn.ModuleList(_Block(block) for block in blocks if isinstance(block, Block))
        self.scores = nn.ModuleList(_Score(score, integer) for score in scores if isinstance(score, Score))
        self.classifier = _classifier(student)
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
        logits: Tensor = self.classifier(fused.reshape(1, self.tokens * self.filters))
        return logits


class _Block(nn.Module):
    """A transformer block on (tokens, filters)."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.attention = _Attention(block.attention)
        self.norm1, self.norm2 = _LayerNorm(block.layernorm1), _LayerNorm(block.layernorm2)
        self.dense1 = _dense(block.ffn.dense1.weight, block.ffn.dense1.bias)
        self.dense2 = _dense(block.ffn.dense2.weight, block.ffn.dense2.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.norm1(tokens + self.attention(tokens))
        result: Tensor = self.norm2(tokens + self.dense2(F.relu(self.dense1(tokens))))
        return result


class _Attention(nn.Module):
    """Scores x M x^T and values x N with M = Wq Wk^T / sqrt(key size) and N = Wv Wo: two products for all heads."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        heads, size = attention.heads, attention.size
        filters = attention.output.out_features
        query = attention.query.weight.double().view(heads, size, filters) / math.sqrt(size)
        bias = attention.query.bias.double().view(heads, 1, size) / math.sqrt(size)
        key = attention.key.weight.double().view(heads, size, filters)
        value = attention.value.weight.double().view(heads, size, filters)
        output = attention.output.weight.double().view(filters, heads, size).transpose(0, 1)
        self.asked = _dense((key.transpose(1, 2) @ query).reshape(-1, filters), (bias @ key).reshape(-1))
        self.told = _dense(
            (output @ value).transpose(0, 1).reshape(filters, -1),
            attention.output.weight.double() @ attention.value.bias.double() + attention.output.bias,
        )

    def forward(self, tokens: Tensor) -> Tensor:
        count, filters = tokens.shape
        asked = self.asked(tokens).reshape(1, -1, filters)
        weights = torch.matmul(asked, tokens.T.reshape(1, filters, count)).softmax(-1)
        seen = torch.matmul(weights, tokens.reshape(1, count, filters))
        result: Tensor = self.told(seen.reshape(count, -1))
        return result


class _LayerNorm(nn.Module):
    """Layer norm spelled out with the mean, mul and rsqrt of int8 runtimes."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.scale, self.shift, self.epsilon = _buffer(norm.weight), _buffer(norm.bias), norm.eps

    def forward(self, tokens: Tensor) -> Tensor:
        centered = tokens - tokens.mean(-1, keepdim=True)
        variance = (centered * centered).mean(-1, keepdim=True)
        return centered * torch.rsqrt(variance + self.epsilon) * self.scale + self.shift


class _Score(nn.Module):
    """A score gate: dense, ReLU, dense, squash."""

    def __init__(self, score: Score, integer: bool) -> None:
        super().__init__()
        self.dense1 = _normed(score.dense1, score.bn1)
        self.dense2 = _normed(score.dense2, score.bn2)
        self.kind, self.integer = score.gate.kind, integer

    def forward(self, tokens: Tensor) -> Tensor:
        values: Tensor = self.dense2(F.relu(self.dense1(tokens)))
        if self.kind == "hardtanh":
            return 1 - F.relu(2 - F.relu(values + 1))
        return softsign_of_tanhs(values) if self.integer else F.softsign(values)


def _first_term(values: Tensor) -> Tensor:
    amplitude, slope = TANH_TERMS[0]
    return amplitude * torch.tanh(slope * values)


def _classifier(student: Student) -> nn.Linear:
    weights, biases = [], []
    for classifier in student.classifier.values():
        assert isinstance(classifier, Classifier)
        weight, bias = classifier.dense1.weight.double(), classifier.dense1.bias.double()
        for dense in (classifier.dense2, classifier.dense3, classifier.dense4):
            weight = dense.weight.double() @ weight
            bias = dense.weight.double() @ bias + dense.bias.double()
        weights.append(weight)
        biases.append(bias)
    return _dense(torch.cat(weights), torch.cat(biases))


def _batch_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift, float64, that the norm amounts to in inference mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def _normed(dense: nn.Linear, norm: nn.BatchNorm1d) -> nn.Linear:
    scale, shift = _batch_norm(norm)
    return _dense(dense.weight.double() * scale[:, None], dense.bias.double() * scale + shift)


def _dense(weight: Tensor, bias: Tensor) -> nn.Linear:
    dense = nn.Linear(weight.shape[1], weight.shape[0])
    dense.weight, dense.bias = _buffer(weight), _buffer(bias)
    return dense


def _buffer(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().float().contiguous().clone(), requires_grad=False)
