"""The manifest of a model file, as dataclasses; `ekd_edge.model.manifest_json` reads and writes their JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ekd_edge.signal.spec import SignalSpec

__all__ = [
    "FORMAT_VERSION",
    "SIGNOFF_VERSION",
    "Calibration",
    "HighRule",
    "Kind",
    "Manifest",
    "NormalizationState",
    "Quantization",
    "SignOff",
    "SignOffResult",
    "Target",
    "TensorQuantization",
    "Training",
    "unstated_state",
]

FORMAT_VERSION = 2
"""Rises with every change of the manifest's fields or of the container around it."""

SIGNOFF_VERSION = 2
"""Of the fields of `SignOff`. Version 1 has no number, and says `passed` in place of `result`."""

Kind = Literal["int8", "dynamic", "float16", "float32"]
"""int8: every tensor is an integer, input and output included. The others have float32 inputs and outputs: dynamic has
int8 weights, float16 has float16 weights, float32 is float32 throughout."""

SignOffResult = Literal["passed", "failed", "undecided"]
"""passed: the change is shown to be within the allowance. failed: a change beyond it is shown. undecided:
neither is shown."""

HighRule = Literal["above", "at-or-above"]
"""Whether a rating equal to the threshold is high; studies use both rules."""

NormalizationState = Literal["carried", "restarted"]
"""The running mean of the normalization in the training windows: carried from trial to trial of a subject, as in a
sensor's stream, or restarted at each trial."""

_TRIAL_DATASETS = ("deap", "hci")
"""Datasets whose trials restarted the running mean before model files stated its state."""


def unstated_state(source: str) -> NormalizationState:
    """Return the state in which versions that did not state it trained on this source, such as "deap:DEAP"."""
    return "restarted" if source.partition(":")[0] in _TRIAL_DATASETS else "carried"


@dataclass(frozen=True, slots=True)
class Target:
    """One prediction target: its name ("arousal") and its labels in logit order ("low", "high")."""

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
    """The calibration windows of the activation ranges: float32 (n, window_samples) of training subjects.

    subjects: hashed as in `Training`. sha256: of those windows' bytes, little-endian, row after row.
    """

    method: str
    subjects: tuple[str, ...]
    windows: int
    seed: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Training:
    """The training data of a model.

    source: the `--data` text that loads the dataset; dataset: the dataset's identity, which two sources share
    only if they hold the same recordings. synthetic: no person was recorded. The subject sets are disjoint and contain
    `ekd_edge.model.subject_hash.hash_subject` of each name, so that a model file contains no names.
    threshold: a rating above it is label 1. high: whether a rating equal to it is label 1 as well.
    window_hashes: of a few windows of each recording of training and validation (16 hex digits of SHA-256 over the
    window's float32 bytes), which identify the same recording under another name.
    normalization_state: see `NormalizationState`; None in files of earlier versions, which do not state it.
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
    normalization_state: NormalizationState | None = None

    @property
    def restarted(self) -> bool:
        """Whether the running mean of the normalization restarted at each trial in training."""
        return (self.normalization_state or unstated_state(self.source)) == "restarted"

    @property
    def seen_subjects(self) -> frozenset[str]:
        """Hashed subjects of training and validation; held-out figures must exclude them."""
        return frozenset(self.train_subjects) | frozenset(self.validation_subjects)


@dataclass(frozen=True, slots=True)
class SignOff:
    """The result of `ekd-export --max-drop`: whether the change of accuracy was shown to be within max_drop.

    max_drop: share of windows; 0.01 is one percentage point of accuracy. version: of these fields.
    """

    max_drop: float
    result: SignOffResult
    version: int = SIGNOFF_VERSION

    @property
    def passed(self) -> bool:
        """Whether the result is "passed"."""
        return self.result == "passed"


@dataclass(frozen=True, slots=True)
class Manifest:
    """All metadata of a model file.

    The model has one input (1, signal.window_samples) and one output (1, targets * classes), the logits of
    one target after the other. recipe: name of the quantization recipe ("static", "qat", "float32"); student: name
    of the student ("paper"). quantization and calibration exist exactly for kind "int8". signoff: None if none
    was requested. evaluation: figures measured at export, free JSON, with hashed subjects. made_by:
    name and version of the program. sha256, size_bytes: of the flatbuffer only; `save_model_file` sets them.
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
        """A JSON-ready dict; `ekd_edge.model.manifest_json` encodes and parses it."""
        return asdict(self) | {"signal": self.signal.to_json()}
