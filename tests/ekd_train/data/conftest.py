from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ekd_train.data.recordings import write_recording
from ekd_train.data.synthetic import SyntheticConfig, synthesize
from ekd_train.data.windows import Recording, Trial

SMALL = SyntheticConfig(subjects=3, trials=4, trial_s=12.0, eeg_channels=2)


@pytest.fixture(scope="session")
def small_sessions() -> list[Recording]:
    return [synthesize(SMALL, k) for k in range(SMALL.subjects)]


@pytest.fixture
def folder(tmp_path: Path, small_sessions: list[Recording]) -> Path:
    """Three subjects with EEG, as write_recording leaves them."""
    for session in small_sessions:
        write_recording(tmp_path / "data" / f"{session.name}.csv", session)
    return tmp_path / "data"


@pytest.fixture
def lines_folder(tmp_path: Path) -> Callable[..., Path]:
    """A folder of one recording `a` from its text, and labels.csv with the given rows."""

    def make(
        recording: str,
        rows: str = "a,p1,t1,0,4,3\na,p1,t2,4,8,7\n",
        header: str = "recording,subject,trial,start_s,end_s,arousal",
    ) -> Path:
        (tmp_path / "a.csv").write_text(recording)
        (tmp_path / "labels.csv").write_text(f"{header}\n{rows}")
        return tmp_path

    return make


@pytest.fixture
def flat() -> Callable[..., Recording]:
    """A recording of 5 uS at 16 Hz, with trials given as (start, end, arousal)."""

    def make(seconds: float, *trials: tuple[float, float, float]) -> Recording:
        n = int(seconds * 16)
        recording = Recording("flat", "p", np.linspace(5.0, 6.0, n), Fraction(16), ())
        named = (Trial(f"t{k}", a, b, {"arousal": r}) for k, (a, b, r) in enumerate(trials))
        return replace(recording, trials=tuple(named))

    return make
