"""The student, which classifies GSR, as published (EmotionKD, ACM MM 2023) or of a smaller kind."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ekd_train.models.blocks import Classifiers, Encoder, Head, LinearClassifier, Score
from ekd_train.models.config import NetworkConfig, Output
from ekd_train.models.layers import RoundingNoise, dense
from ekd_train.models.mixing import MixEncoder

__all__ = ["DepthFusion", "Student"]


class DepthFusion(nn.Module):
    """The sum over depths i of score_i(x_i) * x_i."""

    def __init__(self, config: NetworkConfig, noise_steps: float = 0.0) -> None:
        super().__init__()
        self.noise = RoundingNoise(noise_steps)
        for number in range(1, config.depth + 1):
            self.add_module(f"score{number}", Score(config, noise_steps))

    def forward(self, depths: Sequence[Tensor]) -> Tensor:
        """Tensors (B, T, F), first block first -> (B, T, F)."""
        fused = torch.zeros(())
        for number, tokens in enumerate(depths, start=1):
            gated = self.noise(self.get_submodule(f"score{number}")(tokens) * tokens)
            fused = gated if number == 1 else self.noise(fused + gated)
        return fused


class Student(nn.Module):
    """GSR windows (B, window_samples) -> Output(logits (B, targets, classes), feature (B, tokens * filters)).

    With the kind "paper" and one target it is the published student: 993,986 weights without the key biases, which
    have no effect. The other kinds classify the mean over tokens. If their tokens differ in width from the teacher's, a
    dense layer maps them to that width for the feature. Only distillation uses this layer; it is not exported.
    The kind "edge" is trained with `RoundingNoise` at every activation that int8 rounds.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config, self.shape = config, config.of_student
        shape = self.shape
        edge = shape.student == "edge"
        noise_steps = shape.student_noise if edge else 0.0
        self.noise = RoundingNoise(noise_steps)
        self.gsr_head = Head(shape, rows=1, noise_steps=noise_steps)
        self.gsr_encoder = MixEncoder(shape) if edge else Encoder(shape, shape.depth)
        self.depth_fusion = DepthFusion(shape, noise_steps)
        self.pooled = shape.student != "paper"
        if self.pooled:
            self.classifier = Classifiers(shape, shape.filters, LinearClassifier)
        else:
            self.classifier = Classifiers(shape, shape.tokens * shape.filters)
        self.to_teacher = nn.Identity() if shape.filters == config.filters else dense(shape.filters, config.filters)

    def forward(self, gsr: Tensor) -> Output:
        """Float windows (B, window_samples), normalized -> Output."""
        noisy = self.noise(gsr.unsqueeze(2)).transpose(1, 2)
        tokens = self.depth_fusion(self.gsr_encoder(self.gsr_head(noisy)))
        logits = self.classifier(self.noise(tokens.mean(1)) if self.pooled else tokens.flatten(1))
        return Output(logits, self.to_teacher(tokens).flatten(1))

    def regularization(self) -> Tensor:
        """Return the L2 penalty of the head's kernels, a term of the training loss."""
        return self.gsr_head.regularization()
