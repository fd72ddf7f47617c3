"""The Grove sensor: Seeed's formula, and the detection of its sketch by the line rate."""

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware_bridge.devices.detect import DetectingDecoder, open_decoder
from firmware_bridge.devices.stated_unit import unit_of
from firmware_bridge.devices.stream import StreamOptions
from firmware_bridge.errors import ConfigError


@pytest.mark.parametrize(("zero", "count"), [(None, 300), (None, 511), ("480", 300)])
def test_conductance_follows_seeeds_formula(zero: str | None, count: int) -> None:
    decoder = open_decoder("grove" if zero is None else f"grove:zero={zero}", StreamOptions(live=False))
    blocks = decoder.feed(b"%d\r\n" % count * 5) + decoder.finish()
    resistance = (1024 + 2 * count) * 10_000 / (int(zero or 512) - count)
    assert unit_of(blocks[0]).to_microsiemens(blocks[0].values)[0] == pytest.approx(1e6 / resistance)


def test_default_rate_does_not_replace_the_sketchs_rate() -> None:
    for options, rate_hz in [
        (StreamOptions(live=False, default_rate_hz=Fraction(128)), Fraction(39, 2)),
        (StreamOptions(Fraction(20), live=False, default_rate_hz=Fraction(128)), Fraction(20)),
    ]:
        decoder = open_decoder("grove", options)
        assert {block.rate_hz for block in decoder.feed(b"388\r\n" * 5) + decoder.finish()} == {rate_hz}


@pytest.mark.parametrize("zero", ["0", "1024", "x", "-3"])
def test_invalid_reading_with_open_electrodes_is_refused(zero: str) -> None:
    with pytest.raises(ConfigError, match="reading with open electrodes, 1 to 1023"):
        open_decoder(f"grove:zero={zero}")


def detected(
    lines: Iterable[bytes], lines_per_s: float, seconds: float = 3.0, late: tuple[float, float] = (0.0, 0.0)
) -> str | None:
    """The detected format of a device that prints lines at this rate, with jitter.

    late: start and end of an interval in which the host does not read.
    """
    now = [50.0]
    random = np.random.default_rng(1)
    decoder = DetectingDecoder(StreamOptions(Fraction(20), clock=lambda: now[0]))
    waiting = b""
    source = iter(lines)
    for i in range(int(seconds * lines_per_s)):
        at_s = i / lines_per_s + random.uniform(0, 0.01)
        waiting += next(source)
        if late[0] <= at_s < late[1]:
            continue
        if waiting.count(b"\n") > 1:
            now[0] = 50 + late[1]
            decoder.feed(waiting[: -len(waiting.splitlines(keepends=True)[-1])])
            waiting = waiting.splitlines(keepends=True)[-1]
        now[0] = 50 + at_s
        decoder.feed(waiting)
        waiting = b""
        if decoder.format is not None:
            return decoder.format.name
    return None


def bare() -> Iterable[bytes]:
    while True:
        yield b"388\r\n"


def test_line_rate_identifies_the_sketch() -> None:
    assert detected(bare(), 19.5) == "grove"
    assert detected(bare(), 19.2) == "grove"


@settings(max_examples=40)
@given(st.floats(0, 2.5), st.floats(0, 1.0))
@example(0.0, 1.0)
def test_line_rate_identifies_the_sketch_despite_a_delayed_host(since_s: float, for_s: float) -> None:
    late = (since_s, since_s + for_s)
    assert detected(bare(), 19.5, 4.0, late) == "grove"
    assert detected(bare(), 20.0, 4.0, late) == "csv"


@pytest.mark.parametrize("lines_per_s", [4.0, 10.0, 15.0, 20.0, 25.0, 50.0, 128.0, 1000.0])
def test_other_line_rates_are_csv(lines_per_s: float) -> None:
    assert detected(bare(), lines_per_s) == "csv"


@pytest.mark.parametrize("line", [b"388\n", b"388,1\r\n", b"3.88\r\n", b"1388\r\n", b"gsr\r\n388\r\n"])
def test_other_lines_at_the_same_rate_are_not_grove(line: bytes) -> None:
    assert detected([line] * 100, 19.5) in ("csv", None)
