"""Text of foreign origin on a terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ekd 01: 4.31 µS, Zoë, 皮膚, ± ▁█", "ekd 01: 4.31 µS, Zoë, 皮膚, ± ▁█"),
        ("\x1b[2J\x07gsr", "\\x1b[2J\\x07gsr"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("abc\u202etxt", "abc\\u202etxt"),
        ("\x9b31m", "\\x9b31m"),
        ("\udcff", "\\udcff"),
        ("\u2028", "\\u2028"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_control_characters_and_marks_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_printable_text_has_no_control_character(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in shown)
    shown.encode("utf-8")
