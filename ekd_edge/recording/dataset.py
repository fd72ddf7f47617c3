"""A folder for `ekd-train --data recordings:FOLDER`, made of ekd's own recordings and of trials by wall-clock time."""

import csv
import io
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from ekd_edge.errors import DataError, SignalError
from ekd_edge.formatting import utc_text
from ekd_edge.recording.contents import recordings_at
from ekd_edge.recording.export import write_file
from ekd_edge.recording.files import SUFFIX, make_folder
from ekd_edge.recording.format import Mark
from ekd_edge.recording.reader import Reader
from ekd_edge.recording.replay import read_recordings
from ekd_edge.recording.trials import TimedTrial, trials_of_marks
from ekd_edge.signal.blocks import SampleBlock, TimeAnchor
from firmware_bridge.units import Unit, parse_unit

__all__ = ["Part", "make_dataset"]

_LABELS: Final = "labels.csv"
_COLUMNS: Final = ("recording", "subject", "trial", "start_s", "end_s")
_SHORTEST_S: Final = 1.0
"""A shorter piece of a trial at the edge of a recording is left out."""
_NO_NAME = re.compile(r"[^\w.-]+")


@dataclass(slots=True)
class Part:
    """Samples of one count of a sensor, with its gaps; they become one CSV file.

    files: the recordings. number: of the part in these recordings. wearer: as recorded, or None. unit: of the readings.
    first, end: index of the first sample and after the last. samples: their number, without those with electrodes off
    or of a faulty stream. anchors: the indices from which the wall-clock times hold, and these.
    """

    files: Sequence[Path]
    number: int
    wearer: str | None
    rate_hz: Fraction
    unit: Unit | None
    first: int
    end: int
    samples: int = 0
    anchors: list[tuple[int, TimeAnchor]] = field(default_factory=list)
    name: str = ""
    subject: str = ""
    rows: list[tuple[TimedTrial, float, float]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Its length with gaps."""
        return float((self.end - self.first) / self.rate_hz)

    def utc_s(self, index: int) -> float:
        """The wall-clock time of a sample, in seconds since 1970."""
        _, anchor = self.anchors[max(0, bisect_right([first for first, _ in self.anchors], index) - 1)]
        return anchor.utc_s + float((index - anchor.index) / self.rate_hz)

    def seconds_at(self, utc_s: float) -> float:
        """Seconds since the first sample at a wall-clock time; below 0 or above `seconds` outside of the part."""
        begins = [self.utc_s(first) for first, _ in self.anchors]
        _, anchor = self.anchors[max(0, bisect_right(begins, utc_s) - 1)]
        return utc_s - anchor.utc_s + float((anchor.index - self.first) / self.rate_hz)


def make_dataset(
    folder: Path, out: Path, trials: Sequence[TimedTrial] | None, subject: str | None, notify: Callable[[str], None]
) -> list[Part]:
    """Write one CSV file for each part of the recordings that has a trial, and labels.csv.

    Args:
        folder: recordings, or subfolders of them as of several sensors.
        out: the folder to make.
        trials: by wall-clock time; None for those that marks of the recordings state.
        subject: of recordings without a wearer; None for that of their trials.
        notify: called with a sentence for what is left out.

    Returns:
        The parts that were written.

    Raises:
        DataError: there are no trials, a trial is in no recording, or a subject is unknown.
        PortError, FormatError: a recording cannot be read or the files cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists and was not changed: name a new folder")
    sensors = [_read_parts(recordings_at(each)) for each in _folders(folder)]
    parts = [part for of_sensor, _ in sensors for part in of_sensor]
    timed = [part for part in parts if part.anchors]
    if untimed := sum(part.samples > 0 and not part.anchors for part in parts):
        notify(f"{untimed} of {len(parts)} parts of the recordings have no wall-clock time (left out)")
    if empty := len(parts) - sum(part.samples > 0 for part in parts):
        notify(f"{empty} of {len(parts)} parts of the recordings have electrodes off or a fault throughout (left out)")
    for trial in trials or ():
        _place(trial, timed, notify)
    if trials is None:
        marked = [(trial, of_sensor) for of_sensor, marks in sensors for trial in trials_of_marks(marks)]
        if not marked:
            raise DataError(f"no mark in {folder} states a trial: name the trials with --trials FILE")
        for trial, of_sensor in marked:
            _place(trial, [part for part in of_sensor if part.anchors], notify)
    written = [part for part in timed if part.rows]
    if len(written) < len(timed):
        notify(f"{len(timed) - len(written)} of {len(timed)} parts of the recordings have no trial (left out)")
    _name(written, subject)
    try:
        make_folder(out)
    except OSError as error:
        raise DataError(f"cannot make the folder {out}: {error.strerror}; name another one") from error
    for files, of_files in groupby(written, lambda part: part.files):
        wanted = {part.number: part for part in of_files}
        for number, items in groupby(_items(files), lambda found: found[0].number):
            if number in wanted:
                blocks = (item for _, item in items if isinstance(item, SampleBlock))
                write = partial(_write_samples, part=wanted[number], blocks=blocks)
                write_file(out / f"{wanted[number].name}.csv", write)
    write_file(out / _LABELS, partial(_write_labels, parts=written))
    return written


def _folders(folder: Path) -> list[Path]:
    """The folder, or its subfolders of several sensors."""
    if not folder.is_dir() or any(folder.glob(f"*{SUFFIX}")):
        return [folder]
    return sorted({path.parent for path in folder.glob(f"*/*{SUFFIX}")}) or [folder]


def _read_parts(files: Sequence[Path]) -> tuple[list[Part], list[Mark]]:
    """The parts of a sensor's recordings, and the marks."""
    parts: list[Part] = []
    marks: list[Mark] = []
    for part, item in _items(files):
        if isinstance(item, Mark):
            marks.append(item)
            continue
        if not parts or parts[-1] is not part:
            parts.append(part)
        if item.lead_off or item.fault is not None:
            continue
        if not part.samples:
            part.first = item.first_index
        part.samples += len(item.values)
        part.end = item.first_index + len(item.values)
        if item.anchor is not None and (not part.anchors or part.anchors[-1][1] != item.anchor):
            part.anchors.append((item.first_index, item.anchor))
    return parts, marks


def _items(files: Sequence[Path]) -> Iterator[tuple[Part, SampleBlock | Mark]]:
    """The blocks of recordings with their part: another segment, rate or unit begins one. Marks come with any part."""
    reader = Reader()
    part = Part(files, -1, None, Fraction(1), None, 0, 0)
    key: object = None
    for item in read_recordings(list(files), reader):
        if isinstance(item, SampleBlock):
            if (of_item := (item.segment, item.rate_hz, item.unit)) != key:
                key, wearer = of_item, reader.head.get("wearer")
                first = item.first_index
                wearer = wearer if isinstance(wearer, str) else None
                part = Part(files, part.number + 1, wearer, item.rate_hz, item.unit, first, first)
            yield part, item
        elif isinstance(item, Mark):
            yield part, item


def _place(trial: TimedTrial, parts: Sequence[Part], notify: Callable[[str], None]) -> None:
    """Add the trial to each part that has samples of it. Raises DataError where none has."""
    length_s = trial.end_utc_s - trial.start_utc_s
    longest_s = 0.0
    for part in parts:
        if trial.subject is not None and part.wearer not in (None, trial.subject):
            continue
        start_s = max(0.0, part.seconds_at(trial.start_utc_s))
        end_s = min(part.seconds, part.seconds_at(trial.end_utc_s))
        if end_s - start_s >= min(_SHORTEST_S, length_s):
            part.rows.append((trial, start_s, end_s))
            longest_s = max(longest_s, end_s - start_s)
    if not longest_s:
        spans = ", ".join(
            f"{utc_text(part.utc_s(part.first))} to {utc_text(part.utc_s(part.end))}" for part in parts[:3]
        )
        wanted = f"{utc_text(trial.start_utc_s)} to {utc_text(trial.end_utc_s)}"
        raise DataError(
            f"{trial.where} is from {wanted}, in no recording of its subject; there "
            f"are {spans or 'none with wall-clock times'}{', ...' if len(parts) > 3 else ''}: correct it"
        )
    if longest_s < length_s - _SHORTEST_S:
        notify(
            f"{trial.where}: no recording has more than {longest_s:.1f} s of the {length_s:.1f} s of trial {trial.name}"
        )


def _name(parts: Sequence[Part], subject: str | None) -> None:
    """Set the subject and the name of each part. Raises DataError where a subject is unknown."""
    taken: set[str] = set()
    for part in parts:
        begin = utc_text(part.utc_s(part.first)) or "unknown"
        names = [trial.name for trial, _, _ in part.rows]
        twice = next((trial for trial, _, _ in part.rows if names.count(trial.name) > 1), None)
        if twice is not None:
            raise DataError(f"{twice.where}: trial {twice.name} is twice in one recording: give each a name of its own")
        named = sorted({trial.subject for trial, _, _ in part.rows if trial.subject is not None})
        if len(named) > 1 and part.wearer is None:
            raise DataError(
                f"the recording from {begin} has trials of {' and '.join(named[:2])}: record with --wearer, or one each"
            )
        part.subject = part.wearer or subject or (named[0] if named else "")
        if not part.subject:
            raise DataError(
                f"the recording from {begin} names no wearer: add the column subject to the trials, or --subject NAME"
            )
        stamp = begin[:19].replace("-", "").replace(":", "")
        stem = name = f"{_NO_NAME.sub('-', part.subject).strip('-.') or 'subject'}-{stamp}Z"
        number = 2
        while name in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name)
        part.name = name


def _write_samples(out: BinaryIO, part: Part, blocks: Iterable[SampleBlock]) -> None:
    """The readings where labels.csv or a comment can state their unit, else microsiemens."""
    stated = _stated(part.unit)
    comments = ["unit: uS"] if stated is None else [f"unit: {stated.kind}"]
    if stated is not None and stated.kind in ("adc", "divider"):
        comments.append(f"adc_bits: {stated.adc_bits}")
    out.write(f"# rate_hz: {part.rate_hz}\n# start: {utc_text(part.utc_s(part.first))}\n".encode())
    out.writelines(f"# {comment}\n".encode() for comment in comments)
    out.write(b"time_s,gsr\n")
    for block in blocks:
        if block.lead_off or block.fault is not None:
            continue
        values = block.values if stated is None or block.readings is None else block.readings
        numerator, denominator = part.rate_hz.as_integer_ratio()
        times = (np.arange(len(values)) + (block.first_index - part.first)) * float(denominator) / numerator
        rows = (f"{time:.6f},{value!r}\n" for time, value in zip(times.tolist(), values.tolist(), strict=True))
        out.write("".join(rows).encode())


def _stated(unit: Unit | None) -> Unit | None:
    """The unit, if its name and the resolution of the converter determine it."""
    if unit is None:
        return None
    try:
        return unit if parse_unit(unit.kind, adc_bits=unit.adc_bits) == unit else None
    except SignalError:
        return None


def _write_labels(out: BinaryIO, parts: Sequence[Part]) -> None:
    targets = list(dict.fromkeys(target for part in parts for trial, _, _ in part.rows for target in trial.ratings))
    rows: list[Sequence[object]] = [[*_COLUMNS, *targets]]
    for part in parts:
        for trial, start_s, end_s in part.rows:
            cells = [trial.ratings.get(target, "") for target in targets]
            rows.append([part.name, part.subject, trial.name, f"{start_s:.6f}", f"{end_s:.6f}", *cells])
    for row in rows:
        out.write((_csv_line(row) + "\n").encode())


def _csv_line(row: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(row)
    return text.getvalue()
