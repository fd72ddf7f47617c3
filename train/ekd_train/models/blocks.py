"""The building blocks of student and teacher (EmotionKD, ACM MM 2023).

Two are computed faster than published, with the same outputs and gradients: attention uses merged weights, and the
head's batch norm uses the statistics of its input.

Tokens have the shape (batch, tokens, filters). B is batch, T tokens, F filters, H heads.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ekd_edge.errors import ConfigError
from ekd_train.models.config import NetworkConfig
from ekd_train.models.layers import Dropout, Gate, RoundingNoise, dense, glorot, kernel_penalty

__all__ = [
    "Attention",
    "Block",
    "Classifier",
    "Classifiers",
    "Encoder",
    "FeedForward",
    "Head",
    "LinearClassifier",
    "Score",
    "batch_norm",
]

_BN_EPSILON = 1e-3
_BN_UPDATE = 0.01
_LN_EPSILON = 1e-6


def batch_norm(features: int) -> nn.BatchNorm1d:
    """Return a batch norm over (n, features) with the published constants."""
    return nn.BatchNorm1d(features, eps=_BN_EPSILON, momentum=_BN_UPDATE)


class Head(nn.Module):
    """Signal (B, rows, window) -> tokens (B, T, F): temporal conv, batch norm, ReLU, spatial conv, dropout.

    In training the convolutions are matrix products over patches, and the batch norm is folded into the first product.
    The mean and covariance of the patches give the exact mean and variance of its outputs, so the largest tensor of the
    network (B * rows * T * F) is written once instead of three times. The bias before the batch norm gets no gradient;
    without folding, its gradient would consist of rounding errors.
    """

    def __init__(self, config: NetworkConfig, rows: int, noise_steps: float = 0.0) -> None:
        super().__init__()
        filters, kernel = config.filters, config.kernel
        self.noise = RoundingNoise(noise_steps)
        self.temporal_conv = nn.Conv2d(1, filters, (1, kernel), stride=(1, config.stride))
        self.bn = nn.BatchNorm2d(filters, eps=_BN_EPSILON, momentum=_BN_UPDATE)
        self.spatial_conv = nn.Conv2d(filters, filters, (rows, 1))
        self.dropout = Dropout(config.head_dropout)
        self.kernel, self.stride = kernel, config.stride
        glorot(self.temporal_conv.weight, kernel, kernel * filters)
        glorot(self.spatial_conv.weight, rows * filters, rows * filters)
        for conv in (self.temporal_conv, self.spatial_conv):
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, signal: Tensor) -> Tensor:
        """(B, rows, window) -> (B, T, F)."""
        if self.training:
            return self._train(signal)
        hidden = F.relu(self.bn(self.temporal_conv(signal.unsqueeze(1))))
        tokens: Tensor = self.spatial_conv(hidden).squeeze(2).transpose(1, 2)
        return tokens

    def _train(self, signal: Tensor) -> Tensor:
        hidden = self.noise(self._normed_patches(signal))
        spatial = self.spatial_conv.weight.squeeze(3).transpose(1, 2).flatten(1)
        dropped: Tensor = self.dropout(self.noise(F.linear(hidden, spatial, self.spatial_conv.bias)))
        return dropped

    def _normed_patches(self, signal: Tensor) -> Tensor:
        """(B, rows, window) -> (B, T, rows * F), always in float32.

        A kernel that cancels a slow signal subtracts large products, for which bfloat16 is too inexact.
        """
        with torch.autocast(signal.device.type, enabled=False):
            windows = signal.unfold(2, self.kernel, self.stride)
            batch, _, length, _ = windows.shape
            patches = windows.transpose(1, 2).reshape(-1, self.kernel)
            center = patches.mean(0)
            patches = patches - center
            count = len(patches)
            weight = self.temporal_conv.weight.flatten(1)
            variance = ((weight @ (patches.T @ patches)) * weight).sum(1).clamp(min=0.0) / count
            self._update_statistics(
                F.linear(center, weight, self.temporal_conv.bias), variance * (count / max(count - 1, 1))
            )
            scale = self.bn.weight * torch.rsqrt(variance + self.bn.eps)
            hidden = F.relu(F.linear(patches, weight * scale.unsqueeze(1), self.bn.bias), inplace=True)
            return hidden.view(batch, length, -1)

    def _update_statistics(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics as nn.BatchNorm2d does."""
        bn = self.bn
        assert bn.running_mean is not None
        assert bn.running_var is not None
        assert bn.num_batches_tracked is not None
        with torch.no_grad():
            bn.num_batches_tracked.add_(1)
            bn.running_mean.mul_(1 - _BN_UPDATE).add_(_BN_UPDATE * mean.detach().to(bn.running_mean.dtype))
            bn.running_var.mul_(1 - _BN_UPDATE).add_(_BN_UPDATE * variance.detach().to(bn.running_var.dtype))

    def regularization(self) -> Tensor:
        """Return the L2 penalty of both kernels."""
        return kernel_penalty(self.temporal_conv.weight, self.spatial_conv.weight)


class Attention(nn.Module):
    """Multi-head self-attention with merged weights, (B, T, F) -> (B, T, F).

    Scores are x Wq Wk^T x^T. With M = Wq Wk^T per head, one product with x gives the queries of all heads, and the keys
    are the tokens. Wv Wo is also one matrix per head. Outputs and gradients are unchanged, with a third less work.
    There is no key bias, because it adds the same number to all scores of a row and the softmax cancels it.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        filters, heads, size = config.filters, config.heads, config.key_size
        self.heads, self.size = heads, size
        self.query = nn.Linear(filters, heads * size)
        self.key = nn.Linear(filters, heads * size, bias=False)
        self.value = nn.Linear(filters, heads * size)
        self.output = nn.Linear(heads * size, filters)
        for layer in (self.query, self.key, self.value):
            glorot(layer.weight, filters * heads, filters * size)
        glorot(self.output.weight, heads * size, heads * filters)
        for layer in (self.query, self.value, self.output):
            nn.init.zeros_(layer.bias)

    def weights(self, tokens: Tensor) -> Tensor:
        """Return the attention weights (B, T * H, T): row t * H + h has the weights of token t and head h."""
        batch, length, filters = tokens.shape
        query = self.query.weight.view(self.heads, self.size, filters) / math.sqrt(self.size)
        key = self.key.weight.view(self.heads, self.size, filters)
        bias = self.query.bias.view(self.heads, 1, self.size) / math.sqrt(self.size)
        merged = torch.matmul(key.transpose(1, 2), query).reshape(self.heads * filters, filters)
        queries = F.linear(tokens, merged, torch.matmul(bias, key).reshape(-1))
        scores = torch.matmul(queries.reshape(batch, length * self.heads, filters), tokens.transpose(1, 2))
        return scores.softmax(-1)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, F)."""
        batch, length, filters = tokens.shape
        attended = torch.matmul(self.weights(tokens), tokens).reshape(batch, length, self.heads * filters)
        output = self.output.weight.view(filters, self.heads, self.size).transpose(0, 1)
        value = self.value.weight.view(self.heads, self.size, filters)
        merged = torch.matmul(output, value).transpose(0, 1).reshape(filters, self.heads * filters)
        bias = F.linear(self.value.bias, self.output.weight, self.output.bias)
        return F.linear(attended, merged, bias)


class FeedForward(nn.Module):
    """Two dense layers with a ReLU between them, per token."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.dense1 = dense(config.filters, config.ffn)
        self.dense2 = dense(config.ffn, config.filters)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, F)."""
        result: Tensor = self.dense2(F.relu(self.dense1(tokens)))
        return result


class Block(nn.Module):
    """Post-norm transformer block: LN(x + drop(attention(x))), then LN(. + drop(ffn(.)))."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.layernorm1 = nn.LayerNorm(config.filters, eps=_LN_EPSILON)
        self.ffn = FeedForward(config)
        self.layernorm2 = nn.LayerNorm(config.filters, eps=_LN_EPSILON)
        self.dropout = Dropout(config.block_dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, F)."""
        tokens = self.layernorm1(tokens + self.dropout(self.attention(tokens)))
        tokens = self.layernorm2(tokens + self.dropout(self.ffn(tokens)))
        return tokens


class Encoder(nn.Module):
    """Position embedding and `depth` blocks. The outputs are the tokens after each block, first block first."""

    def __init__(self, config: NetworkConfig, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.position_embedding = nn.Parameter(torch.empty(config.positions, config.filters).uniform_(-0.05, 0.05))
        for number in range(1, depth + 1):
            self.add_module(f"block{number}", Block(config))

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """(B, T, F) -> depth tensors (B, T, F)."""
        tokens = tokens + self.position_embedding[: tokens.shape[1]]
        depths = []
        for number in range(1, self.depth + 1):
            tokens = self.get_submodule(f"block{number}")(tokens)
            depths.append(tokens)
        return depths


class Score(nn.Module):
    """Score gate: tokens (B, T, F) -> factors (B, T, F): dense, batch norm, ReLU, dense, batch norm, gate."""

    def __init__(self, config: NetworkConfig, noise_steps: float = 0.0) -> None:
        super().__init__()
        self.noise = RoundingNoise(noise_steps)
        self.dense1 = dense(config.filters, config.filters)
        self.bn1 = batch_norm(config.filters)
        self.dense2 = dense(config.filters, config.filters)
        self.bn2 = batch_norm(config.filters)
        self.gate = Gate(config.gate)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, F)."""
        hidden = F.relu(self.bn1(self.dense1(tokens.flatten(0, 1))))
        hidden = self.noise(hidden.view_as(tokens)).flatten(0, 1)
        score: Tensor = self.gate(self.bn2(self.dense2(hidden)))
        return score.view_as(tokens)


class Classifier(nn.Module):
    """Feature (B, n) -> logits (B, classes): dropout, then four dense layers without activations."""

    def __init__(self, config: NetworkConfig, feature: int) -> None:
        super().__init__()
        self.dropout = Dropout(config.classifier_dropout)
        self.dense1 = dense(feature, 128)
        self.dense2 = dense(128, 128)
        self.dense3 = dense(128, 128)
        self.dense4 = dense(128, config.classes)

    def layers(self) -> tuple[nn.Linear, ...]:
        """Return the dense layers, first to last."""
        return self.dense1, self.dense2, self.dense3, self.dense4

    def forward(self, feature: Tensor) -> Tensor:
        """(B, n) -> (B, classes)."""
        logits: Tensor = self.dense4(self.dense3(self.dense2(self.dense1(self.dropout(feature)))))
        return logits


class LinearClassifier(nn.Module):
    """Feature (B, n) -> logits (B, classes): dropout and one dense layer, equivalent to the four of `Classifier`."""

    def __init__(self, config: NetworkConfig, feature: int) -> None:
        super().__init__()
        self.dropout = Dropout(config.classifier_dropout)
        self.dense = dense(feature, config.classes)

    def layers(self) -> tuple[nn.Linear, ...]:
        """Return the dense layer."""
        return (self.dense,)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, n) -> (B, classes)."""
        logits: Tensor = self.dense(self.dropout(feature))
        return logits


class Classifiers(nn.ModuleDict):
    """One classifier per target, by name: feature (B, n) -> logits (B, targets, classes).

    Raises ConfigError for a target with the name of an attribute of nn.ModuleDict.
    """

    def __init__(
        self, config: NetworkConfig, feature: int, kind: type[Classifier] | type[LinearClassifier] = Classifier
    ) -> None:
        for target in config.targets:
            if hasattr(nn.ModuleDict, target):
                raise ConfigError(f"the network uses the name {target!r} itself: choose another name for the target")
        super().__init__({target: kind(config, feature) for target in config.targets})

    def forward(self, feature: Tensor) -> Tensor:
        """(B, n) -> (B, targets, classes)."""
        return torch.stack([classifier(feature) for classifier in self.values()], dim=1)
