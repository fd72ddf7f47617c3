"""Tables of text in the encodings, separators and line ends that spreadsheets write."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import DataError
from firmware_bridge.tables.cells import check_decimals, number_of, read_text_table

KNOWN = ("name", "start", "value")
LINES = ["name,start,value", "zoë,0,1.5", "", '"a, b",2,3']
ROWS = [("zoë", "0", "1.5"), ("a, b", "2", "3")]


def write(folder: Path, data: bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(data)
    return path


def cells(path: Path) -> list[tuple[str, ...]]:
    return [row for _, row in read_text_table(path, KNOWN).rows()]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\r"])
def test_encodings_and_line_ends_are_read(tmp_path: Path, encoding: str, end: str) -> None:
    path = write(tmp_path, end.join(LINES).encode(encoding))
    table = read_text_table(path, KNOWN)
    assert table.header == KNOWN
    assert list(table.rows()) == list(zip((2, 4), ROWS, strict=True))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_are_found_by_the_header(tmp_path: Path, separator: str) -> None:
    text = f"name{separator}start{separator}value\nx{separator}0{separator}1\n"
    table = read_text_table(write(tmp_path, text.encode()), KNOWN)
    assert (table.separator, table.decimal_comma) == (separator, separator != ",")
    assert list(table.rows()) == [(2, ("x", "0", "1"))]


def test_separator_line_and_comments_before_the_header_are_skipped(tmp_path: Path) -> None:
    path = write(tmp_path, b"sep=;\r\n# of Monday\r\nname;start;value\r\nx;0;1,5\r\n")
    assert list(read_text_table(path, KNOWN).rows()) == [(4, ("x", "0", "1,5"))]


def test_empty_unnamed_columns_at_the_end_are_ignored(tmp_path: Path) -> None:
    assert cells(write(tmp_path, b"name,start,value,,\nx,0,1,,\ny,1,2,,\n")) == [("x", "0", "1"), ("y", "1", "2")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"name,start,value\nx,0\n", "line 2 has 2 cells, but the header has 3: correct it"),
        (b"name,start,value\nx,0,1,5\n", "line 2 has 4 cells, but the header has 3: correct it"),
        (b"name,,value\nx,0,1\n", "line 2 has a cell in an unnamed column"),
        (b"name,Value,value\nx,0,1\n", "has a duplicate column"),
        (bytes(range(256)) * 8, "the file is not text: export it as CSV"),
        (b"name,start,value\nx,\0,1\n", "the file is not text: export it as CSV"),
    ],
)
def test_malformed_table_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        cells(write(tmp_path, text))


def test_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*nothing\.csv: No such file"):
        read_text_table(tmp_path / "nothing.csv", KNOWN)


@pytest.mark.parametrize(
    ("text", "decimal_comma", "value"),
    [
        ("1.5", False, Fraction(3, 2)),
        ("1,5", True, Fraction(3, 2)),
        ("1,5", False, None),
        ("-.5e1", False, Fraction(-5)),
        ("1.234,5", True, None),
        ("1_000", False, None),
        ("nan", False, None),
        ("١", False, None),
        ("1e999", False, None),
        ("", True, None),
    ],
)
def test_number_of_a_cell(text: str, decimal_comma: bool, value: Fraction | None) -> None:
    assert number_of(text, decimal_comma) == value


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_number_of_a_written_float_is_exact(value: float) -> None:
    assert float(number_of(repr(value), decimal_comma=False) or 0) == value
    assert float(number_of(repr(value).replace(".", ","), decimal_comma=True) or 0) == value


def test_decimal_commas_next_to_decimal_points_are_refused(tmp_path: Path) -> None:
    table = read_text_table(write(tmp_path, b"name;start;value\n1.5;1,5;2\nx;2,5;1.200\n"), KNOWN)
    check_decimals(table, ["start"])
    with pytest.raises(DataError, match=r"has '1,5' in line 2 and '1.200' in line 3: write all numbers with a decimal"):
        check_decimals(table, ["start", "value"])
