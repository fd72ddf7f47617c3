"""The encoder of the student `edge`, which mixes tokens with convolutions instead of attention.

Every product multiplies activations with constant weights, and every batch norm folds into the product before it.
int8 kernels compute this faster than attention, which multiplies activations with activations, and layer norm, which
divides.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ekd_train.models.blocks import batch_norm
from ekd_train.models.config import NetworkConfig
from ekd_train.models.layers import Dropout, RoundingNoise, dense, glorot

__all__ = ["MixBlock", "MixEncoder", "TokenMixing"]


class TokenMixing(nn.Module):
    """A zero-padded depthwise convolution along the tokens, then batch norm: (B, T, F) -> (B, T, F)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        filters, self.padding = config.filters, config.student_mix // 2
        self.weight = nn.Parameter(torch.empty(filters, 1, config.student_mix))
        glorot(self.weight, config.student_mix, config.student_mix)
        self.bn = batch_norm(filters)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, F)."""
        mixed = F.conv1d(tokens.transpose(1, 2), self.weight, padding=self.padding, groups=tokens.shape[2])
        normed: Tensor = self.bn(mixed.transpose(1, 2).flatten(0, 1))
        return normed.view_as(tokens)


class MixBlock(nn.Module):
    """x + drop(mixing(x)), then . + drop(bn(dense2(relu(bn(dense1(.))))))."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.mixing = TokenMixing(config)
        self.dense1 = dense(config.filters, config.ffn)
        self.bn1 = batch_norm(config.ffn)
        self.dense2 = dense(config.ffn, config.filters)
        self.bn2 = batch_norm(config.filters)
        self.dropout = Dropout(config.block_dropout)
        self.noise = RoundingNoise(config.student_noise)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, F)."""
        batch, length, _ = tokens.shape
        tokens = self.noise(tokens + self.dropout(self.noise(self.mixing(tokens))))
        hidden = F.relu(self.bn1(self.dense1(tokens.flatten(0, 1))))
        hidden = self.noise(hidden.view(batch, length, -1)).flatten(0, 1)
        hidden = self.bn2(self.dense2(hidden)).view_as(tokens)
        mixed: Tensor = self.noise(tokens + self.dropout(self.noise(hidden)))
        return mixed


class MixEncoder(nn.Module):
    """`depth` blocks. The outputs are the tokens after each block, first block first.

    There is no position embedding, because the convolutions depend on the order of tokens.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.depth = config.depth
        for number in range(1, config.depth + 1):
            self.add_module(f"block{number}", MixBlock(config))

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """(B, T, F) -> depth tensors (B, T, F)."""
        depths = []
        for number in range(1, self.depth + 1):
            tokens = self.get_submodule(f"block{number}")(tokens)
            depths.append(tokens)
        return depths
