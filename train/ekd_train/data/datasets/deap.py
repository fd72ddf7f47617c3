"""DEAP, `deap:PATH`: the preprocessed Python files s01.dat to s32.dat, from your own licensed copy.

Each file has the data of one subject as a pickle, which `safe_pickle` parses and does not execute: `data`, 40 trials x
40 channels x 8064 samples at 128 Hz, and `labels`, 40 x valence, arousal, dominance and liking, 1..9. Trial k has the
same video for all subjects. Source: Koelstra et al. 2012, IEEE Trans. Affective Computing 3(1), and the dataset's
description page.

Each trial becomes a recording of 63 s. The rated video is the last 60 s; the 3 s before it let the causal signal chain
settle. EEG (rows 0..31, uV) is already band-passed to 4-45 Hz and average-referenced. Row 36 is GSR.

A subject's recordings continue each other, so the running mean of the normalization is carried through them. They are
in order of presentation if participant_ratings.csv is in PATH or its parent (`deap_order`), else in the order of the
file, which is that of the videos.

Options, as in `deap:PATH?gsr=relative&channels=32`:
  gsr       auto (default), ohm or relative. The files give resistance in Ohm. For some subjects a baseline was
            subtracted, so values are negative and cannot be inverted to conductance. `ohm` inverts to uS and raises an
            error for values that are not resistances. `relative` changes the sign. `auto` inverts if the values of
            every subject are resistances, else it treats all subjects as relative, so that all have the same unit.
  baseline  keep (default), or subtract the mean of the 3 s before the video from EEG and relative GSR.
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
from ekd_train.data.datasets.deap_order import find_ratings_file, read_order
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
    """The dataset `deap:PATH`, where PATH is the folder data_preprocessed_python or its parent.

    The constructor checks files, shapes, labels and, unless gsr is "relative", the values of GSR. `read` checks EEG.
    Both raise DataError, naming the file.

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
            raise DataError(f"there is no folder {folder}: name the folder that contains DEAP's s01.dat to s32.dat")
        found = {name: folder / f"{name}.dat" for name in _SUBJECTS if (folder / f"{name}.dat").is_file()}
        if not found:
            raise DataError(f"{folder} contains none of s01.dat to s32.dat: name DEAP's folder {_FOLDER}")
        self._folder = folder
        self.files: Mapping[str, tuple[Path, ...]] = {name: (path,) for name, path in found.items()}
        self.subjects: tuple[str, ...] = tuple(found)
        notes = []
        if absent := [name for name in _SUBJECTS if name not in found]:
            notes.append(f"{len(absent)} of {len(_SUBJECTS)} subjects of DEAP have no file: {', '.join(absent)}")
        self._unit: GsrUnit = "uS"
        relative = [name for name, path in found.items() if not self._convertible(path, gsr)]
        if relative:
            self._unit = "relative"
            names = "all" if len(relative) == len(found) else ", ".join(relative)
            notes.append(
                f"GSR of {len(relative)} of {len(found)} subjects is relative to a baseline, not a resistance "
                f"({names}), so GSR of all subjects is treated as relative: set signal.normalization=ema-zscore (as in "
                "preset deap)"
            )
        elif gsr == "relative":
            self._unit = "relative"
        ratings_file = find_ratings_file(folder)
        self._order = {} if ratings_file is None else read_order(ratings_file, _TRIALS)
        if ratings_file is not None and (missing := [name for name in found if name not in self._order]):
            raise DataError(f"{ratings_file} has no rows of {missing[0]}: copy it again or remove it")
        self.notes: tuple[str, ...] = tuple(notes)
        self.settings: str = f"baseline={baseline}&channels={channels}&gsr={self._unit}"

    @staticmethod
    def _convertible(path: Path, gsr: str) -> bool:
        """Check a file, and return whether its GSR can be converted as the option `gsr` says."""
        data, _ = _subject(path)
        if gsr == "relative":
            return True
        values = _finite(data[:, _GSR], f"GSR of {path}")
        usable = is_resistance(values)
        if gsr == "ohm" and not usable:
            raise DataError(
                f"gsr=ohm, but GSR of {path} is {values.min():g} to {values.max():g}, which is not a skin resistance "
                "in Ohm: use gsr=auto"
            )
        return usable

    def fingerprint(self) -> str:
        """Return a digest of the settings and every file's content. Raises DataError for a file that cannot be read."""
        order = sorted(self._order.items()) or "file"
        return f"deap {self.settings} {order} {hash_files(self._folder, [path for (path,) in self.files.values()])}"

    def read(self, subjects: Sequence[str], eeg: bool = True) -> Iterator[Recording]:
        """Yield the 40 recordings of each of these subjects, one per trial, in the order that the module describes.

        Raises DataError for an unknown subject and for values that are not finite numbers.
        """
        for subject in subjects:
            if subject not in self.files:
                raise DataError(f"there is no subject {subject!r}: known are {', '.join(self.subjects)}")
            (path,) = self.files[subject]
            data, labels = _subject(path)
            order = self._order.get(subject, range(1, _TRIALS + 1))
            for position, number in enumerate(order):
                trial, ratings = data[number - 1], labels[number - 1].tolist()
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
                    continues=position > 0,
                )

    def _gsr(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._unit == "uS":
            return conductance_us(values)
        return -self._baseline_corrected(values)

    def _eeg(self, trial: NDArray[Any], what: str) -> NDArray[np.float64]:
        rows = [EEG_32.index(name) for name in self._channels]
        return self._baseline_corrected(_finite(trial[rows], what))

    def _baseline_corrected(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._baseline == "keep":
            return values
        means: NDArray[np.float64] = values[..., :_BASELINE].mean(axis=-1, keepdims=True)
        return values - means


def _subject(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return `data`, mapped from the file, and `labels`. Raises DataError if the file is not as in DEAP."""
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
