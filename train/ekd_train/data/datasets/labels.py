"""labels.csv, the table of rated trials in a folder of recordings."""

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Final

from ekd_edge.errors import DataError
from ekd_train.data.datasets.rating_scale import PROJECT_SCALE, RatingScale, split_scale
from ekd_train.data.datasets.recording_files import LABELS, recording_name
from ekd_train.data.datasets.recording_start import date_of
from ekd_train.data.windows import Recording, Trial
from firmware_bridge.devices.stream import Declared
from firmware_bridge.rates import parse_rate
from firmware_bridge.tables.cells import TextTable, check_decimals, number_of, read_text_table

__all__ = ["LABELS", "REQUIRED", "Labels", "append_labels", "read_labels"]

REQUIRED = ("recording", "subject", "trial", "start_s", "end_s")
_OPTIONAL = ("rate_hz", "unit", "adc_bits")
_ALIASES: Final = {"start": "start_s", "end": "end_s"}
_UNRATED: Final = ("", "na", "n/a")
_ENOUGH, _LEVELS, _DOUBTFUL = 10, 3, 7
"""Number of ratings, of different ones, and the highest of all, by which the scale 1..9 is in doubt."""
_CLOCK = re.compile(r"([0-9]{1,4}):([0-5][0-9]):([0-5][0-9](?:[.,][0-9]{1,9})?)")


@dataclass(frozen=True, slots=True)
class Labels:
    """The content of labels.csv: trials, subject, and stated rate and unit, by the name of the recording.

    targets: the columns whose cells are all ratings. refused: why another column is not a target, by its name.
    lines: line of each trial. notes: sentences for the user.
    """

    targets: tuple[str, ...]
    trials: Mapping[str, tuple[Trial, ...]]
    subject_of: Mapping[str, str]
    declared: Mapping[str, Declared]
    lines: Mapping[str, tuple[int, ...]]
    refused: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def content(self) -> str:
        """Everything that determines the windows, as text."""
        return repr((self.targets, self.trials, self.subject_of, self.declared))


@dataclass(frozen=True, slots=True)
class _Column:
    """A column that may hold ratings. place: among the columns. scale: as stated in the header, or None."""

    place: int
    name: str
    scale: RatingScale | None


def read_labels(
    path: Path, scale: RatingScale | None = None, start_of: Callable[[str], datetime | None] | None = None
) -> Labels:
    """Read the table, as `firmware_bridge.tables.cells` reads text.

    Recordings may be named with or without .csv. Other columns than those of recording, trial, rate and unit are
    targets where all their cells are ratings or empty; the notes name the columns that are not. Ratings of a stated
    scale are mapped to 1..9.

    Args:
        path: the table.
        scale: of the ratings whose column does not state one, as "arousal (1..5)" does; None for 1..9.
        start_of: date and time of the first sample of a recording by its name, called where trials have dates; None
            if they are unknown.

    Returns:
        The labels.

    Raises:
        DataError: naming the line, for missing columns or cells, times that cannot be read, trials of zero length,
            duplicate names and a recording of two subjects; for a table without rows, and for one without a target.
    """
    table = read_text_table(path, REQUIRED)
    places, columns = _places(table)
    check_decimals(table, [table.header[places[name]] for name in ("start_s", "end_s")])
    if not table.lines:
        raise DataError(f"{path} has no rows: add one for each rated trial")
    ratings, refused = _ratings(table, columns, scale)
    check_decimals(table, [table.header[column.place] for column in columns if column.name in ratings])
    trials: dict[str, list[Trial]] = {}
    lines: dict[str, list[int]] = {}
    subject_of: dict[str, str] = {}
    declared: dict[str, Declared] = {}
    start = cache(start_of or (lambda _: None))
    for number, (line, row) in enumerate(table.rows()):
        where = f"{path} line {line}"
        cells = {name: row[place] for name, place in places.items()}
        empty = next((name for name in REQUIRED if not cells[name]), None)
        if empty:
            raise DataError(f"{where}: the cell {empty} is empty: fill it in or delete the line")
        name = recording_name(cells["recording"])
        if subject_of.setdefault(name, cells["subject"]) != cells["subject"]:
            raise DataError(
                f"{where}: {name} belongs to subject {subject_of[name]!r} in a line above: name one subject"
            )
        if any(trial.name == cells["trial"] for trial in trials.get(name, ())):
            raise DataError(f"{where}: trial {cells['trial']} of {name} is listed twice: name each once")
        rated = {target: value for target, column in ratings.items() if (value := column[number]) is not None}
        trials.setdefault(name, []).append(_trial(cells, rated, where, table.decimal_comma, partial(start, name)))
        lines.setdefault(name, []).append(line)
        row_declared = _declared(cells, where, table.decimal_comma)
        if declared.setdefault(name, row_declared) != row_declared:
            raise DataError(f"{where}: rate_hz, unit or adc_bits of {name} differ from a line above: write the same")
    return Labels(
        tuple(ratings),
        {name: tuple(found) for name, found in trials.items()},
        subject_of,
        declared,
        {name: tuple(found) for name, found in lines.items()},
        refused,
        (*_notes(columns, ratings, scale), *_doubts(columns, ratings, scale)),
    )


def append_labels(path: Path, recording: Recording) -> None:
    """Add the recording's trials to the table, and create the table if it does not exist.

    Raises DataError if the table has other columns or already has the recording.
    """
    targets = list(dict.fromkeys(target for trial in recording.trials for target in trial.ratings))
    header = [*REQUIRED, *targets]
    fresh = not path.is_file()
    if not fresh:
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = list(csv.reader(file))
        except UnicodeDecodeError:
            raise DataError(f"{path} is not UTF-8 text, which is needed to add rows: save it as CSV (UTF-8)") from None
        if not rows or rows[0] != header:
            raise DataError(f"the columns of {path} are not {', '.join(header)}: choose another folder")
        if any(row and recording_name(row[0]) == recording.name for row in rows[1:]):
            raise DataError(f"{path} already has the recording {recording.name}: choose another name")
    with path.open("a", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        if fresh:
            writer.writerow(header)
        for trial in recording.trials:
            ratings = [trial.ratings.get(target, "") for target in targets]
            writer.writerow([recording.name, recording.subject, trial.name, trial.start_s, trial.end_s, *ratings])


def _places(table: TextTable) -> tuple[dict[str, int], list[_Column]]:
    """The places of the known columns, and the columns that may hold ratings."""
    lower = [name.lower() for name in table.header]
    names = [_ALIASES.get(name, name) if _ALIASES.get(name) not in lower else name for name in lower]
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise DataError(f"{table.path} lacks the column {missing[0]}: it needs {', '.join(REQUIRED)} and a target")
    places = {name: names.index(name) for name in REQUIRED + _OPTIONAL if name in names}
    columns = [
        _Column(place, *_named(table, name))
        for place, name in enumerate(table.header)
        if name and names[place] not in places
    ]
    if not columns:
        raise DataError(f"{table.path} has no target: add a column such as arousal, rated 1 to 9")
    if len({column.name for column in columns}) < len(columns):
        raise DataError(f"{table.path} has a duplicate column: give each column a name of its own")
    return places, columns


def _named(table: TextTable, column: str) -> tuple[str, RatingScale | None]:
    """`split_scale`, with the file in the message."""
    try:
        return split_scale(column)
    except DataError as error:
        raise DataError(f"{table.path}: {error}") from error


def _ratings(
    table: TextTable, columns: Sequence[_Column], scale: RatingScale | None
) -> tuple[dict[str, list[float | None]], dict[str, str]]:
    """The ratings of each target, 1..9 or None by row, and why another column is not a target.

    Raises DataError where no column is a target: the reason of the column with the most ratings.
    """
    ratings: dict[str, list[float | None]] = {}
    refused: dict[str, str] = {}
    good: dict[str, int] = {}
    for column in columns:
        found: list[float | None] = []
        for line, row in table.rows():
            where = f"{table.path} line {line}: {column.name}"
            try:
                found.append(_rating(row[column.place], column.scale or scale, where, table.decimal_comma))
            except DataError as error:
                refused.setdefault(column.name, str(error))
        good[column.name] = sum(value is not None for value in found)
        if column.name not in refused and not good[column.name]:
            refused[column.name] = f"{table.path} has no rating in the column {column.name}: fill it in"
        if column.name not in refused:
            ratings[column.name] = found
    if not ratings:
        raise DataError(refused[max(reversed(refused), key=good.__getitem__)])
    return ratings, refused


def _rating(text: str, scale: RatingScale | None, where: str, decimal_comma: bool) -> float | None:
    if text.lower() in _UNRATED:
        return None
    number = number_of(text, decimal_comma)
    if number is None:
        raise DataError(f"{where} is {text!r}, which is not a finite number: correct it")
    rating = (scale or PROJECT_SCALE).rescaled(number)
    if rating is not None:
        return rating
    if scale is None:
        raise DataError(
            f"{where} is {float(number):g}, but ratings go from 1 to 9: state another scale, such as --scale 0..100"
        )
    raise DataError(f"{where} is {float(number):g}, but the stated scale is {scale}: correct the rating or the scale")


def _notes(columns: Sequence[_Column], ratings: Mapping[str, object], scale: RatingScale | None) -> tuple[str, ...]:
    notes = []
    ignored = [column.name for column in columns if column.name not in ratings]
    if ignored:
        notes.append(f"columns of {LABELS} without ratings are ignored: {', '.join(ignored)}")
    by_scale: dict[RatingScale, list[str]] = {}
    for column in columns:
        own = column.scale or scale
        if column.name in ratings and own not in (None, PROJECT_SCALE):
            assert own is not None
            by_scale.setdefault(own, []).append(column.name)
    notes += [
        f"ratings of {', '.join(names)} are mapped from {own} to 1..9, the scale of thresholds"
        for own, names in by_scale.items()
    ]
    return tuple(notes)


def _doubts(
    columns: Sequence[_Column], ratings: Mapping[str, Sequence[float | None]], scale: RatingScale | None
) -> list[str]:
    """A sentence for each target whose whole ratings end below 9, as those of another scale do."""
    doubts = []
    for column in columns:
        found = [value for value in ratings.get(column.name, ()) if value is not None]
        if column.scale or scale or len(found) < _ENOUGH or len(set(found)) < _LEVELS:
            continue
        if max(found) > _DOUBTFUL or any(value % 1 for value in found):
            continue
        doubts.append(
            f"the highest of {len(found)} ratings of {column.name} is {max(found):g}: if their scale ends there, "
            f"state it, such as --scale 1..{max(found):g}"
        )
    return doubts


def _trial(
    cells: Mapping[str, str],
    ratings: Mapping[str, float],
    where: str,
    decimal_comma: bool,
    first: Callable[[], datetime | None],
) -> Trial:
    start, end = (_seconds(cells[key], f"{where}: {key}", decimal_comma, first) for key in ("start_s", "end_s"))
    if not 0 <= start < end:
        raise DataError(f"{where}: end_s must be after start_s, and start_s at or after 0: correct them")
    return Trial(cells["trial"], float(start), float(end), ratings)


def _seconds(text: str, where: str, decimal_comma: bool, first: Callable[[], datetime | None]) -> Fraction:
    """Seconds since the first sample, of a number, h:mm:ss, or a date and time. first: that of the first sample."""
    if match := _CLOCK.fullmatch(text):
        return 3600 * int(match[1]) + 60 * int(match[2]) + Fraction(match[3].replace(",", "."))
    number = number_of(text, decimal_comma)
    if number is not None:
        return number
    if (date := date_of(text)) is None:
        raise DataError(f"{where} is {text!r}, which is not a finite number: write seconds, or h:mm:ss")
    begin = first()
    if begin is None:
        raise DataError(
            f"{where} is {text!r}, but the recording has no dates: write seconds since its first sample, or h:mm:ss"
        )
    if (begin.tzinfo is None) != (date.tzinfo is None):
        raise DataError(
            f"{where} is {text!r}, but the recording begins at {begin.isoformat()}: write both with a zone, such as Z, "
            "or both without"
        )
    since = date - begin
    return Fraction(since // timedelta(microseconds=1), 10**6)


def _declared(cells: Mapping[str, str], where: str, decimal_comma: bool) -> Declared:
    rate, unit, bits = (cells.get(key, "") for key in _OPTIONAL)
    try:
        rate_hz = parse_rate(rate.replace(",", ".") if decimal_comma else rate) if rate else None
    except ValueError:
        raise DataError(f"{where}: rate_hz {rate!r} is not a rate: write 128 or 125/2") from None
    if bits and not (bits.isascii() and bits.isdigit() and 1 <= int(bits) <= 32):
        raise DataError(f"{where}: adc_bits {bits!r} is not an ADC resolution: write 10 or 12")
    return Declared(rate_hz, unit or None, int(bits) if bits else None)
