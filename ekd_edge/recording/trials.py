"""Rated trials by wall-clock time: from a table, or from the marks of a recording.

A table has the columns start and end, in ISO 8601 with a zone (2026-11-30T12:00:00Z) or in seconds or milliseconds
since 1970. The columns trial and subject are optional. All others, such as ratings, are copied to labels.csv.

A trial of marks has two: "trial t1 begins" and "trial t1 ends arousal=7 valence=3".
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from ekd_edge.errors import DataError
from ekd_edge.recording.format import Mark
from ekd_edge.recording.metadata import LAST_SECOND
from firmware_bridge.tables.cells import check_decimals, number_of, read_text_table

__all__ = ["TimedTrial", "read_trials", "trials_of_marks"]

_NEEDED: Final = ("start", "end")
_KNOWN: Final = (*_NEEDED, "trial", "subject")
_PLACED: Final = ("recording", "start_s", "end_s", "rate_hz", "unit", "adc_bits")
"""Columns of labels.csv that are taken from the recordings."""
_MARK = re.compile(r"trial (\S+) (begins|ends)((?: \S+=\S+)*)")
_MILLISECONDS: Final = 10**11


@dataclass(frozen=True, slots=True)
class TimedTrial:
    """A trial. start_utc_s, end_utc_s: seconds since 1970. ratings: cells by column. where: place, for messages."""

    name: str
    subject: str | None
    start_utc_s: float
    end_utc_s: float
    ratings: Mapping[str, str]
    where: str


def read_trials(path: Path) -> list[TimedTrial]:
    """The trials of a table, see the module's docstring.

    Raises DataError for a missing column, a time without a zone, a trial that ends before its start, an empty table.
    """
    table = read_text_table(path, _KNOWN)
    names = [name.lower() for name in table.header]
    missing = next((name for name in _NEEDED if name not in names), None)
    if missing:
        raise DataError(f"{path} lacks the column {missing}: it needs start and end, in UTC, and ratings")
    placed = next((name for name in _PLACED if name in names), None)
    if placed:
        raise DataError(f"{path} has the column {placed}, which is taken from the recordings: remove it")
    others = [place for place, name in enumerate(names) if name and name not in _KNOWN]
    if not others:
        raise DataError(f"{path} has no ratings: add a column such as arousal, rated 1 to 9")
    check_decimals(table, [table.header[place] for place in others])
    trials = []
    for number, (line, cells) in enumerate(table.rows(), start=1):
        where = f"{path} line {line}"
        found = dict(zip(names, cells, strict=True))
        start, end = (_utc_s(found[key], f"{where}: {key}", decimal_comma=table.decimal_comma) for key in _NEEDED)
        if not start < end:
            raise DataError(f"{where}: end must be after start: correct them")
        ratings = {table.header[place]: _with_point(cells[place], table.decimal_comma) for place in others}
        name = found.get("trial") or f"t{number:02d}"
        trials.append(TimedTrial(name, found.get("subject") or None, start, end, ratings, where))
    if not trials:
        raise DataError(f"{path} has no rows: add one for each rated trial")
    return trials


def trials_of_marks(marks: Iterable[Mark]) -> list[TimedTrial]:
    """The trials of marks, see the module's docstring; other marks are ignored.

    Raises DataError for a trial that ends without having begun, has no end, or ends before it began.
    """
    begun: dict[str, float] = {}
    trials = []
    for mark in marks:
        match = _MARK.fullmatch(mark.text)
        if match is None:
            continue
        name = match[1]
        if match[2] == "begins":
            begun[name] = mark.time_s
            continue
        if name not in begun:
            raise DataError(f"the mark {mark.text!r} ends a trial that no mark begins: name the trials with --trials")
        if not begun[name] < mark.time_s:
            raise DataError(f"the clock was set back in the trial {name} of the marks: name the trials with --trials")
        ratings = dict(part.split("=", 1) for part in match[3].split())
        trials.append(TimedTrial(name, None, begun.pop(name), mark.time_s, ratings, f"the mark of trial {name}"))
    if begun:
        raise DataError(f"the mark of trial {next(iter(begun))} has no end: name the trials with --trials")
    return trials


def _utc_s(text: str, where: str, decimal_comma: bool) -> float:
    number = number_of(text, decimal_comma)
    seconds = _seconds_of_date(text, where) if number is None else float(number)
    seconds = seconds / 1000 if number is not None and seconds >= _MILLISECONDS else seconds
    if not 0 <= seconds < LAST_SECOND:
        raise DataError(f"{where} is {text!r}, not a time after 1970: write it as 2026-11-30T12:00:00Z")
    return seconds


def _seconds_of_date(text: str, where: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise DataError(f"{where} is {text!r}, not a time: write it as 2026-11-30T12:00:00Z") from None
    if moment.tzinfo is None:
        raise DataError(f"{where} is {text!r}, without a zone: add Z for UTC, or an offset such as +01:00")
    return moment.timestamp()


def _with_point(text: str, decimal_comma: bool) -> str:
    return text.replace(",", ".") if number_of(text, decimal_comma) is not None else text
