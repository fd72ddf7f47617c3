"""Argument types: valid texts give values, and invalid texts give one sentence."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.cli.arguments import (
    add_port_argument,
    count,
    not_negative,
    port_of,
    positive,
    rate_argument,
    share,
    size_bytes,
)
from firmware_bridge.errors import ConfigError

Type = Callable[[str], object]
TYPES: list[Type] = [count, not_negative, positive, rate_argument, share, size_bytes]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (rate_argument, "128", Fraction(128)),
        (rate_argument, "19.5", Fraction(39, 2)),
        (rate_argument, "1000/3", Fraction(1000, 3)),
        (positive, "0.5", 0.5),
        (not_negative, "0", 0.0),
        (share, "0", 0.0),
        (share, "0.999", 0.999),
        (count, "3", 3),
        (size_bytes, "500M", 500 << 20),
        (size_bytes, "2g", 2 << 30),
    ],
)
def test_valid_text_gives_its_value(kind: Type, text: str, value: object) -> None:
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (rate_argument, ["0", "-1", "x", "1/0", "nan", "inf", "1e300", "100001", f"1/{1 << 32}"]),
        (positive, ["0", "-1", "nan", "inf", ""]),
        (not_negative, ["-0.1", "nan", "-inf", "1e999"]),
        (share, ["1", "-0.1", "nan"]),
        (count, ["0", "-1", "1.5", "٣", ""]),
        (size_bytes, ["500", "M", "-1M", "1.5G", ""]),
    ],
)
def test_invalid_text_is_refused_with_a_remedy(kind: Type, texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(ArgumentTypeError, match=r"give|must be"):
            kind(text)


@given(st.text(max_size=12))
def test_any_text_gives_a_value_or_one_sentence(text: str) -> None:
    for kind in TYPES:
        try:
            kind(text)
        except ArgumentTypeError as error:
            sentence = str(error)
            assert "\n" not in sentence


def test_port_that_is_named_twice_is_refused() -> None:
    parser = ArgumentParser()
    add_port_argument(parser, "a port")
    with pytest.raises(ConfigError, match="name one port"):
        port_of(parser.parse_args(["--port", "/dev/ttyUSB0", "--port", "/dev/ttyUSB1"]))
    assert port_of(parser.parse_args(["--port", "/dev/ttyUSB0"])) == "/dev/ttyUSB0"
    assert port_of(parser.parse_args(["/dev/ttyUSB0"])) == "/dev/ttyUSB0"
