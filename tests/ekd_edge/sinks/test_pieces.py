from types import SimpleNamespace
from typing import TextIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.sinks.pieces import (
    Look,
    Piece,
    bar,
    clock,
    cut,
    look_of,
    padded,
    sparkline,
    width_of,
)

PIECES = st.lists(st.tuples(st.text("aµ▁高e\u0301 "), st.sampled_from(["", "bold"])), max_size=6)


def stream(encoding: str | None) -> TextIO:
    return cast(TextIO, SimpleNamespace(encoding=encoding))


@given(st.floats(0, 1), st.integers(1, 40), st.booleans())
def test_bar_has_its_width_for_any_fraction(fraction: float, width: int, unicode: bool) -> None:
    assert len(bar(fraction, width, unicode)) == width


def test_bar_is_empty_at_zero_and_full_at_one() -> None:
    assert bar(0.0, 4) == "····"
    assert bar(1.0, 4) == "████"
    assert bar(0.5, 4, unicode=False) == "##.."


@given(st.lists(st.floats(0, 60), max_size=50), st.booleans())
def test_sparkline_has_one_character_a_value(values: list[float], unicode: bool) -> None:
    assert len(sparkline(values, unicode)) == len(values)


def test_sparkline_does_not_magnify_noise() -> None:
    assert len(set(sparkline([5.0, 5.001, 4.999]))) <= 2
    assert sparkline([1.0, 2.0]) == "▁█"


def test_clock_reads_hours_minutes_seconds() -> None:
    assert clock(754.9) == "0:12:34"
    assert clock(36 * 3600) == "36:00:00"


@given(PIECES, st.integers(0, 30))
def test_cut_keeps_whole_characters_up_to_the_width(pieces: list[Piece], width: int) -> None:
    kept = "".join(text for text, _ in cut(pieces, width))
    whole = "".join(text for text, _ in pieces)
    assert whole.startswith(kept)
    assert width_of([(kept, "")]) <= width
    if kept != whole:
        assert width_of([(whole[: len(kept) + 1], "")]) > width or not whole[len(kept)].isascii()


@given(PIECES, st.integers(0, 30))
def test_padded_has_exactly_the_width(pieces: list[Piece], width: int) -> None:
    assert width_of(padded(pieces, width)) == width


def test_width_counts_wide_characters_twice_and_accents_not_at_all() -> None:
    assert width_of([("高い", ""), ("e\u0301", ""), ("µ▁", "")]) == 4 + 1 + 2


@pytest.mark.parametrize(("encoding", "unicode"), [("utf-8", True), ("latin-1", False), (None, False), ("none", False)])
def test_look_is_ascii_where_the_encoding_lacks_blocks(encoding: str | None, unicode: bool) -> None:
    assert look_of(stream(encoding)).unicode == unicode


def test_characters_that_the_terminal_lacks_become_question_marks() -> None:
    assert Look(False, False, "latin-1").paint([("erhöht 高い", "bold")]) == "erhöht ??"
    assert Look(True, False, "utf-8").paint([("\udcff", "")]) == "?"


@pytest.mark.parametrize(("value", "color"), [("", True), ("1", False), (None, True)])
def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch, value: str | None, color: bool) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    look = look_of(stream("utf-8"))
    assert look.paint([("text", "bold")]) == ("\x1b[1mtext\x1b[0m" if color else "text")
