"""Recordings, and the labeled windows that the edge's own Preprocessor cuts from them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError, SignalError
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.preprocessor import Preprocessor, WindowBatch
from ekd_edge.signal.spec import SignalSpec
from ekd_train.data.eeg import EegFeatures, band_power, band_power_spec

__all__ = ["GsrUnit", "Recording", "Trial", "WindowSet", "concatenate", "cut_windows"]

_EDGE_S = 1e-6


GsrUnit = Literal["uS", "relative"]
"""Unit of a recording's GSR: "uS" for conductance in microsiemens; "relative" where only its changes are known, in
a unit and from an origin of their own, growing with conductance."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A rated stretch of a recording: seconds since its first sample, ratings 1..9 by target name."""

    name: str
    start_s: float
    end_s: float
    ratings: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Recording:
    """One continuous recording of one subject.

    gsr: float64 (n,) in gsr_unit, see `GsrUnit`. eeg: float64 (channels, n) in microvolts at the same rate, or None.
    channels: names of the EEG rows. rate_hz: true sampling rate, exact. trials: the rated stretches.
    """

    name: str
    subject: str
    gsr: NDArray[np.float64]
    rate_hz: Fraction
    trials: tuple[Trial, ...]
    eeg: NDArray[np.float64] | None = None
    channels: tuple[str, ...] = ()
    gsr_unit: GsrUnit = "uS"


@dataclass(frozen=True, slots=True)
class WindowSet:
    """Labeled windows; all arrays have one entry a window and are read-only.

    gsr: float32 (n, window_samples). eeg: float32 (n, rows, window_samples), or None.
    ratings: float32 (n, n_targets), 1..9.
    labels: int64 (n, n_targets), 1 where the rating exceeds the threshold, else 0.
    targets: names of the columns of ratings and labels.
    subject, trial, recording: str (n,).
    end_s: float64 (n,), where the window ends in its recording, in seconds.
    """

    gsr: NDArray[np.float32]
    eeg: NDArray[np.float32] | None
    ratings: NDArray[np.float32]
    labels: NDArray[np.int64]
    targets: tuple[str, ...]
    subject: NDArray[np.str_]
    trial: NDArray[np.str_]
    recording: NDArray[np.str_]
    end_s: NDArray[np.float64]

    def __post_init__(self) -> None:
        n = len(self.gsr)
        for name in _ARRAYS:
            array = getattr(self, name)
            if array is None:
                continue
            if len(array) != n:
                raise ValueError(f"WindowSet.{name} has {len(array)} entries for {n} windows")
            array.flags.writeable = False
        if self.ratings.shape != (n, len(self.targets)) or self.labels.shape != self.ratings.shape:
            raise ValueError("WindowSet needs one rating and one label per window and target")

    def __len__(self) -> int:
        return len(self.gsr)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The subjects present, sorted."""
        return tuple(str(name) for name in np.unique(self.subject))

    def select(self, which: NDArray[Any] | Sequence[int] | slice) -> "WindowSet":
        """The windows of a boolean mask, of indices (in their order) or of a slice."""
        index = which if isinstance(which, slice) else np.asarray(which)
        if not isinstance(index, slice) and index.size == 0:
            index = index.astype(np.intp)
        picked = {name: getattr(self, name)[index] for name in _ARRAYS if getattr(self, name) is not None}
        return replace(self, **picked)

    def of_subjects(self, names: Iterable[str]) -> "WindowSet":
        """The windows of these subjects, in their order here.

        Raises DataError for a subject without any window.
        """
        wanted = sorted(set(names))
        missing = sorted(set(wanted) - set(self.subjects))
        if missing:
            raise DataError(f"no window of subject {missing[0]!r}: known are {', '.join(self.subjects)}")
        return self.select(np.isin(self.subject, wanted))


_ARRAYS = tuple(field.name for field in fields(WindowSet) if field.name != "targets")


def concatenate(parts: Sequence[WindowSet]) -> WindowSet:
    """One WindowSet of several with the same targets and rows, in order; at least one is needed."""
    first = parts[0]
    if any(part.targets != first.targets for part in parts):
        raise ValueError("cannot join windows with different targets")
    joined: dict[str, Any] = {
        name: None if getattr(first, name) is None else np.concatenate([getattr(p, name) for p in parts])
        for name in _ARRAYS
    }
    return WindowSet(targets=first.targets, **joined)


def cut_windows(
    recording: Recording,
    gsr_spec: SignalSpec,
    eeg_spec: SignalSpec | None,
    targets: Sequence[str],
    threshold: float = 5.0,
    eeg_features: EegFeatures = "raw",
    notice: Callable[[str], None] | None = None,
) -> WindowSet:
    """The windows of one recording that lie wholly inside a rated trial, in order of time.

    The whole recording goes through `Preprocessor.push` in one block, exactly as the edge does it in pieces.
    Trials that lack one of the targets, and trials that hold no window, are told to `notice`.
    Raises DataError where the recording does not fit: no EEG though eeg_spec is given, NaN, unequal specs, relative
    GSR for a normalization that needs its level.
    """
    mode = gsr_spec.normalization.mode
    if recording.gsr_unit == "relative" and mode != "ema-zscore":
        raise DataError(
            f"recording {recording.name} knows only changes of skin conductance, not its level, so {mode} "
            "normalization means nothing: set signal.normalization=ema-zscore"
        )
    if eeg_spec is not None and _timing(eeg_spec) != _timing(gsr_spec):
        raise DataError("GSR and EEG windows need the same rate, window, hop and settle time")
    kept: list[int] = []
    trials: list[Trial] = []
    windows = _push(recording, recording.gsr, gsr_spec)
    rated = [trial for trial in recording.trials if all(target in trial.ratings for target in targets)]
    for trial in rated:
        begins, ends = windows.end_s - gsr_spec.window_s, windows.end_s
        inside = np.flatnonzero((begins >= trial.start_s - _EDGE_S) & (ends <= trial.end_s + _EDGE_S))
        kept += inside.tolist()
        trials += [trial] * len(inside)
        if len(inside) == 0 and notice:
            notice(f"trial {trial.name} of {recording.name} holds no whole window of {gsr_spec.window_s:g} s")
    if len(rated) < len(recording.trials) and notice:
        lost = len(recording.trials) - len(rated)
        notice(f"{lost} trials of {recording.name} have no rating of {', '.join(targets)}")
    eeg = None
    if eeg_spec is not None:
        eeg_windows = _eeg_windows(recording, eeg_spec, eeg_features)
        if not np.array_equal(eeg_windows.end_s, windows.end_s):
            raise AssertionError(f"GSR and EEG windows of {recording.name} are not of the same instants")
        eeg = eeg_windows.values[kept]
    ratings = np.array([[trial.ratings[t] for t in targets] for trial in trials], dtype=np.float32)
    ratings = ratings.reshape(len(kept), len(targets))
    return WindowSet(
        gsr=windows.values[kept],
        eeg=eeg,
        ratings=ratings,
        labels=(ratings > threshold).astype(np.int64),
        targets=tuple(targets),
        subject=np.full(len(kept), recording.subject),
        trial=np.array([trial.name for trial in trials], dtype=np.str_),
        recording=np.full(len(kept), recording.name),
        end_s=windows.end_s[kept],
    )


def _timing(spec: SignalSpec) -> tuple[Fraction, int, int, float]:
    return spec.rate_hz, spec.window_samples, spec.hop_samples, spec.settle_s


def _push(recording: Recording, values: NDArray[np.float64], spec: SignalSpec) -> WindowBatch:
    try:
        return Preprocessor(spec).push_batch(SampleBlock(values, 0, recording.rate_hz))
    except SignalError as error:
        raise DataError(f"recording {recording.name}: {error}") from error


def _eeg_windows(recording: Recording, spec: SignalSpec, features: EegFeatures) -> WindowBatch:
    if recording.eeg is None:
        raise DataError(
            f"recording {recording.name} has no EEG: add columns named eeg_NAME, or train without a teacher"
        )
    if features == "raw":
        return _push(recording, recording.eeg, spec)
    power = band_power(recording.eeg, recording.rate_hz)
    return _push(recording, power, band_power_spec(spec))
