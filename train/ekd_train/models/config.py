"""The shape of both networks, and their output. Importable without torch."""

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
"""How each kind of student differs from the teacher. compact: less attention, a pooled and collapsed classifier.
edge: no attention at all, tokens mixed by depthwise convolutions, batch norms that fold away: int8 makes it fast."""

_OWN_SIZES = ("filters", "heads", "key_size", "ffn")
_TARGET = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Output(NamedTuple):
    """The output of a network for a batch of B windows.

    logits: (B, targets, classes), before the softmax.
    feature: (B, tokens * filters) of the student, token-major, in the teacher's width; (B, 2 * tokens * filters) of
        the teacher, whose first half are the EEG tokens. This is what feature distillation compares.
    """

    logits: "Tensor"
    feature: "Tensor"


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """The part of the networks' shape that a preset chooses; the defaults are the published networks (ACM MM 2023).

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

    def __post_init__(self) -> None:
        check_settings(self, "network")
        if self.student_mix % 2 == 0:
            raise ConfigError(f"network.student_mix = {self.student_mix}: it must be an odd number of tokens")
        for name, known in (("fusion", get_args(Fusion)), ("gate", get_args(GateKind)), ("student", tuple(STUDENTS))):
            if getattr(self, name) not in known:
                raise ConfigError(f"network.{name} = {getattr(self, name)!r}: choose one of {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class NetworkConfig(NetworkShape):
    """The whole shape of student and teacher: the chosen part, and what follows from the data.

    window_samples: samples of one window, of every channel. eeg_rows: EEG channels of the teacher.
    targets: names of what is predicted, one classifier each. classes: of every target.

    Raises ConfigError where the values cannot make a network.
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
            raise ConfigError("name at least one target of the network, and each only once")
        for target in self.targets:
            if not _TARGET.fullmatch(target):
                raise ConfigError(f"the target {target!r} must be made of letters, digits and underscores")

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
