"""Encodings and line ends."""

import pytest

from firmware_bridge.errors import FormatError
from firmware_bridge.tables.text import as_lines, is_text

LINES = "time_s,µS\n0,4.8\n1,4.9\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\r"])
def test_encodings_and_line_ends_give_the_same_lines(encoding: str, end: str) -> None:
    assert as_lines(LINES.replace("\n", end).encode(encoding)) == LINES.encode()


def test_last_line_gets_its_end() -> None:
    assert as_lines(b"5\n6") == b"5\n6\n"
    assert as_lines(b"") == b""


@pytest.mark.parametrize("data", [bytes(range(256)), b"\0\x01\x02", b"\xff\xfe\x00\xd8"])
def test_bytes_that_are_not_text_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match=r"save it as CSV|export it as CSV"):
        as_lines(data)


def test_binary_head_is_not_text() -> None:
    assert is_text(b"5.1\r\n")
    assert not is_text(b"\x00\x10ab")
