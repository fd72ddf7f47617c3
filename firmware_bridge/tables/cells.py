"""Small tables of text as spreadsheets save them, such as labels.csv: encoding, separator, decimal commas, lines.

Encodings and line ends are those of `firmware_bridge.tables.text`. Separators are comma, semicolon and tab; cells may
be quoted. A line `sep=;` and comment lines that start with `#` may stand before the header.
"""

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from firmware_bridge.errors import DataError, FormatError
from firmware_bridge.tables.text import as_lines

__all__ = ["TextTable", "check_decimals", "number_of", "read_text_table"]

_SEPARATORS: Final = (",", ";", "\t")
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}(?:[.,][0-9]{0,30})?|[.,][0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
_POINT, _COMMA = re.compile(r"[+-]?[0-9]*\.[0-9]+"), re.compile(r"[+-]?[0-9]*,[0-9]+")
_LARGEST: Final = 10**300


@dataclass(frozen=True, slots=True)
class TextTable:
    """The cells of a table, without surrounding spaces and blank lines.

    path: of the file. header: names of the columns, "" for an unnamed one. lines: line number of the file and cells of
    each row as they are. separator: between cells.
    """

    path: Path
    header: tuple[str, ...]
    lines: tuple[tuple[int, tuple[str, ...]], ...]
    separator: str

    @property
    def decimal_comma(self) -> bool:
        """Whether a number may have a decimal comma: the separator is not a comma."""
        return self.separator != ","

    def rows(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        """The line number and one cell for each column of the header.

        Raises DataError for a line with more or fewer cells, and for a cell in an unnamed column.
        """
        for line, found in self.lines:
            cells = found
            while len(cells) > len(self.header) and not cells[-1]:
                cells = cells[:-1]
            if len(cells) != len(self.header):
                raise DataError(
                    f"{self.path} line {line} has {len(cells)} cells, but the header has {len(self.header)}: correct it"
                )
            if any(cell for cell, name in zip(cells, self.header, strict=True) if not name):
                raise DataError(
                    f"{self.path} line {line} has a cell in an unnamed column: name each column in the header"
                )
            yield line, cells


def read_text_table(path: Path, known: Collection[str]) -> TextTable:
    """Read a table.

    Args:
        path: the file.
        known: names of columns in lower case; the separator is the one by which most of them are found in the header.

    Returns:
        The table, possibly without rows.

    Raises:
        DataError: the file cannot be read or is not text, or two columns have one name.
    """
    lines = _text_of(path).split("\n")
    skipped = 0
    separator = None
    for line in lines:
        if match := _SEPARATOR_LINE.fullmatch(line.strip(" ")):
            separator = match[1]
        elif line.strip() and not line.lstrip().startswith("#"):
            break
        skipped += 1
    header = lines[skipped] if skipped < len(lines) else ""
    if separator is None:
        separator = max(_SEPARATORS, key=lambda each: _found(header, each, known))
    try:
        rows = list(_rows(lines[skipped:], separator))
    except csv.Error as error:
        raise DataError(f"{path} is not a table ({error}): save it as CSV") from error
    return _table(path, [(number + skipped, cells) for number, cells in rows], separator)


def _text_of(path: Path) -> str:
    try:
        return as_lines(path.read_bytes()).decode()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check its name and permissions") from error
    except FormatError as error:
        raise DataError(f"{path}: {error}") from error


def number_of(text: str, decimal_comma: bool) -> Fraction | None:
    """The number in a cell, exactly; None for any other text, such as "nan", "1_000" or "1.234,5".

    decimal_comma: whether a comma may stand for the decimal point.
    """
    if not _NUMBER.fullmatch(text) or ("," in text and not decimal_comma):
        return None
    number = Fraction(text.replace(",", "."))
    return number if abs(number) <= _LARGEST else None


def check_decimals(table: TextTable, columns: Sequence[str]) -> None:
    """Refuse numbers with decimal commas next to numbers with decimal points, as one of them may group thousands.

    Args:
        table: the table.
        columns: those that hold numbers.

    Raises:
        DataError: the table has both; the message names one line of each.
    """
    if not table.decimal_comma:
        return
    places = [index for index, name in enumerate(table.header) if name in columns]
    seen: dict[str, tuple[int, str]] = {}
    for line, cells in table.rows():
        for place in places:
            mark = "." if _POINT.fullmatch(cells[place]) else "," if _COMMA.fullmatch(cells[place]) else None
            if mark is not None:
                seen.setdefault(mark, (line, cells[place]))
    if len(seen) == 2:
        (first, text), (second, other) = sorted(seen.values())
        raise DataError(
            f"{table.path} has {text!r} in line {first} and {other!r} in line {second}: write all numbers with a "
            "decimal point or all with a decimal comma"
        )


def _found(header: str, separator: str, known: Collection[str]) -> tuple[int, int]:
    """The number of known names in a header, and that of its separators."""
    names = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
    return sum(name.strip().lower() in known for name in names), len(names)


def _rows(lines: Sequence[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO("\n".join(lines)), delimiter=separator, skipinitialspace=separator != "\t")
    for row in reader:
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield reader.line_num, cells


def _table(path: Path, rows: Sequence[tuple[int, list[str]]], separator: str) -> TextTable:
    header = tuple(rows[0][1]) if rows else ()
    while header and not header[-1]:
        header = header[:-1]
    names = [name.lower() for name in header if name]
    if len(set(names)) < len(names):
        raise DataError(f"{path} has a duplicate column: give each column a name of its own")
    return TextTable(path, header, tuple((line, tuple(cells)) for line, cells in rows[1:]), separator)
