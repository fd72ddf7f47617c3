"""The range of sampling rates, and exact fractions from numbers and texts."""

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import ConfigError
from firmware_bridge.rates import MAX_RATE_HZ, exact_rate, parse_rate, rate_text


@pytest.mark.parametrize(
    ("value", "rate"),
    [
        (128, Fraction(128)),
        (19.5, Fraction(39, 2)),
        (1000 / 3, Fraction(1000, 3)),
        ("1000/3", Fraction(1000, 3)),
        ("0.001", Fraction(1, 1000)),
        (Fraction(125, 2), Fraction(125, 2)),
        (MAX_RATE_HZ, Fraction(MAX_RATE_HZ)),
    ],
)
def test_rate_is_an_exact_fraction(value: str | float | Fraction, rate: Fraction) -> None:
    assert exact_rate(value, "rate_hz") == rate


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        float("nan"),
        float("inf"),
        "x",
        "",
        "1/0",
        "1e99999999",
        "1/" + "9" * 5000,
        "1" * 41,
        "1_000",
        "0.0009",
        1e-4,
        MAX_RATE_HZ + 1,
        Fraction(1, 1 << 32),
        Fraction((1 << 32) + 1, 65536),
    ],
)
def test_rate_out_of_range_is_refused_by_name(value: str | float | Fraction) -> None:
    with pytest.raises(ConfigError) as caught:
        exact_rate(value, "rate_hz")
    shown = repr(value[:40]) if isinstance(value, str) else value
    assert str(caught.value) == (
        f"rate_hz is {shown}: give a number of Hz from 0.001 to 100000, such as 128, 19.5 or 1000/3"
    )


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("128", Fraction(128)),
        ("19.5", Fraction(39, 2)),
        (".5", Fraction(1, 2)),
        ("1.28e2", Fraction(128)),
        ("1000/3", Fraction(1000, 3)),
        ("1e5", Fraction(100_000)),
        ("1E-3", Fraction(1, 1000)),
    ],
)
def test_rate_text_becomes_a_fraction(text: str, rate: Fraction) -> None:
    assert parse_rate(text) == rate
    assert parse_rate(rate_text(rate)) == rate


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " 1",
            "1 ",
            "+1",
            "-1",
            "1e99999999",
            "1e-99999999",
            "1e100",
            "1/0",
            "0/1",
            "1/1e3",
            "nan",
            "inf",
            "1" * 41,
        ),
        *("100000.1", "0.0009", "1__0", "0x10", "\u0661", "1e", "/", ".", "9" * 30 + "/1"),
    ],
)
def test_other_text_is_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match="sampling rate"):
        parse_rate(text)


@given(st.text(alphabet="0123456789./eE+-", max_size=50))
def test_every_accepted_text_is_in_range(text: str) -> None:
    with suppress(ValueError):
        rate = parse_rate(text)
        assert Fraction(1, 1000) <= rate <= MAX_RATE_HZ
        assert rate == Fraction(text)
