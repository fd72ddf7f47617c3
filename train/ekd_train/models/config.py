"""The shape and output of teacher and student. This module can be imported without torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from ekd_edge.errors import ConfigError
from ekd_train.settings.field import check_settings, setting

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["STUDENTS", "Fusion", "GateKind", "NetworkConfig", "NetworkShape", "Output", "StudentKind"]

Fusion = Literal["published", "figure"]
GateKind = Literal["softsign", "hardtanh"]
StudentKind = Literal["paper", "compact", "edge"]

STUDENTS: Mapping[StudentKind, Mapping[str, Any]] = {
    "paper": {},
    "compact": {"heads": 2, "key_size": 16, "gate": "hardtanh"},
    "edge": {"filters": 48, "ffn": 48, "gate": "hardtanh"},
}
"""Settings in which each kind of student differs from the teacher.

"compact" has fewer attention heads and classifies the mean over tokens with one dense layer. "edge" mixes tokens with
depthwise convolutions instead of attention. Its batch norms fold into other layers, so int8 kernels run it fast.
"""

_OWN_SIZES = ("filters", "heads", "key_size", "ffn")
_TARGET = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Output(NamedTuple):
    """Logits and feature of a network for a batch of B windows.

    logits: (B, targets, classes), before the softmax.
    feature: token-major; for the student (B, tokens * filters) in the teacher's width; for the teacher
        (B, 2 * tokens * filters), first the EEG tokens and then the GSR tokens. Feature distillation compares them.
    """

    logits: "Tensor"
    feature: "Tensor"


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """Sizes of the networks that a preset sets. The defaults are those of the published networks (ACM MM 2023).

    Raises ConfigError for a value out of its range.
    """

    filters: int = setting(64, "width of a token", at_least=1)
    kernel: int = setting(32, "samples of the temporal convolution's kernel, which makes the tokens", at_least=1)
    stride: int = setting(8, "samples between tokens", at_least=1)
    depth: int = setting(3, "transformer blocks", at_least=2)
    heads: int = setting(8, "attention heads", at_least=1)
    key_size: int = setting(64, "width of an attention head's keys", at_least=1)
    ffn: int = setting(64, "width of a block's hidden layer", at_least=1)
    fusion: Fusion = setting(
        "published", "EEG depth that joins GSR depth k+1 in the teacher: k (published code) or k+1 (the paper's figure)"
    )
    gate: GateKind = setting("softsign", "squashing function of the score gates; hardtanh quantizes without a division")
    head_dropout: float = setting(0.3, "dropout rate of the head", at_least=0, below=1)
    block_dropout: float = setting(0.1, "dropout rate of the blocks", at_least=0, below=1)
    classifier_dropout: float = setting(0.5, "dropout rate of the classifier", at_least=0, below=1)
    student: StudentKind = setting("paper", "kind of student: as published, compact, or edge, which int8 makes fast")
    student_filters: int = setting(0, "the student's own filters; 0 for those of its kind", at_least=0)
    student_heads: int = setting(0, "the student's own heads; 0 for those of its kind", at_least=0)
    student_key_size: int = setting(0, "the student's own key_size; 0 for that of its kind", at_least=0)
    student_ffn: int = setting(0, "the student's own ffn; 0 for that of its kind", at_least=0)
    student_mix: int = setting(9, "tokens that a convolution of the kind edge mixes, an odd number", at_least=1)
    student_noise: float = setting(
        8.0, "noise in training of the kind edge, in int8 steps of each activation, so that int8 decides alike; 0 for "
        "none", at_least=0, at_most=255,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_settings(self, "network")
        if self.student_mix % 2 == 0:
            raise ConfigError(f"network.student_mix = {self.student_mix}: it must be an odd number of tokens")
        for name, known in (("fusion", get_args(Fusion)), ("gate", get_args(GateKind)), ("student", tuple(STUDENTS))):
            if getattr(self, name) not in known:
                raise ConfigError(f"network.{name} = {getattr(self, name)!r}: choose one of {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class NetworkConfig(NetworkShape):
    """Sizes of student and teacher: those of a preset and those that the data determine.

    window_samples: samples of a window, per channel. eeg_rows: EEG channels of the teacher.
    targets: names of the predicted targets; each has a classifier. classes: number of classes of every target.

    Raises ConfigError for values that do not fit together.
    """

    window_samples: int = setting(512, "samples of one window", at_least=1)
    eeg_rows: int = setting(28, "EEG channels of the teacher", at_least=1)
    targets: tuple[str, ...] = ("arousal",)
    classes: int = setting(2, "classes of every target", at_least=2)

    def __post_init__(self) -> None:
        NetworkShape.__post_init__(self)
        if self.window_samples < self.kernel:
            raise ConfigError(
                f"the window of {self.window_samples} samples is shorter than network.kernel = {self.kernel}: make the "
                "window longer or the kernel shorter"
            )
        if not self.targets or len(set(self.targets)) < len(self.targets):
            raise ConfigError("the network needs at least one target, without duplicates: name each target once")
        for target in self.targets:
            if not _TARGET.fullmatch(target):
                raise ConfigError(
                    f"the target {target!r} is not a name: start with a letter and use only letters, digits and _"
                )

    @property
    def of_student(self) -> "NetworkConfig":
        """The student's shape: this shape with the settings of its kind and its own sizes."""
        own = {name: getattr(self, f"student_{name}") for name in _OWN_SIZES}
        return replace(self, **{**STUDENTS[self.student], **{name: size for name, size in own.items() if size}})

    @property
    def tokens(self) -> int:
        """Number of tokens of one modality; 61 as published."""
        return (self.window_samples - self.kernel) // self.stride + 1

    @property
    def positions(self) -> int:
        """Number of rows of the position embedding, window / stride; 64 as published. The first `tokens` are used."""
        return max(self.tokens, self.window_samples // self.stride)

    @property
    def student_feature(self) -> int:
        """Length of the feature of every kind of student; 3904 as published."""
        return self.tokens * self.filters

    @property
    def teacher_feature(self) -> int:
        """Length of the teacher's feature; 7808 as published."""
        return 2 * self.student_feature
