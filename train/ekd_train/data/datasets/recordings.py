"""Your own recordings: a folder with one CSV file per recording and the table labels.csv.

labels.csv  one row per rated trial: recording, subject, trial, start_s, end_s (seconds since the first
            sample) and one column per target (arousal, valence, any name), rated 1..9; an empty cell means
            unrated. Optional columns rate_hz, unit and adc_bits apply to the row's recording.
NAME.csv    a header and one line per sample: gsr in uS, or with its unit as in gsr_kohm; optionally time_s or
            millis; optionally EEG in uV as eeg_NAME. Comment lines before it may state `# rate_hz: 128`,
            `# unit: adc` and `# adc_bits: 12`. Files without a header have the lines of a sensor, `value` or
            `millis,value`. The unit `relative` means an unknown unit and offset, as for some subjects of DEAP.

Header and comments are parsed as those of a live sensor (`firmware_bridge.devices.csv.layout`).
The rate is taken from labels.csv, else from the comment, else from the time column. A time column that determines the
rate also shows lost samples: their gaps are those of a device (`ekd_train.data.lost_samples`).
"""

import hashlib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError, EkdError, SignalError
from ekd_train.data.cache.fingerprint import hash_files
from ekd_train.data.datasets.labels import LABELS, REQUIRED, Labels, append_labels, read_labels
from ekd_train.data.datasets.rating_scale import RatingScale
from ekd_train.data.datasets.recording_files import find_labels, find_recordings
from ekd_train.data.lost_samples import LONGEST_GAP_S, lost_before, with_lost
from ekd_train.data.windows import Recording
from firmware_bridge.devices.csv.layout import columns_of, declared_by, estimate_rate, is_number, layout_of
from firmware_bridge.devices.stream import Declared
from firmware_bridge.units import Unit, parse_unit

__all__ = ["RecordingsDataset", "write_recording"]

_GSR_UNIT = re.compile(r"(?:gsr|eda)[ _]?[\[(]?([^\W\d_]+)[\])]?")
_PLAUSIBLE_US = (0.01, 100.0)


@dataclass(frozen=True, slots=True)
class _Layout:
    """The layout of one recording's file.

    skip: number of lines before the first sample. columns: number of columns. gsr, time: column numbers.
    tick_s: unit of the time column in seconds. eeg: column number by channel name.
    """

    path: Path
    skip: int
    columns: int
    gsr: int
    time: int | None
    tick_s: float
    eeg: Mapping[str, int]
    declared: Declared


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
        self._labels: Labels = read_labels(path, scale)
        by_name = find_recordings(folder, self._labels.trials)
        self._layouts = {name: _layout(by_name[name], self._labels.declared[name]) for name in self._labels.trials}
        self.targets: tuple[str, ...] = self._labels.targets
        self.subjects: tuple[str, ...] = tuple(sorted(set(self._labels.subject_of.values())))
        self._channels = _common_channels(list(self._layouts.values()))
        self.has_eeg: bool = bool(self._channels)
        self.refused_targets: Mapping[str, str] = self._labels.refused
        notes = list(self._labels.notes)
        unlabeled = sorted(set(by_name) - set(self._labels.trials))
        if unlabeled:
            few = ", ".join(unlabeled[:3]) + (", ..." if len(unlabeled) > 3 else "")
            notes.append(f"{len(unlabeled)} of {len(by_name)} recordings have no row in {LABELS} (left out): {few}")
        with_eeg = sum(bool(layout.eeg) for layout in self._layouts.values())
        if with_eeg and not self.has_eeg:
            notes.append(f"only {with_eeg} of {len(self._layouts)} recordings have EEG (EEG left out)")
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
        layouts = [replace(layout, path=Path()) for layout in self._layouts.values()]
        known = [self._labels.content(), self._channels, layouts]
        files = [layout.path for layout in self._layouts.values()]
        return f"recordings {hash_files(self._folder, files)} {hashlib.sha256(repr(known).encode()).hexdigest()}"

    def read(self, subjects: Sequence[str], eeg: bool = True) -> Iterator[Recording]:
        """Yield the labeled recordings of these subjects, subject by subject.

        Raises DataError for an unknown subject and at the first recording with a cell that is not a number,
        an implausible unit, a jump of the time column, or a trial that ends after the recording.
        """
        for subject in subjects:
            if subject not in self.subjects:
                raise DataError(f"there is no subject {subject!r}: known are {', '.join(self.subjects)}")
            for name, layout in self._layouts.items():
                if self._labels.subject_of[name] == subject:
                    recording = _read(layout, name, self._labels, self._channels if eeg else ())
                    self._note_lost(recording)
                    yield recording

    def _note_lost(self, recording: Recording) -> None:
        if recording.lost is not None:
            count = int(recording.lost.sum())
            note = f"{count} of {recording.lost.size} samples of {recording.name} were lost, by its time column"
            if note not in self.notes:
                self.notes = (*self.notes, note)


def _common_channels(layouts: Sequence[_Layout]) -> tuple[str, ...]:
    """Return the EEG channels in the order of the first recording, or () if a recording has no EEG.

    Raises DataError if recordings have different EEG channels.
    """
    first = layouts[0]
    if not all(layout.eeg for layout in layouts):
        return ()
    for layout in layouts:
        if set(layout.eeg) != set(first.eeg):
            raise DataError(f"the EEG columns of {layout.path} differ from those of {first.path}: use the same for all")
    return tuple(first.eeg)


def _layout(path: Path, given: Declared) -> _Layout:
    declared, skip = given, 0
    line = b""
    try:
        with path.open("rb") as file:
            for line in file:
                if skip == 0:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line.strip() and not line.startswith(b"#"):
                    break
                declared = declared_by(line.rstrip(), declared)
                skip += 1
            else:
                line = b""
        if not line.strip():
            raise DataError(f"{path} contains no samples: remove it from {LABELS} or record it again")
        fields = line.strip().split(b",")
        header = None if all(map(is_number, fields)) else line.strip()
        names = columns_of(header) if header is not None else []
        for i, name in enumerate(names):
            if name not in ("gsr", "eda", "gsr_us") and (match := _GSR_UNIT.fullmatch(name)):
                names[i] = "gsr"
                declared = replace(declared, unit=declared.unit or match[1])
        layout, unit = layout_of(",".join(names).encode() if header is not None else None, len(fields))
    except EkdError as error:
        raise error if isinstance(error, DataError) else DataError(f"{path}: {error}") from error
    plain = [name.strip().strip("\"'") for name in (header or b"").decode("utf-8", "replace").split(",")]
    return _Layout(
        path=path,
        skip=skip + (header is not None),
        columns=len(fields),
        gsr=layout.value,
        time=layout.time,
        tick_s=layout.tick_s,
        eeg={name[4:]: i for i, name in enumerate(plain) if name.lower().startswith("eeg_")},
        declared=replace(declared, unit=declared.unit or unit),
    )


def _read(layout: _Layout, name: str, labels: Labels, channels: tuple[str, ...]) -> Recording:
    columns = [layout.gsr, *(layout.eeg[channel] for channel in channels)]
    if layout.time is not None:
        columns.append(layout.time)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # numpy warns about missing data, which is an error below
            table = np.loadtxt(layout.path, delimiter=",", skiprows=layout.skip, usecols=columns, ndmin=2)
    except ValueError:
        raise _fault(layout, columns) from None
    if not np.isfinite(table).all():
        raise _fault(layout, columns)
    if len(table) < 2:
        raise DataError(f"{layout.path} contains no samples: remove it from {LABELS} or record it again")
    rate_hz, lost = layout.declared.rate_hz, np.zeros(len(table), np.int64)
    if rate_hz is None:
        rate_hz, lost = _rate_and_lost(layout, table[:, -1])
    length_s = float((len(table) + int(lost.sum())) / rate_hz)
    for trial, line in zip(labels.trials[name], labels.lines[name], strict=True):
        if trial.end_s > length_s + 0.5 / float(rate_hz):
            raise DataError(
                f"{LABELS} line {line}: trial {trial.name} of {name} ends at {trial.end_s:g} s, but {layout.path} "
                f"lasts {length_s:.6g} s: correct end_s or the rate"
            )
    relative = (layout.declared.unit or "").lower() == "relative"
    unit = None if relative else _unit(layout)
    readings = table[:, 0].copy()
    gsr = readings if unit is None else _microsiemens(layout, unit, readings)
    return Recording(
        name=name,
        subject=labels.subject_of[name],
        gsr=with_lost(gsr, lost),
        rate_hz=rate_hz,
        trials=labels.trials[name],
        eeg=with_lost(table[:, 1 : 1 + len(channels)].T, lost) if channels else None,
        channels=channels,
        gsr_unit="relative" if relative else "uS",
        readings=None if unit is None else with_lost(readings, lost),
        unit=unit,
        lost=np.isnan(with_lost(readings, lost)) if lost.any() else None,
    )


def _fault(layout: _Layout, columns: Sequence[int]) -> DataError:
    """Return an error that names the first line that cannot be parsed."""
    with layout.path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            cells = [cell.strip() for cell in line.partition("#")[0].split(",")]
            if number <= layout.skip or cells == [""]:
                continue
            if len(cells) <= max(columns):
                return DataError(
                    f"{layout.path} line {number} has {len(cells)} cells, but needs {layout.columns}: correct it"
                )
            for column in columns:
                if not is_number(cells[column].encode()):
                    return DataError(
                        f"{layout.path} line {number}: {cells[column]!r} is not a finite number: "
                        "fill the missing sample or split the recording there"
                    )
    return DataError(f"{layout.path} is not a table of numbers separated by commas: export it as CSV")


def _rate_and_lost(layout: _Layout, times: NDArray[np.float64]) -> tuple[Fraction, NDArray[np.int64]]:
    """The rate by the time column, and the number of samples that were lost before each one."""
    if layout.time is None:
        raise DataError(f"the rate of {layout.path} is unknown: put '# rate_hz: 128' on its first line")
    seconds = times * layout.tick_s
    rate = estimate_rate(seconds)
    steps = np.diff(seconds)
    lost = np.zeros(len(times), np.int64) if rate is None else lost_before(seconds, rate)
    longest_s = LONGEST_GAP_S if lost.any() else 0.05
    if rate is None or steps.min() < 0 or steps.max() > max(longest_s, 5 / rate + 0.05):
        last = int(np.argmax(np.where(steps < 0, np.inf, steps))) + 1
        raise DataError(
            f"the time column of {layout.path} jumps after sample {last}: split the recording there, "
            "or state its rate with '# rate_hz: 128' if no sample is missing"
        )
    return rate, lost


def _unit(layout: _Layout) -> Unit:
    declared = layout.declared
    try:
        return parse_unit(declared.unit or "uS", adc_bits=declared.adc_bits or 10)
    except SignalError as error:
        raise DataError(f"{layout.path}: {error}") from error


def _microsiemens(layout: _Layout, unit: Unit, raw: NDArray[np.float64]) -> NDArray[np.float64]:
    try:
        values = unit.to_microsiemens(raw)
    except SignalError as error:
        raise DataError(f"{layout.path}: {error}") from error
    median = float(np.median(values))
    low, high = _PLAUSIBLE_US
    if not low <= median <= high:
        raise DataError(
            f"the median of {layout.path} is {median:.4g} uS, which looks like Ohm, kOhm or ADC counts: "
            "set unit, as '# unit: kohm' on its first line or as a column of labels.csv"
        )
    return values


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
