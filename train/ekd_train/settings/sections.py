"""The sections of a training configuration: signal, stages, distillation, feedback, compute.

`[network]` is `ekd_train.models.config.NetworkShape`, `[split]` is `ekd_train.data.splits.SplitConfig`.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from ekd_edge.errors import ConfigError, SignalError
from ekd_edge.model.manifest import NormalizationState
from ekd_edge.signal.design import BRIDGE_S, bandpass_sos, eeg_spec, gsr_spec
from ekd_edge.signal.spec import LONGEST_BRIDGE_S, Normalization, SignalSpec
from ekd_train.settings.field import check_settings, setting
from firmware_bridge.rates import parse_rate

__all__ = ["ComputeConfig", "DistillConfig", "EpochScore", "FeedbackConfig", "SignalConfig", "StageConfig"]


EpochScore = Literal["macro_f1", "loss"]
"""The validation score by which a stage chooses its best epoch."""


@dataclass(frozen=True, slots=True)
class SignalConfig:
    """The settings of the signal chain; `gsr` and `eeg` convert them to SignalSpecs."""

    rate_hz: str = setting("128", "sample rate of the windows in Hz, such as 128 or 125/2")
    window_s: float = setting(4.0, "length of a window in seconds", above=0)
    hop_s: float = setting(1.0, "seconds between predictions on the device", above=0)
    training_hop_s: float = setting(
        0.0, "seconds between training windows; 0 for hop_s (their overlap adds time and little else)", at_least=0
    )
    cutoff_hz: float = setting(5.0, "corner frequency of the GSR low-pass filter in Hz", above=0)
    settle_s: float = setting(2.0, "seconds at the start of a recording that only settle the filters", at_least=0)
    normalization: str = setting("log-ema", "normalization of GSR, see ekd_edge.signal.spec.Normalization")
    time_constant_s: float = setting(240.0, "time constant of the running mean in seconds", above=0)
    gain: float = setting(8.0, "factor of the normalized GSR", above=0)
    bound: str = setting("algebraic", "bound of the normalized GSR: algebraic or none, see ekd_edge.signal.spec.Bound")
    limit: float = setting(4.0, "largest magnitude of the bounded GSR", above=0)
    normalization_state: NormalizationState = setting(
        "carried", "running mean in training: carried from trial to trial of a subject, or restarted at each trial"
    )
    bridge_s: float = setting(
        BRIDGE_S,
        "longest gap of lost samples in seconds that is interpolated; 0 for none",
        at_least=0,
        at_most=LONGEST_BRIDGE_S,
    )
    keep_bad_windows: bool = setting(
        False, "train and test also on windows whose label a device withholds for their signal quality"
    )
    eeg_features: Literal["raw", "bandpower"] = setting(
        "raw", "EEG channels themselves, or their alpha and beta band power, which a low rate leaves of EEG"
    )
    eeg_low_hz: float = setting(0.0, "lower edge of the EEG band-pass in Hz; 0 for no band-pass", at_least=0)
    eeg_high_hz: float = setting(0.0, "upper edge of the EEG band-pass in Hz; 0 for no band-pass", at_least=0)

    def __post_init__(self) -> None:
        check_settings(self, "signal")

    def for_training(self, spec: SignalSpec) -> SignalSpec:
        """Return the same chain with the step between training windows."""
        if not self.training_hop_s:
            return spec
        return replace(spec, hop_samples=max(1, round(self.training_hop_s * spec.rate_hz)))

    def _rate(self) -> Fraction:
        try:
            return parse_rate(self.rate_hz.strip())
        except ValueError:
            raise ConfigError(f"signal.rate_hz = {self.rate_hz!r} is not a rate: write 128 or 125/2") from None

    def gsr(self) -> SignalSpec:
        """Return the specification of the GSR windows, which the model file contains."""
        try:
            normalization = Normalization(
                mode=self.normalization,  # type: ignore[arg-type]
                time_constant_s=self.time_constant_s,
                gain=self.gain,
                bound=self.bound,  # type: ignore[arg-type]
                limit=self.limit,
            )
            return gsr_spec(
                rate_hz=self._rate(),
                window_s=self.window_s,
                hop_s=self.hop_s,
                cutoff_hz=self.cutoff_hz,
                settle_s=self.settle_s,
                normalization=normalization,
                bridge_s=self.bridge_s,
            )
        except SignalError as error:
            raise ConfigError(f"[signal]: {error}") from error

    def eeg(self) -> SignalSpec:
        """Return the specification of the teacher's EEG windows, aligned with the GSR windows."""
        rate = self._rate()
        try:
            sos = bandpass_sos(rate, self.eeg_low_hz, self.eeg_high_hz) if self.eeg_low_hz or self.eeg_high_hz else ()
            return eeg_spec(
                rate_hz=rate,
                window_s=self.window_s,
                hop_s=self.hop_s,
                sos=sos,
                settle_s=self.settle_s,
                bridge_s=self.bridge_s,
            )
        except SignalError as error:
            raise ConfigError(f"[signal]: {error}") from error


@dataclass(frozen=True, slots=True)
class StageConfig:
    """One stage of training with Adam: the teacher's or the student's."""

    epochs: int = setting(30, "passes over the training subjects' windows", at_least=1)
    batch_size: int = setting(64, "windows per batch", at_least=2)
    learning_rate: float = setting(1e-4, "Adam's learning rate", above=0)
    choose_by: EpochScore = setting(
        "macro_f1", "validation score that chooses the epoch: the highest macro-F1 or the lowest loss"
    )
    patience: int = setting(0, "epochs without a better validation score that end the stage; 0 for never", at_least=0)

    def __post_init__(self) -> None:
        check_settings(self, "stage")


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """The distillation loss: e1 CE + e2 KL + e3 MSE(features); the defaults are the published e = (1, 0.1, 1), T = 1.

    Raises ConfigError for a value out of its range and if all three weights are 0.
    """

    hard: float = setting(1.0, "weight e1 of the labels' cross entropy", at_least=0)
    soft: float = setting(0.1, "weight e2 of the divergence from the teacher's probabilities", at_least=0)
    feature: float = setting(1.0, "weight e3 of the mean square difference of the features", at_least=0)
    temperature: float = setting(1.0, "softmax temperature of the divergence", above=0)
    projection: Literal["pool", "linear"] = setting(
        "pool", "teacher's feature to the student's width: mean of EEG and GSR token, or a learned layer"
    )
    label_smoothing: float = setting(0.0, "label smoothing of the cross entropy", at_least=0, below=1)
    unrated: bool = setting(False, "learn from the teacher on windows of unrated subjects as well")
    crossfit: int = setting(
        3, "teachers of the method kd-crossfit, each trained without some of the training subjects", at_least=2
    )

    def __post_init__(self) -> None:
        check_settings(self, "distill")
        if self.hard == self.soft == self.feature == 0:
            raise ConfigError("distill.hard, distill.soft and distill.feature are all 0: set one of them above 0")


@dataclass(frozen=True, slots=True)
class FeedbackConfig:
    """Adaptive feedback: the teacher is also trained on the quiz loss of a temporary student."""

    every: int = setting(1, "batches between feedback steps; 0 for plain distillation", at_least=0)
    inner_learning_rate: float = setting(0.05, "rate of the temporary student's single SGD step", above=0)
    teacher_learning_rate: float = setting(2e-5, "Adam's rate for the teacher's feedback steps", above=0)
    hard: float = setting(1.0, "weight of the teacher's own cross entropy", at_least=0)
    quiz: float = setting(1.0, "weight of the temporary student's cross entropy on the quiz", at_least=0)
    quiz_fraction: float = setting(
        0.2, "share of the training subjects that give the quiz windows; they rotate by epoch", above=0, below=1
    )
    quiz_batch_size: int = setting(0, "windows of one quiz; 0 for as many as a batch has", at_least=0)
    renewed: bool = setting(False, "distill from the teacher after its feedback step instead of before it")

    def __post_init__(self) -> None:
        check_settings(self, "feedback")
        if self.quiz_batch_size == 1:
            raise ConfigError("feedback.quiz_batch_size = 1: it must be 0 (as the batch) or at least 2")


@dataclass(frozen=True, slots=True)
class ComputeConfig:
    """Precision and compilation on a GPU; on a CPU the defaults are the fastest."""

    precision: Literal["float32", "bf16"] = setting(
        "float32", "bf16 computes matrix products in bfloat16; weights, losses and optimizer stay in float32"
    )
    compile: bool = setting(False, "torch.compile for the steps without feedback")
