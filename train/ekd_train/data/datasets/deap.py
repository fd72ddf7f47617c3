"""DEAP, `deap:PATH`: the preprocessed Python files s01.dat to s32.dat, from your own licensed copy.

A file is a subject: a pickle (read by `unpickle`, which runs nothing) of `data`, 40 trials x 40 channels x 8064 samples
at 128 Hz, and `labels`, 40 x valence, arousal, dominance and liking, 1..9. Trial k is of the same video for everyone.
Koelstra et al. 2012, IEEE Trans. Affective Computing 3(1); the layout is that of the dataset's description page.

A trial is a recording of its own: 63 s, of which the video, rated, is the last 60. The 3 s before it let the causal
chain settle. EEG (rows 0..31, uV) comes band-passed to 4-45 Hz and average-referenced; row 36 is GSR.

Options, as in `deap:PATH?gsr=relative&channels=32`:
  gsr       auto (default), ohm or relative. The files give resistance in Ohm, from which some subjects' baseline was
            subtracted: negative values have no inverse. `ohm` inverts to uS and refuses values that are
            not resistances; `relative` only changes the sign; `auto` inverts if every subject's values are resistances,
            else takes all as relative, so that no two subjects are in different units.
  baseline  keep (default), or subtract: the mean of the 3 s before the video off EEG and relative GSR.
  channels  28 (default) or 32, see `montage`.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError
from ekd_train.data.cache.fingerprint import hash_files
from ekd_train.data.datasets.montage import CHANNELS, EEG_32, conductance_us, is_resistance
from ekd_train.data.safe_pickle.reader import read_arrays
from ekd_train.data.windows import GsrUnit, Recording, Trial

__all__ = ["DEAP_OPTIONS", "DeapDataset"]

DEAP_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "gsr": ("auto", "ohm", "relative"),
    "baseline": ("keep", "subtract"),
    "channels": ("28", "32"),
}
"""Options of `DeapDataset` and their values."""

_FOLDER = "data_preprocessed_python"
_TARGETS: Final = ("valence", "arousal", "dominance", "liking")
_SUBJECTS: Final = tuple(f"s{number:02d}" for number in range(1, 33))
_TRIALS, _CHANNELS, _SAMPLES = 40, 40, 8064
_GSR = 36
_RATE_HZ = 128
_BASELINE = 3 * _RATE_HZ


class DeapDataset:
    """The dataset behind `deap:PATH`, where PATH is the folder data_preprocessed_python or the one above it.

    Files, shapes and labels are checked at once, and GSR unless it is taken as relative; EEG when read.
    Every fault is a DataError that names the file.

    settings: the options that change the recordings, such as "baseline=keep&channels=28&gsr=uS".
    files: the files of each subject.
    """

    identity = "deap"
    synthetic = False
    has_eeg = True
    targets: tuple[str, ...] = _TARGETS

    def __init__(self, folder: Path, gsr: str = "auto", baseline: str = "keep", channels: str = "28") -> None:
        self._channels = CHANNELS[channels]
        self._baseline = baseline
        if (folder / _FOLDER).is_dir():
            folder = folder / _FOLDER
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}: give the one that holds DEAP's s01.dat to s32.dat")
        found = {name: folder / f"{name}.dat" for name in _SUBJECTS if (folder / f"{name}.dat").is_file()}
        if not found:
            raise DataError(f"{folder} holds none of s01.dat to s32.dat: give DEAP's folder {_FOLDER}")
        self._folder = folder
        self.files: Mapping[str, tuple[Path, ...]] = {name: (path,) for name, path in found.items()}
        self.subjects: tuple[str, ...] = tuple(found)
        notes = []
        if absent := [name for name in _SUBJECTS if name not in found]:
            notes.append(f"{len(absent)} of {len(_SUBJECTS)} subjects of DEAP have no file: {', '.join(absent)}")
        self._unit: GsrUnit = "uS"
        doubtful = [name for name, path in found.items() if not self._checked(path, gsr)]
        if doubtful:
            self._unit = "relative"
            who = "all" if len(doubtful) == len(found) else ", ".join(doubtful)
            notes.append(
                f"GSR of {len(doubtful)} of {len(found)} subjects is relative to a baseline, not a resistance ({who}): "
                "that of all is taken as relative, which needs signal.normalization=ema-zscore (as in preset deap)"
            )
        elif gsr == "relative":
            self._unit = "relative"
        self.notes: tuple[str, ...] = tuple(notes)
        self.settings: str = f"baseline={baseline}&channels={channels}&gsr={self._unit}"

    @staticmethod
    def _checked(path: Path, gsr: str) -> bool:
        """Whether a file's GSR can be converted to conductance, where the option asks for that."""
        data, _ = _subject(path)
        if gsr == "relative":
            return True
        values = _finite(data[:, _GSR], f"GSR of {path}")
        usable = is_resistance(values)
        if gsr == "ohm" and not usable:
            raise DataError(
                f"gsr=ohm, but GSR of {path} goes from {values.min():g} to {values.max():g}, which is not a resistance "
                "of skin in Ohm: use gsr=auto"
            )
        return usable

    def fingerprint(self) -> str:
        """Of the settings and of every file's content. Raises DataError for a file that cannot be read."""
        return f"deap {self.settings} {hash_files(self._folder, [path for (path,) in self.files.values()])}"

    def read(self, subjects: Sequence[str], eeg: bool = True) -> Iterator[Recording]:
        """The 40 recordings of each of these subjects, one a trial.

        Raises DataError for an unknown subject and for values that are not finite numbers.
        """
        for subject in subjects:
            if subject not in self.files:
                raise DataError(f"there is no subject {subject!r}: known are {', '.join(self.subjects)}")
            (path,) = self.files[subject]
            data, labels = _subject(path)
            for number, (trial, ratings) in enumerate(zip(data, labels.tolist(), strict=True), start=1):
                name = f"t{number:02d}"
                yield Recording(
                    name=f"{subject}-{name}",
                    subject=subject,
                    gsr=self._gsr(_finite(trial[_GSR], f"GSR of trial {number} in {path}")),
                    rate_hz=Fraction(_RATE_HZ),
                    trials=(
                        Trial(
                            name=name,
                            start_s=_BASELINE / _RATE_HZ,
                            end_s=_SAMPLES / _RATE_HZ,
                            ratings=dict(zip(_TARGETS, ratings, strict=True)),
                        ),
                    ),
                    eeg=self._eeg(trial, f"EEG of trial {number} in {path}") if eeg else None,
                    channels=self._channels if eeg else (),
                    gsr_unit=self._unit,
                )

    def _gsr(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._unit == "uS":
            return conductance_us(values)
        return -self._less_baseline(values)

    def _eeg(self, trial: NDArray[Any], what: str) -> NDArray[np.float64]:
        rows = [EEG_32.index(name) for name in self._channels]
        return self._less_baseline(_finite(trial[rows], what))

    def _less_baseline(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._baseline == "keep":
            return values
        means: NDArray[np.float64] = values[..., :_BASELINE].mean(axis=-1, keepdims=True)
        return values - means


def _subject(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """data and labels of a file; data is still in the file."""
    arrays = read_arrays(path)
    for name, shape in (("data", (_TRIALS, _CHANNELS, _SAMPLES)), ("labels", (_TRIALS, len(_TARGETS)))):
        if name not in arrays:
            raise DataError(f"{path} has no {name}: it is not a file of DEAP's {_FOLDER}")
        if arrays[name].shape != shape:
            raise DataError(f"{name} of {path} has the shape {arrays[name].shape}, not {shape} as in DEAP: replace it")
    labels = arrays["labels"].astype(np.float64)
    wrong = np.argwhere(~((labels >= 1) & (labels <= 9)))
    if len(wrong):
        trial, column = wrong[0].tolist()
        raise DataError(
            f"{_TARGETS[column]} of trial {trial + 1} in {path} is {labels[trial, column]:g}, "
            "but ratings go from 1 to 9: replace the file"
        )
    return arrays["data"], labels


def _finite(values: NDArray[Any], what: str) -> NDArray[np.float64]:
    copied = np.array(values, dtype=np.float64)
    if not np.isfinite(copied).all():
        raise DataError(f"{what} has values that are not finite numbers: replace the file")
    return copied
