"""How a table is written: the separator of its columns, decimal commas, quotes, and where its rows begin."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from firmware_bridge.errors import FormatError
from firmware_bridge.tables.columns import Columns, columns_of, names_value
from firmware_bridge.tables.declared import Declared, declared_by, shortened
from firmware_bridge.tables.numbers import is_number

__all__ = ["MISSING", "Layout", "is_iso_time", "layout_of"]

MISSING = frozenset((b"", b"na", b"n/a", b"nan", b"null", b"none", b"ovf", b"inf", b"-inf", b"+inf", b"-", b"--", b"?"))
"""Cells without a reading, in lower case."""

_LOOKED_AT = 200
_CONSISTENT = 0.8
_LARGEST_READING = 10**6
"""Whole numbers from this one on are no readings with a decimal comma, but times since 1970."""
_DECIMAL_COMMA = re.compile(rb"(?:^|(?<=[;\t\n ]))([+-]?[0-9]*),([0-9]+(?:[eE][+-]?[0-9]+)?)(?=[;\t\n ]|$)")
_DECIMAL_POINT = re.compile(rb"(?:^|(?<=[;\t\n ]))[+-]?[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?(?=[;\t\n ]|$)")
_QUOTED_COMMA = re.compile(rb'"\s*([+-]?[0-9]*),([0-9]+(?:[eE][+-]?[0-9]+)?)\s*"')
_ISO_TIME = re.compile(
    rb"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.,]+(?:Z|[+-][0-9:]+)?)?|[0-9]{1,2}:[0-9]{2}:[0-9.,]+)"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a table.

    columns: which column is what. count: number of columns. rows: the lines of the rows, separated by commas, with
    decimal points, without quotes. first_line: number of their first line in the file, from 1. header: the header line
    in the form of the rows, or None. declared: by comments. iso: whether the times are dates or times of day.
    """

    columns: Columns
    count: int
    rows: bytes
    first_line: int
    header: bytes | None
    declared: Declared
    iso: bool


def is_iso_time(cell: bytes) -> bool:
    """Whether a cell is a date, a date and time (ISO 8601), or a time of day."""
    return _ISO_TIME.fullmatch(cell.strip()) is not None


def layout_of(text: bytes) -> Layout:
    """The layout of a table of lines that end in a newline (see `as_lines`), with the rows in the common form.

    Raises FormatError if the text is not a table with a column of skin conductance, or if it is ambiguous.
    """
    text = _without_quotes(text)
    sample = [line for line in text.split(b"\n", 4 * _LOOKED_AT)[:-1] if line.strip()]
    plain = [line for line in sample if not line.startswith(b"#")][: _LOOKED_AT + 1]
    if not plain:
        raise FormatError("the file contains no samples: record it again")
    separator = _separator(plain)
    first, header, declared, skipped = _preamble(text, separator)
    body = text[skipped:]
    if not body.strip():
        what = "has a header but no samples" if header is not None and _names_value(header, separator) else None
        raise FormatError(
            f"the file {what or 'has no line of numbers, such as 4.81'}: export it as CSV, or record it again"
        )
    body = _common_form(body, separator)
    counted = [line for line in body.split(b"\n", 2 * _LOOKED_AT)[:-1] if line.strip() and not line.startswith(b"#")]
    names = [] if header is None else _fields(header, separator)
    if counted and all(line.endswith(b",") for line in counted[:_LOOKED_AT]):
        body = body.replace(b",\n", b"\n")
        counted = [line[:-1] for line in counted]
        if names and not names[-1].strip():
            names = names[:-1]
    counts = [line.count(b",") + 1 for line in counted[:_LOOKED_AT]]
    count = max(set(counts), key=lambda each: (counts.count(each), -counts.index(each)))
    row = next(line for line in counted if line.count(b",") + 1 == count)
    columns = columns_of([name.decode("utf-8", "replace") for name in names], count, row.decode("utf-8", "replace"))
    if not columns.names and count == 2:
        _check_two_numbers(counted[:_LOOKED_AT])
    iso = columns.time is not None and is_iso_time(row.split(b",")[columns.time])
    head = None if header is None else b",".join(name.strip() for name in names)
    return Layout(columns, count, body, first, head, declared, iso)


def _without_quotes(text: bytes) -> bytes:
    """The text without quotes. Commas within quoted numbers become points, other separators become spaces."""
    if b'"' not in text:
        return text
    text = _QUOTED_COMMA.sub(rb"\1.\2", text)
    return re.sub(rb'"([^"\n]*)"', lambda match: re.sub(rb"[,;\t]", b" ", match[1]), text)


def _separator(plain: Sequence[bytes]) -> bytes | None:
    """The separator of the columns; b" " for runs of spaces, None for a single column.

    plain: the first lines that are not comments, of which the first may be a header.
    """
    head, lines = plain[0], plain[1:] or plain
    if _share(all(_is_number_with_comma(word) for word in line.split()) and len(line.split()) > 1 for line in lines):
        return b"\t" if all(b"\t" in line for line in lines) else b" "
    found = [separator for separator in (b"\t", b";", b",") if _share(separator in line for line in lines)]
    if found:
        return next((separator for separator in found if separator in head), found[0])
    if _share(len(line.split()) > 1 and all(map(_is_cell, line.split())) for line in lines):
        return b" "
    return None


def _share(found: Iterable[bool]) -> bool:
    marks = list(found)
    return sum(marks) >= _CONSISTENT * len(marks)


def _is_number_with_comma(word: bytes) -> bool:
    return is_number(word.replace(b",", b".", 1)) if word.count(b",") == 1 else is_number(word) and b"," not in word


def _is_cell(cell: bytes) -> bool:
    return is_number(cell) or cell.strip().lower() in MISSING or is_iso_time(cell)


def _fields(line: bytes, separator: bytes | None) -> list[bytes]:
    if separator is None:
        return [line.strip()]
    return line.split() if separator == b" " else [field.strip() for field in line.split(separator)]


def _preamble(text: bytes, separator: bytes | None) -> tuple[int, bytes | None, Declared, int]:
    """Number of the first row's line, the header or None, the declarations, and the number of bytes before the row."""
    declared, header, comment = Declared(), None, None
    at, number = 0, 1
    while at < len(text):
        end = text.index(b"\n", at)
        line = text[at:end].strip()
        if line.startswith(b"#"):
            declared = declared_by(line, declared)
            names = _fields(line.lstrip(b"#").strip(), separator)
            if b":" not in line and names_value([name.decode("utf-8", "replace") for name in names]):
                comment = line.lstrip(b"#").strip()
        elif line:
            fields = _fields(line, separator)
            cells = [field.replace(b",", b".", 1) if separator != b"," else field for field in fields]
            if any(map(is_number, cells)) and (all(map(_is_cell, cells)) or _fits(header, cells, separator)):
                return number, header if header is not None else comment, declared, at
            header = line
        at, number = end + 1, number + 1
    return number, header if header is not None else comment, declared, len(text)


def _names_value(header: bytes, separator: bytes | None) -> bool:
    return names_value([name.decode("utf-8", "replace") for name in _fields(header, separator)])


def _fits(header: bytes | None, cells: Sequence[bytes], separator: bytes | None) -> bool:
    """Whether the cells are a row of this header, by the number in its value column."""
    if header is None:
        return False
    names = [name.decode("utf-8", "replace") for name in _fields(header, separator)]
    if len(names) != len(cells) or not names_value(names):
        return False
    return _is_cell(cells[columns_of(names, len(names), "").value])


def _common_form(body: bytes, separator: bytes | None) -> bytes:
    """The rows with commas between the columns and decimal points. Raises FormatError for mixed decimal signs."""
    if separator == b",":
        return _without_spaces(body)
    if b"," in body:
        comma, point = _DECIMAL_COMMA.search(body), _DECIMAL_POINT.search(body)
        if separator is None:
            raise FormatError(
                f"the line {_line_at(body, body.index(b','))!r} has a decimal comma or two columns: write numbers "
                "with a point (4.81), or separate the columns by semicolons"
            )
        if comma is not None and point is not None:
            at = max(comma.start(), point.start())
            raise FormatError(
                f"numbers have decimal commas and decimal points, as in {_line_at(body, at)!r}: write all with a point"
            )
        body = _DECIMAL_COMMA.sub(rb"\1.\2", body) if separator != b" " or comma else body
        body = body.replace(b",", b" ")
    if separator == b" ":
        return b"".join(b",".join(line.split()) + b"\n" for line in body.split(b"\n")[:-1])
    return _without_spaces(body if separator is None else body.replace(separator, b","))


def _without_spaces(body: bytes) -> bytes:
    """The rows without spaces next to separators and line ends."""
    if b" " not in body:
        return body
    for spaced, bare in ((b", ", b","), (b" ,", b","), (b" \n", b"\n"), (b"\n ", b"\n")):
        while spaced in body:
            body = body.replace(spaced, bare)
    return body.lstrip(b" ")


def _line_at(body: bytes, at: int) -> str:
    start = body.rfind(b"\n", 0, at) + 1
    return shortened(body[start : body.index(b"\n", at)].decode("utf-8", "replace"), 60)


def _check_two_numbers(rows: Sequence[bytes]) -> None:
    """Raise FormatError for two columns of whole numbers that look like numbers with a decimal comma."""
    pairs = [row.split(b",") for row in rows if row.count(b",") == 1]
    whole = [pair for pair in pairs if all(cell.strip().lstrip(b"+-").isdigit() for cell in pair)]
    if not whole or len(whole) < len(pairs):
        return
    first = [int(pair[0]) for pair in whole]
    steps = [b - a for a, b in pairwise(first)]
    growing, falling = sum(step > 0 for step in steps), sum(step < 0 for step in steps)
    if falling <= 1 + len(steps) // 20 and (2 * growing >= len(steps) or first[0] >= _LARGEST_READING):
        return
    shown = shortened(rows[0].decode("utf-8", "replace"), 60)
    raise FormatError(
        f"the line {shown!r} is a number with a decimal comma, or a time that does not grow and a value: write "
        "numbers with a point (4.81), or name both columns in a header such as 'millis,value'"
    )
