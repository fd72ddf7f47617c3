"""Parsing of line faults, and the bytes that a UART receives at another baud rate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.emulation.line_faults import Fault, damage, misread, parse_fault
from firmware_bridge.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("reset@3", Fault("reset", at_s=3.0)),
        ("unplug", Fault("unplug")),
        ("unplug=2@10", Fault("unplug", 2.0, 10.0)),
        ("flip=1e-3", Fault("flip", 1e-3)),
        ("ppm=-500@1.5", Fault("ppm", -500.0, 1.5)),
    ],
)
def test_fault_text_is_parsed(text: str, expected: Fault) -> None:
    assert parse_fault(text) == expected


@pytest.mark.parametrize(
    "text", ["", "fire", "reset=3", "flip", "flip=2", "stall", "stall=-1", "drop=.", "ppm=1e7", "reset@"]
)
def test_malformed_faults_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not a fault|is out of range|has an invalid number"):
        parse_fault(text)


@given(st.binary(max_size=40))
def test_same_baud_rate_reads_the_sent_bytes(data: bytes) -> None:
    assert misread(data, 9600, 9600) == data


@given(st.binary(min_size=1, max_size=40))
def test_baud_rate_error_of_two_percent_is_tolerated(data: bytes) -> None:
    assert misread(data, 117647, 115200) == data


def test_fast_reader_receives_many_characters_from_a_slow_sender() -> None:
    # 'U' at 9600 baud alternates every 104 us. At 115200 baud each low level is a zero without a stop bit, or its end.
    received = misread(b"U" * 10, 9600, 115200)
    assert len(received) >= 40
    assert set(received) <= {0, 0xE0, 0xC0, 0xF0, 0x80, 0xF8, 0xFC, 0xFE}


def test_slow_reader_receives_few_characters_from_a_fast_sender() -> None:
    assert 1 <= len(misread(bytes(range(120)), 115200, 9600)) <= 20


def test_damage_is_reproducible() -> None:
    data = bytes(range(256))
    faults = [Fault("flip", 0.01), Fault("drop", 0.01)]
    first, again = (damage(data, faults, np.random.default_rng(4)) for _ in range(2))
    assert first == again != data
