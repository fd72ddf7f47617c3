"""The teacher, which classifies EEG and GSR (EmotionKD, ACM MM 2023)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ekd_train.models.blocks import Classifiers, Encoder, Head, Score
from ekd_train.models.config import NetworkConfig, Output

__all__ = ["CrossFitted", "InteractiveFusion", "Teacher"]


class InteractiveFusion(nn.Module):
    """Interactivity-based modal fusion: score_after(A) * A + score_before(B) * B."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.score_before = Score(config)
        self.score_after = Score(config)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Tokens of both modalities (B, 2T, F) of two consecutive depths -> (B, 2T, F)."""
        fused: Tensor = self.score_after(after) * after + self.score_before(before) * before
        return fused


class Teacher(nn.Module):
    """EEG (B, eeg_rows, window) and GSR (B, window) windows -> Output with a feature (B, 2 * tokens * filters).

    The published teacher has one more EEG block, whose output is unused. With fusion "published" this class does not
    have that block; outputs and gradients are the same. With fusion "figure" the block exists and is used.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.eeg_head = Head(config, rows=config.eeg_rows)
        self.gsr_head = Head(config, rows=1)
        self.eeg_encoder = Encoder(config, config.depth - (config.fusion == "published"))
        self.gsr_encoder = Encoder(config, config.depth)
        for number in range(1, config.depth):
            self.add_module(f"imf{number}", InteractiveFusion(config))
        self.classifier = Classifiers(config, config.teacher_feature)

    def forward(self, eeg: Tensor, gsr: Tensor) -> Output:
        """Float windows, normalized: eeg (B, eeg_rows, window), gsr (B, window) -> Output."""
        eegs = self.eeg_encoder(self.eeg_head(eeg))
        gsrs = self.gsr_encoder(self.gsr_head(gsr.unsqueeze(1)))
        ahead = 0 if self.config.fusion == "published" else 1
        fused = []
        for k in range(self.config.depth - 1):
            before = torch.cat([eegs[k], gsrs[k]], dim=1)
            after = torch.cat([eegs[k + ahead], gsrs[k + 1]], dim=1)
            fused.append(self.get_submodule(f"imf{k + 1}")(before, after))
        feature = torch.stack(fused).sum(0).flatten(1)
        return Output(self.classifier(feature), feature)

    def regularization(self) -> Tensor:
        """Return the L2 penalty of both heads' kernels, a term of the training loss."""
        return self.eeg_head.regularization() + self.gsr_head.regularization()


class CrossFitted(nn.Module):
    """Cross-fitted teachers: each one predicts the subjects that it was not trained on; see `crossfit`."""

    def __init__(self, teachers: Sequence[Teacher], held_out_subjects: Sequence[Sequence[str]]) -> None:
        super().__init__()
        self.teachers = tuple(teachers)
        self.held_out_subjects = tuple(map(tuple, held_out_subjects))
        for number, teacher in enumerate(teachers):
            self.add_module(f"teacher{number}", teacher)
