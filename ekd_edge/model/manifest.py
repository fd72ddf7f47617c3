"""The manifest: what a model file says about itself, as typed nouns; `ekd_edge.model.manifest_json` has their JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ekd_edge.signal.spec import SignalSpec

__all__ = [
    "FORMAT_VERSION",
    "Calibration",
    "HighRule",
    "Kind",
    "Manifest",
    "Quantization",
    "SignOff",
    "Target",
    "TensorQuantization",
    "Training",
]

FORMAT_VERSION = 2
"""Rises with every change of the manifest's fields or of the container around it."""

Kind = Literal["int8", "dynamic", "float16", "float32"]
"""int8: every tensor is an integer, input and output included. The others take and give float32: dynamic has int8
weights, float16 has float16 weights, float32 is float32 throughout."""

HighRule = Literal["above", "at-or-above"]
"""Which ratings are high: those above the threshold alone, or those at it as well. Studies use both."""


@dataclass(frozen=True, slots=True)
class Target:
    """One thing the model predicts: its name ("arousal") and its labels in logit order ("low", "high")."""

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TensorQuantization:
    """real = scale * (int8 - zero_point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class Quantization:
    """Quantization of the model's input and output."""

    input: TensorQuantization
    output: TensorQuantization


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the activation ranges were measured on: float32 windows (n, window_samples) of training subjects.

    subjects: hashed as in `Training`. sha256: of those windows' bytes, little-endian, row after row.
    """

    method: str
    subjects: tuple[str, ...]
    windows: int
    seed: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Training:
    """Where the model comes from.

    source: the `--data` text that loads the dataset; dataset: the dataset's identity, which two sources share
    only if they hold the same recordings. synthetic: no person was recorded. The subject sets are disjoint, and
    hold `ekd_edge.model.subject_hash.hash_subject` of each name: a model file names nobody.
    threshold: a rating above it is label 1. high: whether one at the threshold is label 1 as well.
    window_hashes: of a few windows of each recording of training and validation (16 hex digits of SHA-256 over the
    window's float32 bytes), by which the same recording is known under another name.
    """

    source: str
    dataset: str
    synthetic: bool
    train_subjects: tuple[str, ...]
    validation_subjects: tuple[str, ...]
    test_subjects: tuple[str, ...]
    threshold: float = 5.0
    high: HighRule = "above"
    window_hashes: tuple[str, ...] = ()

    @property
    def seen_subjects(self) -> frozenset[str]:
        """Subjects, hashed, that shaped the model in any way: held-out figures must exclude them."""
        return frozenset(self.train_subjects) | frozenset(self.validation_subjects)


@dataclass(frozen=True, slots=True)
class SignOff:
    """The verdict of `ekd-export --max-drop`: whether the loss of accuracy was shown to be at most max_drop.

    max_drop: share of windows, 0.01 is one point of accuracy.
    """

    max_drop: float
    passed: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything a model file says about itself.

    The model has one input (1, signal.window_samples) and one output (1, targets * classes), the logits of
    target after target. recipe: name of the quantization recipe ("static", "qat", "float32"); student: which student
    of the family ("paper"). quantization and calibration are there exactly for kind "int8". signoff: None where
    nobody asked for a verdict. evaluation: figures measured at export, free JSON, its subjects hashed too. made_by:
    name and version of the program. sha256, size_bytes: of the flatbuffer alone; `save_model_file` fills them in.
    """

    kind: Kind
    signal: SignalSpec
    targets: tuple[Target, ...]
    training: Training
    recipe: str
    student: str
    quantization: Quantization | None = None
    calibration: Calibration | None = None
    signoff: SignOff | None = None
    evaluation: Mapping[str, Any] | None = None
    made_by: str = "ekd"
    sha256: str = ""
    size_bytes: int = 0
    format_version: int = FORMAT_VERSION

    @property
    def n_classes(self) -> int:
        """Classes of each target."""
        return len(self.targets[0].labels)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `ekd_edge.model.manifest_json` writes and reads it."""
        return asdict(self) | {"signal": self.signal.to_json()}
