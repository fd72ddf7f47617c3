"""The student: skin conductance alone (EmotionKD, ACM MM 2023)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ekd_train.blocks import Classifiers, Encoder, Head, Score
from ekd_train.network import NetworkConfig, Output

__all__ = ["DepthFusion", "Student"]


class DepthFusion(nn.Module):
    """Sum over depths of score_i(x_i) * x_i."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        for number in range(1, config.depth + 1):
            self.add_module(f"score{number}", Score(config))

    def forward(self, depths: Sequence[Tensor]) -> Tensor:
        """Tensors (B, T, F), shallow first -> (B, T, F)."""
        fused = torch.zeros(())
        for number, tokens in enumerate(depths, start=1):
            gated = self.get_submodule(f"score{number}")(tokens) * tokens
            fused = gated if number == 1 else fused + gated
        return fused


class Student(nn.Module):
    """GSR windows (B, window_samples) -> Output(logits (B, targets, classes), feature (B, tokens * filters)).

    With one target it is the published student: 993,986 weights less the key biases, which have no effect.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.gsr_head = Head(config, rows=1)
        self.gsr_encoder = Encoder(config, config.depth)
        self.depth_fusion = DepthFusion(config)
        self.classifier = Classifiers(config, config.student_feature)

    def forward(self, gsr: Tensor) -> Output:
        """Float windows (B, window_samples), normalized -> Output."""
        depths = self.gsr_encoder(self.gsr_head(gsr.unsqueeze(1)))
        feature = self.depth_fusion(depths).flatten(1)
        return Output(self.classifier(feature), feature)

    def regularization(self) -> Tensor:
        """The L2 penalty on the head's kernels, a part of the training loss."""
        return self.gsr_head.regularization()
