"""The shape of both networks, and what they return. Importable without torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from ekd_edge.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["STUDENTS", "Fusion", "GateKind", "NetworkConfig", "Output", "StudentKind"]

Fusion = Literal["published", "figure"]
GateKind = Literal["softsign", "hardtanh"]
StudentKind = Literal["paper", "compact", "edge"]

STUDENTS: Mapping[StudentKind, Mapping[str, Any]] = {
    "paper": {},
    "compact": {"heads": 2, "key_size": 16, "gate": "hardtanh"},
    "edge": {"filters": 48, "ffn": 48, "gate": "hardtanh"},
}
"""What each kind of student has otherwise than the teacher. compact: less attention, a pooled and collapsed classifier.
edge: no attention at all, tokens mixed by depthwise convolutions, batch norms that fold away: int8 makes it fast."""

_OWN_SIZES = ("filters", "heads", "key_size", "ffn")
_TARGET = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Output(NamedTuple):
    """What a network makes of a batch of B windows.

    logits: (B, targets, classes), before the softmax.
    feature: (B, tokens * filters) of the student, token-major, in the teacher's width; (B, 2 * tokens * filters) of
        the teacher, whose first half are the EEG tokens. This is what feature distillation compares.
    """

    logits: "Tensor"
    feature: "Tensor"


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Shape of student and teacher; the defaults are the published EmotionKD networks (ACM MM 2023).

    window_samples: samples of one window, of every channel.
    eeg_rows: EEG channels of the teacher.
    filters: width of a token; kernel, stride: of the temporal convolution that makes the tokens.
    depth: transformer blocks; heads, key_size: of their attention; ffn: width of their hidden layer.
    targets: what is predicted, one classifier each; classes: of every target.
    fusion: which EEG depth the teacher's "after" branch takes beside GSR depth k+1: k as in the published code,
        or k+1 as the paper's figure draws it.
    gate: squashing function of the score gates; "hardtanh" quantizes without a division.
    head_dropout, block_dropout, classifier_dropout: rates.
    student: its kind, one of `STUDENTS`; student_filters, student_heads, student_key_size, student_ffn: its own sizes,
        0 for those of its kind; student_mix: how many tokens the convolutions of the kind "edge" mix, an odd number.

    Raises ConfigError where the values cannot make a network.
    """

    window_samples: int = 512
    eeg_rows: int = 28
    filters: int = 64
    kernel: int = 32
    stride: int = 8
    depth: int = 3
    heads: int = 8
    key_size: int = 64
    ffn: int = 64
    targets: tuple[str, ...] = ("arousal",)
    classes: int = 2
    fusion: Fusion = "published"
    gate: GateKind = "softsign"
    head_dropout: float = 0.3
    block_dropout: float = 0.1
    classifier_dropout: float = 0.5
    student: StudentKind = "paper"
    student_filters: int = 0
    student_heads: int = 0
    student_key_size: int = 0
    student_ffn: int = 0
    student_mix: int = 9

    def __post_init__(self) -> None:
        for name in ("window_samples", "eeg_rows", "filters", "kernel", "stride", "heads", "key_size", "ffn"):
            if getattr(self, name) < 1:
                raise ConfigError(f"Set {name} of the network to 1 or more; it is {getattr(self, name)}.")
        if self.window_samples < self.kernel:
            raise ConfigError(
                f"Make the window at least as long as the network's kernel: {self.window_samples} samples are "
                f"fewer than {self.kernel}."
            )
        if self.depth < 2:
            raise ConfigError(f"Give the network a depth of 2 or more; it is {self.depth}.")
        if self.classes < 2:
            raise ConfigError(f"Give the network 2 classes or more; it has {self.classes}.")
        if not self.targets or len(set(self.targets)) < len(self.targets):
            raise ConfigError("Name at least one target of the network, and each only once.")
        for target in self.targets:
            if not _TARGET.fullmatch(target):
                raise ConfigError(f"Name the target {target!r} with letters, digits and underscores only.")
        if self.fusion not in get_args(Fusion):
            raise ConfigError(f"Choose 'published' or 'figure' as fusion, not {self.fusion!r}.")
        if self.gate not in get_args(GateKind):
            raise ConfigError(f"Choose 'softsign' or 'hardtanh' as gate, not {self.gate!r}.")
        if self.student not in STUDENTS:
            raise ConfigError(f"Choose one of {', '.join(STUDENTS)} as student, not {self.student!r}.")
        if min(getattr(self, f"student_{name}") for name in _OWN_SIZES) < 0:
            raise ConfigError("Set the student's own sizes to 1 or more, or to 0 for those of its kind.")
        if self.student_mix < 1 or self.student_mix % 2 == 0:
            raise ConfigError(f"Set student_mix to an odd number of tokens; it is {self.student_mix}.")
        for name in ("head_dropout", "block_dropout", "classifier_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"Set {name} of the network to 0 or more and less than 1.")

    @property
    def of_student(self) -> "NetworkConfig":
        """The student's own shape: this one with the changes of its kind and its own sizes."""
        own = {name: getattr(self, f"student_{name}") for name in _OWN_SIZES}
        return replace(self, **{**STUDENTS[self.student], **{name: size for name, size in own.items() if size}})

    @property
    def tokens(self) -> int:
        """Tokens of one modality: 61 as published."""
        return (self.window_samples - self.kernel) // self.stride + 1

    @property
    def positions(self) -> int:
        """Rows of the position embedding: window / stride, 64 as published; the first `tokens` are used."""
        return max(self.tokens, self.window_samples // self.stride)

    @property
    def student_feature(self) -> int:
        """Length of the student's feature, for every kind of student: 3904 as published."""
        return self.tokens * self.filters

    @property
    def teacher_feature(self) -> int:
        """Length of the teacher's feature: 7808 as published."""
        return 2 * self.student_feature
