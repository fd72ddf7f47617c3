"""A dataset of NumPy archives: `ekd-train --data npz:FOLDER`.

FOLDER/PERSON.npz holds
  gsr       float (n,), skin conductance in microsiemens
  rate_hz   number, samples a second
  trials    float (k, 3): start and end in seconds, and the rating of arousal from 1 to 9
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from ekd_edge.errors import DataError
from ekd_train.data.cache.fingerprint import hash_files
from ekd_train.data.windows import Recording, Trial

FORMAT_VERSION = 1
"""Raise it when this code reads the same files differently: the fingerprint contains it."""


class NpzDataset:
    """See the protocol `ekd_train.data.source.Dataset`."""

    synthetic = False
    has_eeg = False  # without EEG there is no teacher: the student learns from the labels
    targets = ("arousal",)
    notes: tuple[str, ...] = ()

    def __init__(self, argument: str) -> None:
        self._folder = Path(argument).expanduser()
        self._files = {path.stem: path for path in sorted(self._folder.glob("*.npz"))}
        if not argument or not self._files:
            raise DataError(f"npz:{argument} holds no .npz file: write npz:FOLDER with one archive for each person")
        self.subjects = tuple(self._files)
        # Same identity and same subject name mean the same person: it shows a test on people of the training.
        self.identity = f"npz:{self._folder.resolve()}"

    def read(self, subjects: Sequence[str], eeg: bool = True) -> Iterator[Recording]:
        """One recording for each person, read when it is needed."""
        for subject in subjects:
            path = self._files[subject]
            try:
                # allow_pickle=False: a pickle of unknown origin can run any code
                with np.load(path, allow_pickle=False) as archive:
                    gsr = archive["gsr"].astype(np.float64)
                    rate_hz = Fraction(float(archive["rate_hz"])).limit_denominator(10_000)
                    rows = archive["trials"].tolist()
            except (KeyError, ValueError) as error:
                raise DataError(f"{path} is not as the dataset's description says ({error}): write it again") from error
            trials = tuple(
                Trial(f"t{number:02d}", start_s, end_s, {"arousal": rating})
                for number, (start_s, end_s, rating) in enumerate(rows, start=1)
            )
            yield Recording(subject, subject, gsr, rate_hz, trials)

    def fingerprint(self) -> str:
        """Determines the cache entry: the content of every file and the version of this code."""
        return f"npz {FORMAT_VERSION} {hash_files(self._folder, self._files.values())}"
