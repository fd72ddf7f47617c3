"""The range of sampling rates, and exact fractions from numbers and texts."""

from fractions import Fraction

import pytest

from firmware_bridge.errors import ConfigError
from firmware_bridge.rates import MAX_RATE_HZ, exact_rate


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
        MAX_RATE_HZ + 1,
        Fraction(1, 1 << 32),
        Fraction((1 << 32) + 1, 65536),
    ],
)
def test_rate_out_of_range_is_refused_by_name(value: str | float | Fraction) -> None:
    with pytest.raises(ConfigError) as caught:
        exact_rate(value, "rate_hz")
    shown = repr(value) if isinstance(value, str) else value
    assert str(caught.value) == (
        f"rate_hz is {shown}: give a number of Hz above 0 and at most 100000, such as 128, 19.5 or 1000/3"
    )
