"""Recordings, and the labeled windows that the device's `Preprocessor` cuts from them.

`ekd_train.data.convert` cuts the windows. This takes long and does not depend on the targets, so the cache stores its
`Conversion`. `choose` selects subjects and targets and turns ratings into labels.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError
from ekd_edge.model.manifest import HighRule
from ekd_train.data.cache.row_files import gather
from firmware_bridge.units import Unit

__all__ = [
    "Conversion",
    "ConvertedTrial",
    "GsrUnit",
    "LeftOut",
    "Recording",
    "Trial",
    "WindowSet",
    "choose",
]

GsrUnit = Literal["uS", "relative"]
"""Unit of a recording's GSR.

"uS" is conductance in microsiemens. "relative" is a quantity of unknown unit and offset that increases with
conductance.
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """A rated interval of a recording.

    start_s, end_s: seconds since the recording's first sample. ratings: 1..9 by target name.
    """

    name: str
    start_s: float
    end_s: float
    ratings: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Recording:
    """One continuous recording of one subject.

    gsr: float64 (n,) in gsr_unit, see `GsrUnit`. eeg: float64 (channels, n) in microvolts at the same rate, or None.
    channels: names of the EEG rows. rate_hz: true sampling rate, exact. trials: the rated intervals.
    continues: whether the recording is of the same sitting as the subject's recording before it, such as the next trial
    of an experiment: a device carries the running mean of its normalization from one to the other.
    readings, unit: the converter's readings that gsr was computed from, float64 (n,), and their unit; else None.
    lost: which samples were lost, bool (n,); None for none. Their values have no meaning; they are gaps as on a device.
    """

    name: str
    subject: str
    gsr: NDArray[np.float64]
    rate_hz: Fraction
    trials: tuple[Trial, ...]
    eeg: NDArray[np.float64] | None = None
    channels: tuple[str, ...] = ()
    gsr_unit: GsrUnit = "uS"
    continues: bool = False
    readings: NDArray[np.float64] | None = None
    unit: Unit | None = None
    lost: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class ConvertedTrial:
    """A trial whose windows were cut.

    ratings: by target name. end_s: time at which each window ends, in seconds since the recording's first sample.
    left_out: number of further windows that were left out for their signal quality.
    """

    subject: str
    recording: str
    name: str
    ratings: Mapping[str, float]
    end_s: tuple[float, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Conversion:
    """The windows of all trials of some recordings, rated or unrated, before subjects and targets are chosen.

    gsr: float32 (n, window_samples). eeg: float32 (n, rows, window_samples), or None. Either may be a np.memmap.
    trials: in the order of their windows; the windows of a trial are contiguous.
    notes: the notes that the dataset gave while it was read.
    """

    gsr: NDArray[np.float32]
    eeg: NDArray[np.float32] | None
    trials: tuple[ConvertedTrial, ...]
    window_s: float
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = sum(len(trial.end_s) for trial in self.trials)
        if len(self.gsr) != n or (self.eeg is not None and len(self.eeg) != n):
            raise ValueError(f"the trials of a Conversion have {n} windows, but its arrays have another number")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The number of windows of a trial that were left out for their signal quality."""

    subject: str
    recording: str
    trial: str
    windows: int


@dataclass(frozen=True, slots=True)
class WindowSet:
    """Labeled windows. Every array has one entry per window and is read-only.

    gsr: float32 (n, window_samples). eeg: float32 (n, rows, window_samples), or None.
    ratings: float32 (n, n_targets), 1..9.
    labels: int64 (n, n_targets), 1 where the rating is high, else 0.
    targets: names of the columns of ratings and labels.
    subject, trial, recording: str (n,).
    end_s: float64 (n,), time at which the window ends, in seconds since the recording's first sample.
    left_out: the trials of which windows were left out for their signal quality; `select` does not change it.
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
    left_out: tuple[LeftOut, ...] = ()

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
        """Return the windows that a boolean mask, indices (in their order) or a slice selects."""
        index = which if isinstance(which, slice) else np.asarray(which)
        if not isinstance(index, slice) and index.size == 0:
            index = index.astype(np.intp)
        picked = {name: getattr(self, name)[index] for name in _ARRAYS if getattr(self, name) is not None}
        return replace(self, **picked)

    def of_subjects(self, names: Iterable[str]) -> "WindowSet":
        """Return the windows of these subjects in the order of this set, as views where they are contiguous.

        Raises DataError for a subject that has no windows.
        """
        wanted = sorted(set(names))
        missing = sorted(set(wanted) - set(self.subjects))
        if missing:
            raise DataError(f"subject {missing[0]!r} has no windows: choose from {', '.join(self.subjects)}")
        index = np.flatnonzero(np.isin(self.subject, wanted))
        mine = replace(self, left_out=tuple(trial for trial in self.left_out if trial.subject in wanted))
        if len(index) and index[-1] - index[0] + 1 == len(index):
            return mine.select(slice(int(index[0]), int(index[-1]) + 1))
        return mine.select(index)


_ARRAYS = tuple(field.name for field in fields(WindowSet) if field.name not in ("targets", "left_out"))


def choose(
    conversion: Conversion,
    targets: Sequence[str],
    threshold: float = 5.0,
    high: HighRule = "above",
    subjects: Iterable[str] | None = None,
    notify: Callable[[str], None] | None = None,
) -> WindowSet:
    """Select subjects and targets, and label the windows of the trials that have a rating of every target.

    Args:
        conversion: the windows.
        targets: names of the ratings to label.
        threshold: the rating above which a label is 1.
        high: whether a rating at the threshold counts as high.
        subjects: the subjects to select, by default all.
        notify: called with a sentence for trials without a rating of every target and trials shorter than a window.

    Returns:
        The labeled windows. Their arrays are views of the conversion's where the selected windows are contiguous,
        else copies.
    """
    wanted = None if subjects is None else set(subjects)
    mine = [wanted is None or trial.subject in wanted for trial in conversion.trials]
    rated = [all(target in trial.ratings for target in targets) for trial in conversion.trials]
    if notify is not None:
        _notify_omissions(conversion, mine, rated, targets, notify)
    trials: list[ConvertedTrial] = []
    left_out: list[LeftOut] = []
    spans: list[tuple[int, int]] = []
    end = 0
    for trial, is_mine, is_rated in zip(conversion.trials, mine, rated, strict=True):
        begin, end = end, end + len(trial.end_s)
        if not (is_mine and is_rated):
            continue
        if trial.left_out:
            left_out.append(LeftOut(trial.subject, trial.recording, trial.name, trial.left_out))
        if not trial.end_s:
            continue
        trials.append(trial)
        if spans and spans[-1][1] == begin:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((begin, end))
    counts = [len(trial.end_s) for trial in trials]
    ratings = np.array([[trial.ratings[t] for t in targets] for trial in trials], dtype=np.float32)
    ratings = np.repeat(ratings.reshape(len(trials), len(targets)), counts, axis=0)

    def named(names: Iterable[str]) -> NDArray[np.str_]:
        return np.repeat(np.array(list(names), dtype=np.str_), counts)

    return WindowSet(
        gsr=gather(conversion.gsr, spans),
        eeg=None if conversion.eeg is None else gather(conversion.eeg, spans),
        ratings=ratings,
        labels=(ratings > threshold if high == "above" else ratings >= threshold).astype(np.int64),
        targets=tuple(targets),
        subject=named(trial.subject for trial in trials),
        trial=named(trial.name for trial in trials),
        recording=named(trial.recording for trial in trials),
        end_s=np.array([end_s for trial in trials for end_s in trial.end_s], dtype=np.float64),
        left_out=tuple(left_out),
    )


def _notify_omissions(
    conversion: Conversion,
    mine: Sequence[bool],
    rated: Sequence[bool],
    targets: Sequence[str],
    notify: Callable[[str], None],
) -> None:
    unrated: dict[str, int] = {}
    for trial, is_mine, is_rated in zip(conversion.trials, mine, rated, strict=True):
        if is_mine and not is_rated:
            unrated[trial.recording] = unrated.get(trial.recording, 0) + 1
        elif is_mine and not trial.end_s and not trial.left_out:
            notify(f"trial {trial.name} of {trial.recording} is shorter than a window of {conversion.window_s:g} s")
    for recording, count in unrated.items():
        notify(f"{count} trials of {recording} have no rating of {', '.join(targets)}")
