"""labels.csv, the table of rated trials in a folder of recordings."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ekd_edge.errors import DataError
from ekd_train.data.windows import Recording, Trial
from firmware_bridge.devices.stream import Declared
from firmware_bridge.rates import parse_rate

__all__ = ["LABELS", "REQUIRED", "Labels", "append_labels", "read_labels"]

LABELS = "labels.csv"
REQUIRED = ("recording", "subject", "trial", "start_s", "end_s")
_OPTIONAL = ("rate_hz", "unit", "adc_bits")


@dataclass(frozen=True, slots=True)
class Labels:
    """The content of labels.csv: trials, subject, and stated rate and unit, by the name of the recording."""

    targets: tuple[str, ...]
    trials: Mapping[str, tuple[Trial, ...]]
    subject_of: Mapping[str, str]
    declared: Mapping[str, Declared]


def read_labels(path: Path) -> Labels:
    """Read the table. Recordings may be named with or without .csv, and unknown columns are targets.

    Raises DataError, naming the line, for missing columns or cells, ratings that are not within 1..9, trials of zero
    length, duplicate names, a recording of two subjects, and a table without rows.
    """
    trials: dict[str, list[Trial]] = {}
    subject_of: dict[str, str] = {}
    declared: dict[str, Declared] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True)
            columns = [name.strip() for name in next(reader, [])]
            targets = _targets(path, columns)
            for row in reader:
                if not any(cell.strip() for cell in row):
                    continue
                where = f"{path} line {reader.line_num}"
                if len(row) != len(columns):
                    raise DataError(f"{where} has {len(row)} cells, but the header has {len(columns)}: correct it")
                cells = {name: cell.strip() for name, cell in zip(columns, row, strict=True)}
                empty = next((name for name in REQUIRED if not cells[name]), None)
                if empty:
                    raise DataError(f"{where}: the cell {empty} is empty: fill it in or delete the line")
                name = cells["recording"].removesuffix(".csv")
                if subject_of.setdefault(name, cells["subject"]) != cells["subject"]:
                    raise DataError(
                        f"{where}: {name} belongs to subject {subject_of[name]!r} in a line above: name one subject"
                    )
                if any(trial.name == cells["trial"] for trial in trials.get(name, ())):
                    raise DataError(f"{where}: trial {cells['trial']} of {name} is listed twice: name each once")
                trials.setdefault(name, []).append(_trial(cells, targets, where))
                row_declared = _declared(cells, where)
                if declared.setdefault(name, row_declared) != row_declared:
                    raise DataError(
                        f"{where}: rate_hz, unit or adc_bits of {name} differ from a line above: write the same"
                    )
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text: save it as CSV (UTF-8)") from None
    if not trials:
        raise DataError(f"{path} has no rows: add one for each rated trial")
    return Labels(targets, {name: tuple(found) for name, found in trials.items()}, subject_of, declared)


def append_labels(path: Path, recording: Recording) -> None:
    """Add the recording's trials to the table, and create the table if it does not exist.

    Raises DataError if the table has other columns or already has the recording.
    """
    targets = list(dict.fromkeys(target for trial in recording.trials for target in trial.ratings))
    header = [*REQUIRED, *targets]
    fresh = not path.is_file()
    if not fresh:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
        if not rows or rows[0] != header:
            raise DataError(f"the columns of {path} are not {', '.join(header)}: choose another folder")
        if any(row and row[0].removesuffix(".csv") == recording.name for row in rows[1:]):
            raise DataError(f"{path} already has the recording {recording.name}: choose another name")
    with path.open("a", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        if fresh:
            writer.writerow(header)
        for trial in recording.trials:
            ratings = [trial.ratings.get(target, "") for target in targets]
            writer.writerow([recording.name, recording.subject, trial.name, trial.start_s, trial.end_s, *ratings])


def _targets(path: Path, columns: Sequence[str]) -> tuple[str, ...]:
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise DataError(f"{path} lacks the column {missing[0]}: it needs {', '.join(REQUIRED)} and a target")
    if len(set(columns)) < len(columns) or "" in columns:
        raise DataError(f"{path} has an unnamed or duplicate column: give each column a name of its own")
    targets = tuple(name for name in columns if name not in REQUIRED + _OPTIONAL)
    if not targets:
        raise DataError(f"{path} has no target: add a column such as arousal, rated 1 to 9")
    return targets


def _trial(cells: Mapping[str, str], targets: Sequence[str], where: str) -> Trial:
    start, end = (_number(cells[key], f"{where}: {key}") for key in ("start_s", "end_s"))
    if not 0 <= start < end:
        raise DataError(f"{where}: end_s must be after start_s, and start_s at or after 0: correct them")
    ratings = {}
    for target in targets:
        if cells[target]:
            rating = _number(cells[target], f"{where}: {target}")
            if not 1 <= rating <= 9:
                raise DataError(f"{where}: {target} is {rating:g}, but ratings go from 1 to 9: rescale them")
            ratings[target] = rating
    return Trial(cells["trial"], start, end, ratings)


def _declared(cells: Mapping[str, str], where: str) -> Declared:
    rate, unit, bits = (cells.get(key, "") for key in _OPTIONAL)
    try:
        rate_hz = parse_rate(rate) if rate else None
    except ValueError:
        raise DataError(f"{where}: rate_hz {rate!r} is not a rate: write 128 or 125/2") from None
    if bits and not (bits.isascii() and bits.isdigit() and 1 <= int(bits) <= 32):
        raise DataError(f"{where}: adc_bits {bits!r} is not an ADC resolution: write 10 or 12")
    return Declared(rate_hz, unit or None, int(bits) if bits else None)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where} is {text!r}, which is not a finite number: correct it")
    return value
