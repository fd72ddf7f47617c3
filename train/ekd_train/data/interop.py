"""Conversions for other libraries: windows for TorchEEG's splitters, recordings for MNE.

Only this module of `ekd_train.data` imports torch. The extra `bridges` installs pandas and mne.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ekd_train.data.windows import Recording, WindowSet
from firmware_bridge.dependencies import require_packages

if TYPE_CHECKING:
    import mne
    import pandas as pd

__all__ = ["TorchWindows", "as_mne_raw", "as_torch_dataset"]


class TorchWindows(Dataset[tuple[Tensor, ...]]):
    """Windows as a map-style dataset: item i is (gsr, eeg, labels), or (gsr, labels) for windows without EEG.

    gsr: float32 (window_samples,). eeg: float32 (rows, window_samples). labels: int64 (n_targets,), 0 or 1.

    info: a pandas.DataFrame with one row per item. Its columns are subject_id, trial_id (a number for each trial name,
    from 0), clip_id, trial, recording, end_s, and each target's rating under the target's name. TorchEEG's splitters
    copy the dataset, write some rows of `info` to a CSV file and set `info` to them. The items of the copy are the
    windows of these rows, found by clip_id. Copies share the arrays of windows.
    """

    def __init__(self, windows: WindowSet) -> None:
        self._windows = windows
        self.info = _info(windows)

    @property
    def info(self) -> "pd.DataFrame":
        """Table of the items; the docstring of the class describes it."""
        return self._table

    @info.setter
    def info(self, table: "pd.DataFrame") -> None:
        self._table = table
        self._clips = table["clip_id"].to_numpy(dtype=np.int64)

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        clip = self._clips[index]
        windows = self._windows
        arrays = (windows.gsr, windows.eeg, windows.labels)
        # copied, since torch has no read-only tensors
        return tuple(torch.from_numpy(array[clip].copy()) for array in arrays if array is not None)


def as_torch_dataset(windows: WindowSet) -> TorchWindows:
    """Return the windows as a torch Dataset with the metadata that TorchEEG's splitters group by.

    Raises ConfigError if pandas is missing.
    """
    return TorchWindows(windows)


def _info(windows: WindowSet) -> "pd.DataFrame":
    require_packages("a torch dataset's table", "pandas")
    import pandas as pd

    columns: dict[str, Any] = {
        "subject_id": windows.subject,
        "trial_id": np.unique(windows.trial, return_inverse=True)[1],
        "clip_id": np.arange(len(windows)),
        "trial": windows.trial,
        "recording": windows.recording,
        "end_s": windows.end_s,
    }
    ratings = {target: windows.ratings[:, column] for column, target in enumerate(windows.targets)}
    return pd.DataFrame(columns | ratings)


def as_mne_raw(recording: Recording) -> "mne.io.RawArray":
    """Convert a recording to MNE: EEG in volts at the standard 10-20 positions, GSR in siemens as channel type "gsr".

    Relative GSR has no unit, so it is not scaled and gets the channel type "misc". Each trial is an annotation with
    the description "trial/NAME" and its ratings, such as "trial/t01 arousal=7 valence=3". Lost samples are interpolated
    and annotated as "BAD_lost".
    Raises ConfigError if mne is missing.
    """
    require_packages("a recording for MNE", "mne")
    import mne

    absolute = recording.gsr_unit == "uS"
    rows = [recording.gsr * 1e-6 if absolute else recording.gsr]
    names, kinds = ["GSR"], ["gsr" if absolute else "misc"]
    if recording.eeg is not None:
        rows = [*(recording.eeg * 1e-6), *rows]
        names, kinds = [*recording.channels, *names], ["eeg"] * len(recording.channels) + kinds
    info = mne.create_info(names, float(recording.rate_hz), kinds)
    info["subject_info"] = {"his_id": recording.subject}
    raw = mne.io.RawArray(_interpolated(np.stack(rows), recording.lost), info, verbose="error")
    if recording.eeg is not None:
        raw.set_montage("standard_1020", on_missing="ignore", verbose="error")
    trials = recording.trials
    marks = [
        (t.start_s, t.end_s - t.start_s, " ".join((f"trial/{t.name}", *(f"{k}={v:g}" for k, v in t.ratings.items()))))
        for t in trials
    ]
    if recording.lost is not None:
        edges = np.flatnonzero(np.diff(recording.lost, prepend=False, append=False)) / float(recording.rate_hz)
        marks += [(begin, end - begin, "BAD_lost") for begin, end in edges.reshape(-1, 2).tolist()]
    onsets, lengths, texts = zip(*marks, strict=True) if marks else ((), (), ())
    raw.set_annotations(mne.Annotations(onsets, lengths, texts), verbose="error")
    return raw


def _interpolated(rows: NDArray[np.float64], lost: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """The rows with straight lines in place of lost samples."""
    if lost is None or not lost.any() or lost.all():
        return rows
    at, known = np.arange(rows.shape[-1]), np.flatnonzero(~lost)
    return np.stack([np.interp(at, known, row[known]) for row in rows])
