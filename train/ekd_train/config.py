"""Training configuration: small frozen dataclasses, read from TOML presets, overridden by dotted keys."""

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from ekd_edge.errors import ConfigError, SignalError
from ekd_edge.model.manifest import HighRule
from ekd_edge.signal.design import bandpass_sos, eeg_spec, gsr_spec
from ekd_edge.signal.spec import Normalization, SignalSpec
from ekd_train.data.splits import SplitConfig
from ekd_train.models.config import Fusion, GateKind, StudentKind

__all__ = [
    "ComputeConfig",
    "DistillConfig",
    "FeedbackConfig",
    "NetworkShape",
    "SignalConfig",
    "SplitConfig",
    "StageConfig",
    "TrainConfig",
    "load_preset",
    "preset_names",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SignalConfig:
    """The signal chain in the researcher's words; `gsr` and `eeg` turn it into SignalSpecs.

    hop_s: step between predictions on the device. training_hop_s: step between training windows, whose overlap brings
    little and costs time; 0 means the same as hop_s.
    eeg_features: "raw" feeds the EEG channels themselves, "bandpower" their alpha and beta band power, which
    is what remains of EEG at a rate too low for its waves.
    eeg_low_hz, eeg_high_hz: causal band-pass of raw EEG; 0 and 0 where the dataset has it band-passed already.
    """

    rate_hz: str = "128"
    window_s: float = 4.0
    hop_s: float = 1.0
    training_hop_s: float = 0.0
    cutoff_hz: float = 5.0
    settle_s: float = 2.0
    normalization: str = "log-ema"
    time_constant_s: float = 240.0
    gain: float = 8.0
    eeg_features: Literal["raw", "bandpower"] = "raw"
    eeg_low_hz: float = 0.0
    eeg_high_hz: float = 0.0

    def for_training(self, spec: SignalSpec) -> SignalSpec:
        """The same chain with the step between training windows."""
        if not self.training_hop_s:
            return spec
        if self.training_hop_s < 0:
            raise ConfigError("signal.training_hop_s must be 0 (as hop_s) or a positive number of seconds")
        return replace(spec, hop_samples=max(1, round(self.training_hop_s * spec.rate_hz)))

    def _rate(self) -> Fraction:
        try:
            return Fraction(self.rate_hz)
        except (ValueError, ZeroDivisionError):
            raise ConfigError(f"signal.rate_hz = {self.rate_hz!r} is no rate: write 128 or 125/2") from None

    def gsr(self) -> SignalSpec:
        """The specification of the GSR windows: the one that travels in the model_file."""
        try:
            normalization = Normalization(self.normalization, self.time_constant_s, self.gain)  # type: ignore[arg-type]
            return gsr_spec(
                rate_hz=self._rate(),
                window_s=self.window_s,
                hop_s=self.hop_s,
                cutoff_hz=self.cutoff_hz,
                settle_s=self.settle_s,
                normalization=normalization,
            )
        except SignalError as error:
            raise ConfigError(f"[signal]: {error}") from error

    def eeg(self) -> SignalSpec:
        """The specification of the teacher's EEG windows, aligned with the GSR windows."""
        rate = self._rate()
        try:
            sos = bandpass_sos(rate, self.eeg_low_hz, self.eeg_high_hz) if self.eeg_low_hz or self.eeg_high_hz else ()
            return eeg_spec(rate_hz=rate, window_s=self.window_s, hop_s=self.hop_s, sos=sos, settle_s=self.settle_s)
        except SignalError as error:
            raise ConfigError(f"[signal]: {error}") from error


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """What of `NetworkConfig` a preset may choose; window, EEG rows and targets follow from the data."""

    filters: int = 64
    kernel: int = 32
    stride: int = 8
    depth: int = 3
    heads: int = 8
    key_size: int = 64
    ffn: int = 64
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


@dataclass(frozen=True, slots=True)
class StageConfig:
    """One stage of training: passes over the training subjects' windows, batch size, Adam's rate.

    patience: epochs without a better validation score after which the stage ends early; 0 means never.
    """

    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 1e-4
    patience: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or self.learning_rate <= 0 or self.patience < 0:
            raise ConfigError("a stage needs epochs >= 1, batch_size >= 2, patience >= 0, a positive learning_rate")


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """Weights of the distillation loss: e1 CE + e2 KL + e3 MSE(features), as published by default.

    label_smoothing: of the labels' cross entropy. unrated: learn from the teacher on unrated subjects as well.
    crossfit: how many teachers the method kd-crossfit trains, each without some of the training subjects.
    """

    hard: float = 1.0
    soft: float = 0.1
    feature: float = 1.0
    temperature: float = 1.0
    projection: Literal["pool", "linear"] = "pool"
    label_smoothing: float = 0.0
    unrated: bool = False
    crossfit: int = 3

    def __post_init__(self) -> None:
        if self.crossfit < 2:
            raise ConfigError("distill.crossfit must be at least 2 teachers")


@dataclass(frozen=True, slots=True)
class FeedbackConfig:
    """Adaptive feedback: the teacher learns from how its temporary student fares on a quiz batch.

    every: take the feedback step at every k-th batch; 0 keeps the teacher fixed (plain distillation).
    inner_learning_rate: rate of the temporary student's single SGD step.
    teacher_learning_rate: Adam's rate for the teacher while it listens.
    hard, quiz: weights of the teacher's own cross entropy and of the temporary student's on the quiz.
    quiz_fraction: share of the training subjects that set the quiz; they rotate from epoch to epoch.
    quiz_batch_size: windows of one quiz; 0 means as many as a batch has.
    renewed: the student learns from the answers of the teacher after its step; else from those before.
    """

    every: int = 1
    inner_learning_rate: float = 0.05
    teacher_learning_rate: float = 2e-5
    hard: float = 1.0
    quiz: float = 1.0
    quiz_fraction: float = 0.2
    quiz_batch_size: int = 0
    renewed: bool = False

    def __post_init__(self) -> None:
        if self.every < 0:
            raise ConfigError("feedback.every must be 0 (off) or the number of batches between feedback steps")
        if not 0 < self.quiz_fraction < 1:
            raise ConfigError("feedback.quiz_fraction must lie between 0 and 1")
        if self.quiz_batch_size < 0 or self.quiz_batch_size == 1:
            raise ConfigError("feedback.quiz_batch_size must be 0 (as the batch) or at least 2")


@dataclass(frozen=True, slots=True)
class ComputeConfig:
    """How the arithmetic is done: for a GPU; on a CPU the defaults are the fastest.

    precision: "float32", or "bf16", which computes matrix products in bfloat16; weights, losses, optimizer and the
        temporal convolutions stay in float32.
    compile: torch.compile for the steps without feedback, whose second derivative cannot be compiled.
    """

    precision: Literal["float32", "bf16"] = "float32"
    compile: bool = False


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything that determines a run, apart from the data itself.

    threshold, high: a rating is high "above" the threshold, or "at-or-above" it.
    """

    data: str = "synthetic"
    targets: tuple[str, ...] = ("arousal",)
    threshold: float = 5.0
    high: HighRule = "above"
    seed: int = 0
    signal: SignalConfig = field(default_factory=SignalConfig)
    network: NetworkShape = field(default_factory=NetworkShape)
    split: SplitConfig = field(default_factory=SplitConfig)
    teacher: StageConfig = field(default_factory=StageConfig)
    student: StageConfig = field(default_factory=StageConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    feedback: FeedbackConfig = field(default_factory=FeedbackConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)

    def __post_init__(self) -> None:
        if not self.targets or len(set(self.targets)) != len(self.targets):
            raise ConfigError("targets must name at least one rating, each once, such as ['arousal']")

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_json` is its exact inverse."""
        return dataclasses.asdict(self) | {"targets": list(self.targets)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TrainConfig":
        """A configuration from nested tables (TOML or JSON).

        Raises ConfigError for unknown keys and for values of the wrong kind.
        """
        return _from_table(cls, data, "")

    def override(self, assignments: Sequence[str]) -> "TrainConfig":
        """This configuration with `key=value` changes, such as `student.epochs=3`.

        A value is read as TOML; what is no TOML value is taken as a string.
        """
        tables = self.to_json()
        for assignment in assignments:
            key, equals, text = assignment.partition("=")
            if not equals:
                raise ConfigError(f"--set {assignment}: write it as key=value, such as student.epochs=3")
            *path, last = key.strip().split(".")
            table = tables
            for part in path:
                table = table.get(part, None) if isinstance(table, dict) else None  # type: ignore[assignment]
            if not isinstance(table, dict) or last not in table:
                raise ConfigError(f"--set {assignment}: there is no setting {key.strip()!r}")
            table[last] = _value(text.strip())
        return self.from_json(tables)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _from_table(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    hints = get_type_hints(cls)
    unknown = sorted(set(table) - set(hints))
    if unknown:
        raise ConfigError(f"unknown setting {where}{unknown[0]}: known here are {', '.join(hints)}")
    return cls(**{name: _checked(hints[name], value, f"{where}{name}") for name, value in table.items()})


def _checked(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} must be a table")
        return _from_table(hint, value, f"{where}.")
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ConfigError(f"{where} = {value!r}: choose one of {', '.join(get_args(hint))}")
        return value
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{where} must be a list of names")
        return tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, hint) or isinstance(value, bool) != (hint is bool):
        raise ConfigError(f"{where} = {value!r} must be of type {hint.__name__}")
    return value


def preset_names() -> list[str]:
    """The presets that ship with ekd."""
    folder = resources.files("ekd_train") / "presets"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_preset(name: str) -> TrainConfig:
    """The configuration of a shipped preset, or of a TOML file given by its path."""
    path = Path(name)
    if name in preset_names():
        text = (resources.files("ekd_train") / "presets" / f"{name}.toml").read_text(encoding="utf-8")
    elif path.suffix == ".toml" and path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        raise ConfigError(f"no preset {name!r}: choose {', '.join(preset_names())} or give a .toml file")
    try:
        return TrainConfig.from_json(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"preset {name}: {error}") from error
