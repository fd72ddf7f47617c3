"""HCI-Tagging (MAHNOB), `hci:PATH`: the emotion sessions with EEG, from your own licensed copy.

Sessions/N/session.xml                    subject, stimulus and ratings (`session_xml`)
Sessions/N/Part_X_S_TrialY_emotion.bdf    32 EEG channels in uV, GSR1 in Ohm, Status, at 256 or 512 Hz

Source: Soleymani et al. 2012, IEEE Trans. Affective Computing 3(1), and the database's manual. A session becomes a
recording of 30 s, the stimulus, and 30 s. The stimulus is its only trial. The trial has the name of the media file,
which is the same for all subjects. The first two events of Status are its start and end. The low 16 bits of Status are
the trigger lines, the others the amplifier's state.

BioSemi records against CMS and DRL, so this module references EEG to the average of the 32 electrodes. Preset hci
band-passes it (`signal.eeg_low_hz`, `signal.eeg_high_hz`). GSR is converted to conductance in uS.

Option, as in `hci:PATH?channels=32`: 28 (default) or 32 channels, see `montage`.
"""

import hashlib
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError
from ekd_train.data.cache.fingerprint import hash_files
from ekd_train.data.datasets.montage import CHANNELS, EEG_32, conductance_us, is_resistance
from ekd_train.data.datasets.session_xml import FELT, read_session
from ekd_train.data.windows import Recording, Trial
from firmware_bridge.dependencies import require_packages

if TYPE_CHECKING:
    from edfio import BdfSignal

__all__ = ["HCI_OPTIONS", "HciTaggingDataset"]

HCI_OPTIONS: Mapping[str, tuple[str, ...]] = {"channels": ("28", "32")}
"""Options of `HciTaggingDataset` and their values."""

_GSR, _STATUS = "GSR1", "Status"
_TRIGGERS = 0xFFFF
_MAGIC = b"\xffBIOSEMI"
_NUMBERED = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class _Session:
    name: str
    subject: str
    media: str
    bdf: Path
    ratings: Mapping[str, float]


class HciTaggingDataset:
    """The dataset `hci:PATH`, where PATH is the folder Sessions or its parent.

    The constructor reads all session.xml files; `read` reads the BDF files of a subject one by one. Sessions that
    cannot be used are left out and counted in `notes`; those found by `read` are added after each subject.
    Raises DataError for a damaged file, naming it, and ConfigError for a missing optional package.

    settings: the options that change the recordings. files: the files of each subject.
    """

    identity = "hci-tagging"
    synthetic = False
    has_eeg = True
    targets: tuple[str, ...] = tuple(FELT)

    def __init__(self, folder: Path, channels: str = "28") -> None:
        require_packages("reading HCI-Tagging", "defusedxml", "edfio")
        self._channels = CHANNELS[channels]
        self.settings: str = f"channels={channels}"
        if (folder / "Sessions").is_dir():
            folder = folder / "Sessions"
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}: name the folder that contains HCI-Tagging's Sessions")
        numbered = [path for path in folder.iterdir() if path.is_dir() and _NUMBERED.fullmatch(path.name)]
        if not numbered:
            raise DataError(
                f"{folder} contains no sessions: name HCI-Tagging's folder Sessions, which has one folder per session"
            )
        self._folder = folder
        left_out: dict[str, list[str]] = defaultdict(list)
        sessions: dict[str, list[_Session]] = defaultdict(list)
        for path in sorted(numbered, key=lambda path: int(path.name)):
            session = _session(path)
            if isinstance(session, str):
                left_out[session].append(path.name)
            else:
                sessions[session.subject].append(session)
        self._notes = [_note(reason, names, f"{len(numbered)} sessions") for reason, names in left_out.items()]
        if not sessions:
            raise DataError(f"{folder} contains no usable session ({'; '.join(self._notes)}): copy the dataset again")
        self._sessions = {subject: sessions[subject] for subject in sorted(sessions)}
        self.subjects: tuple[str, ...] = tuple(self._sessions)
        self.files: Mapping[str, tuple[Path, ...]] = {
            subject: tuple(file for own in of_subject for file in (own.bdf.with_name("session.xml"), own.bdf))
            for subject, of_subject in self._sessions.items()
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """The sessions left out so far, counted by reason."""
        return tuple(self._notes)

    def fingerprint(self) -> str:
        """Return a digest of the settings, the sessions as read, and the current content of every file.

        Raises DataError for a file that cannot be read.
        """
        sessions = [session for of_subject in self._sessions.values() for session in of_subject]
        known = [(one.name, one.subject, one.media, sorted(one.ratings.items())) for one in sessions]
        content = hash_files(self._folder, [path for files in self.files.values() for path in files])
        return f"hci {self.settings} {content} {hashlib.sha256(repr(known).encode()).hexdigest()}"

    def read(self, subjects: Sequence[str], eeg: bool = True) -> Iterator[Recording]:
        """Yield one recording per session, in the order of their numbers, which is that of the experiment.

        Raises DataError for an unknown subject and at the first damaged BDF file.
        """
        for subject in subjects:
            if subject not in self._sessions:
                raise DataError(f"there is no subject {subject!r}: known are {', '.join(self.subjects)}")
            left_out: dict[str, list[str]] = defaultdict(list)
            continues = False
            for session in self._sessions[subject]:
                recording = _recording(session, self._channels if eeg else ())
                if isinstance(recording, str):
                    left_out[recording].append(session.name)
                else:
                    yield replace(recording, continues=continues)
                    continues = True
            total = f"{len(self._sessions[subject])} sessions of {subject}"
            fresh = [_note(reason, names, total) for reason, names in left_out.items()]
            self._notes += [note for note in fresh if note not in self._notes]


def _note(reason: str, names: Sequence[str], total: str) -> str:
    few = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{len(names)} of {total} left out: {reason} ({few})"


def _session(folder: Path) -> _Session | str:
    """Return the session, or the reason why it cannot be used. The BDF file is not read."""
    if not (folder / "session.xml").is_file():
        return "no session.xml"
    session = read_session(folder / "session.xml")
    if not session.stimulus:
        return "no stimulus shown"
    if session.ratings is None:
        return "a rating is not within 1 to 9"
    if not session.ratings:
        return "not rated"
    recorded = sorted(folder.glob("*_emotion.bdf"))
    if not recorded:
        return "no BDF file"
    if len(recorded) > 1:
        raise DataError(f"{folder} has {len(recorded)} BDF files: remove all but the session's own")
    return _Session(folder.name, session.subject, session.media, recorded[0], session.ratings)


def _recording(session: _Session, channels: Sequence[str]) -> Recording | str:
    """Return the session's recording, or the reason why it cannot be used."""
    signals = _signals(session.bdf)
    names = [*EEG_32, _GSR, _STATUS]  # EEG is required even if not read: teacher and student use the same sessions
    if any(name not in signals for name in names):
        return "channels are missing"
    rates = {Fraction(signals[name].sampling_frequency).limit_denominator(10_000) for name in names}
    if len(rates) > 1:
        return "channels have different rates"
    (rate_hz,) = rates
    events = _events(signals[_STATUS].digital)
    if len(events) < 2:
        return "Status has fewer than two events"
    resistance = signals[_GSR].data
    if not is_resistance(resistance):
        return f"{_GSR} is not a skin resistance in Ohm"
    start, end = events[:2].tolist()
    return Recording(
        name=f"{session.subject}-{session.name}",
        subject=session.subject,
        gsr=conductance_us(resistance),
        rate_hz=rate_hz,
        trials=(
            Trial(
                name=session.media or session.name,
                start_s=float(start / rate_hz),
                end_s=float(end / rate_hz),
                ratings=session.ratings,
            ),
        ),
        eeg=_average_referenced(session.bdf, signals, channels) if channels else None,
        channels=tuple(channels),
    )


def _signals(path: Path) -> dict[str, "BdfSignal"]:
    from edfio import read_bdf

    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise DataError(f"{path} is not a BDF file: copy it again or remove its folder")
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # edfio warns about a truncated file and accepts it
            return {signal.label: signal for signal in read_bdf(path, header_encoding="latin-1").signals}
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): copy it again or remove its folder") from error
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, UserWarning) as error:
        raise DataError(f"{path} is damaged ({error}): copy it again or remove its folder") from error


def _events(status: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return the samples at which the trigger lines change to a nonzero value."""
    code = status & _TRIGGERS
    return np.flatnonzero((code[1:] != code[:-1]) & (code[1:] != 0)) + 1


def _average_referenced(path: Path, signals: Mapping[str, "BdfSignal"], channels: Sequence[str]) -> NDArray[np.float64]:
    """Return the channels, referenced to the mean of all 32, in uV: float64 (channels, n)."""
    for name in EEG_32:
        if (unit := signals[name].physical_dimension).strip().lower() not in ("uv", "µv"):
            raise DataError(f"{name} of {path} is in {unit!r}, not in uV: remove the session's folder")
    mean = np.zeros(len(signals[EEG_32[0]].digital))
    for name in EEG_32:
        mean += signals[name].data
    mean /= len(EEG_32)
    return np.stack([signals[name].data - mean for name in channels])
