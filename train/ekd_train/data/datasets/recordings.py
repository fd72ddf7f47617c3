"""Your own recordings: a folder with one CSV file per recording and the table labels.csv.

labels.csv  one row per rated trial: recording, subject, trial, start_s, end_s (seconds since the first
            sample) and one column per target (arousal, valence, any name), rated 1..9; an empty cell means
            unrated. Optional columns rate_hz, unit and adc_bits apply to the row's recording.
NAME.csv    a header and one line per sample: gsr in uS, or with its unit as in gsr_kohm; optionally time_s or
            millis; optionally EEG in uV as eeg_NAME. Comment lines before it may state `# rate_hz: 128`,
            `# unit: adc` and `# adc_bits: 12`. Files without a header have the lines of a sensor, `value` or
            `millis,value`. The unit `relative` means an unknown unit and offset, as for some subjects of DEAP.

The files are read as `ekd-edge --replay` reads them (`firmware_bridge.tables`): separators, encodings, names of columns
and units. Rates that labels.csv, a comment and the time column state must agree. The time column, empty cells and, in a
table of one column, blank lines show lost samples: their gaps are those of a device (`ekd_train.data.lost_samples`).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ekd_edge.errors import DataError, EkdError
from ekd_train.data.cache.fingerprint import hash_files
from ekd_train.data.datasets.labels import LABELS, REQUIRED, Labels, append_labels, read_labels
from ekd_train.data.datasets.rating_scale import RatingScale
from ekd_train.data.datasets.recording_files import find_labels, find_recordings
from ekd_train.data.datasets.recording_start import start_of
from ekd_train.data.lost_samples import with_lost
from ekd_train.data.windows import Recording
from firmware_bridge.devices.csv.table_file import PlacedTable, columns_of_file, read_placed_table
from firmware_bridge.devices.stated_unit import unit_of_declared
from firmware_bridge.tables.columns import Columns
from firmware_bridge.tables.declared import Declared
from firmware_bridge.tables.magnitude import doubt_of

__all__ = ["RecordingsDataset", "write_recording"]

_FEWEST_INVALID, _MOST_INVALID = 16, 0.1
"""Number and share of readings outside the unit's range from which a recording is refused, as a replay is."""


@dataclass(frozen=True, slots=True)
class _File:
    """The file of one recording: its columns, and what labels.csv states of it."""

    path: Path
    columns: Columns
    given: Declared


class RecordingsDataset:
    """The dataset `recordings:FOLDER`.

    The constructor checks labels and headers, `read` checks samples. Both raise DataError, naming file and line.
    """

    synthetic = False

    def __init__(self, folder: Path, scale: RatingScale | None = None) -> None:
        self._folder = folder
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}: make one with {LABELS} and a CSV file per recording")
        path = find_labels(folder)
        if not path.is_file():
            if not find_recordings(folder):
                raise DataError(f"the folder {folder} contains no recordings: put one CSV file per recording there")
            raise DataError(f"{folder} has no {LABELS}: add one with {', '.join(REQUIRED)} and a target")
        self._labels: Labels = read_labels(path, scale, lambda name: start_of(find_recordings(folder, [name])[name]))
        by_name = find_recordings(folder, self._labels.trials)
        self._files = {name: _file(by_name[name], self._labels.declared[name]) for name in self._labels.trials}
        self.targets: tuple[str, ...] = self._labels.targets
        self.subjects: tuple[str, ...] = tuple(sorted(set(self._labels.subject_of.values())))
        self._channels = _common_channels(list(self._files.values()))
        self.has_eeg: bool = bool(self._channels)
        self.refused_targets: Mapping[str, str] = self._labels.refused
        notes = list(self._labels.notes)
        unlabeled = sorted(set(by_name) - set(self._labels.trials))
        if unlabeled:
            few = ", ".join(unlabeled[:3]) + (", ..." if len(unlabeled) > 3 else "")
            notes.append(f"{len(unlabeled)} of {len(by_name)} recordings have no row in {LABELS} (left out): {few}")
        with_eeg = sum(bool(file.columns.eeg) for file in self._files.values())
        if with_eeg and not self.has_eeg:
            notes.append(f"only {with_eeg} of {len(self._files)} recordings have EEG (EEG left out)")
        self.notes: tuple[str, ...] = tuple(notes)
        digest = hashlib.sha256(path.read_bytes())
        for file in sorted(by_name.values()):
            named = f"\n{file.relative_to(folder).as_posix()} {file.stat().st_size}"
            digest.update(named.encode("utf-8", "surrogateescape"))
        self.identity: str = f"recordings:{digest.hexdigest()[:16]}"

    def fingerprint(self) -> str:
        """Return a digest of the labels and headers as read, and the current content of every labeled recording.

        Raises DataError for a file that cannot be read.
        """
        stated = [(file.columns, file.given) for file in self._files.values()]
        known = [self._labels.content(), self._channels, stated]
        files = [file.path for file in self._files.values()]
        return f"recordings {hash_files(self._folder, files)} {hashlib.sha256(repr(known).encode()).hexdigest()}"

    def read(self, subjects: Sequence[str], eeg: bool = True) -> Iterator[Recording]:
        """Yield the labeled recordings of these subjects, subject by subject.

        Raises DataError for an unknown subject and at the first recording that is not a table of samples, whose rate
        or unit is unknown or implausible, whose time runs back, or with a trial that ends after it.
        """
        for subject in subjects:
            if subject not in self.subjects:
                raise DataError(f"there is no subject {subject!r}: known are {', '.join(self.subjects)}")
            for name, file in self._files.items():
                if self._labels.subject_of[name] == subject:
                    recording, summary = _read(file, name, self._labels, self._channels if eeg else ())
                    if recording.lost is not None or "left out" in summary:
                        self._note(f"reading {summary}")
                    yield recording

    def summaries(self) -> Iterator[str]:
        """Read each labeled recording and yield what was understood of it. Raises DataError as `read`."""
        for name, file in self._files.items():
            yield f"reading {_read(file, name, self._labels, self._channels)[1]}"

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes = (*self.notes, note)


def _common_channels(files: Sequence[_File]) -> tuple[str, ...]:
    """Return the EEG channels in the order of the first recording, or () if a recording has no EEG.

    Raises DataError if recordings have different EEG channels.
    """
    first = files[0]
    if not all(file.columns.eeg for file in files):
        return ()
    for file in files:
        if set(file.columns.eeg) != set(first.columns.eeg):
            raise DataError(f"the EEG columns of {file.path} differ from those of {first.path}: use the same for all")
    return tuple(first.columns.eeg)


def _file(path: Path, given: Declared) -> _File:
    with _naming(path):
        return _File(path, columns_of_file(path), given)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Raise errors of a file as DataError that names it."""
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    except EkdError as error:
        raise DataError(f"{path}: {error}") from error


def _read(file: _File, name: str, labels: Labels, channels: tuple[str, ...]) -> tuple[Recording, str]:
    """The recording, and what was understood of its file."""
    path = file.path
    with _naming(path):
        placed = read_placed_table(path, file.given, lambda columns: [columns.eeg[channel] for channel in channels])
        if placed.blocks[-1].segment:
            raise DataError(f"{_restart_of(placed)}: split the recording there")
        rows = np.concatenate(placed.rows)
        index = np.concatenate([block.first_index + np.arange(len(block.values)) for block in placed.blocks])
        numbers, rate_hz = placed.table.numbers[rows], placed.rate_hz
        declared = placed.table.declared
        relative = (declared.unit or "").lower() == "relative"
        unit = None if relative else unit_of_declared(replace(declared, unit=declared.unit or "uS"))
        if unit is not None:
            valid = unit.in_range(numbers[:, 0])
            outside = int(np.count_nonzero(~valid))
            if outside >= _FEWEST_INVALID and outside > _MOST_INVALID * len(valid):
                unit.to_microsiemens(numbers[:, 0])
            numbers, index = numbers[valid], index[valid]
        if len(numbers) < 2:
            raise DataError(f"the file contains no samples: remove it from {LABELS} or record it again")
        readings = np.ascontiguousarray(numbers[:, 0])
        gsr = readings if unit is None else unit.converted(readings)
        if unit is not None and (doubt := doubt_of(readings, unit, declared.unit)):
            raise DataError(doubt)
    length_s = float((int(index[-1]) + 1) / rate_hz)
    for trial, line in zip(labels.trials[name], labels.lines[name], strict=True):
        if trial.end_s > length_s + 0.5 / float(rate_hz):
            raise DataError(
                f"{LABELS} line {line}: trial {trial.name} of {name} ends at {trial.end_s:g} s, but {path} "
                f"lasts {length_s:.6g} s: correct end_s or the rate"
            )
    lost = np.isnan(with_lost(readings, index))
    recording = Recording(
        name=name,
        subject=labels.subject_of[name],
        gsr=with_lost(gsr, index),
        rate_hz=rate_hz,
        trials=labels.trials[name],
        eeg=with_lost(numbers[:, 1:].T, index) if channels else None,
        channels=channels,
        gsr_unit="relative" if relative else "uS",
        readings=None if unit is None else with_lost(readings, index),
        unit=unit,
        lost=lost if lost.any() else None,
    )
    return recording, placed.summary(path.name, "relative" if unit is None else unit.kind)


def _restart_of(placed: PlacedTable) -> str:
    """A sentence about the first restart of the table."""
    blocks = placed.blocks
    number = next(i for i, block in enumerate(blocks) if block.segment)
    sample = sum(len(block.values) for block in blocks[:number])
    columns = placed.table.columns
    if placed.table.times_s is None:
        return f"the header is repeated after sample {sample}"
    return f"the time column {columns.time_name} runs back, or on by more than a day, after sample {sample}"


def write_recording(path: Path, recording: Recording) -> None:
    """Write a recording to the CSV file `path` and add its trials to labels.csv in the same folder.

    The recording gets the name of the file. The text represents every number exactly.
    Raises DataError if `path` exists or does not end in .csv, if labels.csv has other columns, or if samples were lost.
    """
    if path.suffix != ".csv" or path.name == LABELS:
        raise DataError(f"a recording cannot be written to {path}: choose a file NAME.csv")
    if path.exists():
        raise DataError(f"{path} already exists and was not changed: choose another name")
    if recording.lost is not None:
        raise DataError(
            f"samples of {recording.name} were lost, which {path.name} cannot state: copy the recording's own file"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    append_labels(path.parent / LABELS, replace(recording, name=path.stem))
    rows = [recording.gsr] if recording.eeg is None else [recording.gsr, *recording.eeg]
    names = ["gsr", *(f"eeg_{channel}" for channel in recording.channels)]
    with path.open("w", encoding="utf-8", newline="") as out:
        out.write(f"# rate_hz: {recording.rate_hz}\n# unit: {recording.gsr_unit}\n{','.join(names)}\n")
        out.writelines(",".join(map(repr, values)) + "\n" for values in np.stack(rows, axis=1).tolist())
