from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ekd_train.data.datasets.recordings import write_recording
from ekd_train.data.datasets.synthetic import SyntheticConfig, synthesize
from ekd_train.data.windows import Recording, Trial

SMALL = SyntheticConfig(subjects=3, trials=4, trial_s=12.0, eeg_channels=2)


@pytest.fixture(scope="session")
def small_sessions() -> list[Recording]:
    return [synthesize(SMALL, k) for k in range(SMALL.subjects)]


@pytest.fixture
def folder(tmp_path: Path, small_sessions: list[Recording]) -> Path:
    """A folder with recordings of three subjects with EEG, written by write_recording."""
    for session in small_sessions:
        write_recording(tmp_path / "data" / f"{session.name}.csv", session)
    return tmp_path / "data"


@pytest.fixture
def lines_folder(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder with the recording `a` of the given text and labels.csv with the given rows."""

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


@pytest.fixture(scope="session")
def write_python2_pickle() -> Callable[..., None]:
    """Write a dict of float64 arrays in the format of Python 2's cPickle with protocol 2.

    Text and the bytes of an array are both `str` in Python 2, with the instructions SHORT_BINSTRING (U) and BINSTRING
    (T). Python 3 does not write them, and decodes them as ASCII unless encoding="latin1" is given. Rows of zeros become
    holes in the file.
    """
    array_names = b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03"

    def write(path: Path, **arrays: NDArray[np.float64]) -> None:
        with path.open("wb") as out:
            out.write(b"\x80\x02}q\x01(")
            for number, (name, array) in enumerate(arrays.items()):
                first = number == 0
                out.write(b"U" + bytes([len(name)]) + name.encode() + b"q" + bytes([20 + number]))
                out.write(array_names if first else b"h\x02h\x03")
                out.write(b"K\x00\x85U\x01b\x87Rq" + bytes([40 + number]) + b"(K\x01")
                sizes = b"".join(b"K" + bytes([n]) if n < 256 else b"M" + n.to_bytes(2, "little") for n in array.shape)
                out.write(b"(" + sizes + b"t")
                if first:
                    out.write(b"cnumpy\ndtype\nq\x04U\x02f8K\x00K\x01\x87Rq\x05")
                    out.write(b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")
                else:
                    out.write(b"h\x05")
                out.write(b"\x89T" + array.nbytes.to_bytes(4, "little"))
                for row in array.reshape(-1, array.shape[-1]):
                    if row.any():
                        out.write(row.astype("<f8").tobytes())
                    else:
                        out.seek(row.nbytes, 1)
                out.write(b"tb")
            out.write(b"u.")

    return write
