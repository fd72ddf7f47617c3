"""Units of time columns, the rates that they show, and repeated times."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import FormatError
from firmware_bridge.tables.rates import is_plausible
from firmware_bridge.tables.times import Timing, seconds_of_iso, timing_of

SECONDS = np.arange(2000) / 16


def timed(times: np.ndarray, tick_s: float | None = None, stated: int | None = None) -> Timing:
    return timing_of(times, tick_s, "'t'", None if stated is None else Fraction(stated))


@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("start", [0.0, 1.7e9])
def test_unit_is_found_by_the_rate_that_it_gives(unit: float, start: float) -> None:
    found = timed(np.round((start + SECONDS) / unit, 4))
    assert found.rate_hz == 16
    assert found.times_s is not None
    np.testing.assert_allclose(found.times_s - start, SECONDS, atol=1e-5)


@pytest.mark.parametrize(
    ("times", "tick_s", "message"),
    [
        (
            SECONDS * 1e3,
            1.0,
            r"shows 0\.016 Hz in seconds, outside of 0\.5 to 4096 Hz.*16 Hz if .* milli.*time_ms",
        ),
        (SECONDS, 1e-3, r"shows 1\.6e\+04 Hz in milliseconds, .*16 Hz if they are seconds: time_s"),
        (SECONDS * 160, 1.0, r"shows 0\.1 Hz in seconds"),
        (np.zeros(100), 1.0, "does not grow: remove it and state the rate"),
        (np.arange(100.0), None, "shows 1 Hz in seconds or 1000 Hz in milliseconds: name it time_s or time_ms"),
    ],
)
def test_implausible_and_ambiguous_rates_are_refused(times: np.ndarray, tick_s: float | None, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        timed(times, tick_s)


def test_stated_rate_chooses_the_unit_and_is_kept() -> None:
    assert timed(np.arange(100.0), None, stated=1).rate_hz == 1
    assert timed(SECONDS * 1.02, 1.0, stated=16).rate_hz == 16
    with pytest.raises(FormatError, match=r"stated rate is 128 Hz but the time column 't' shows 16 Hz in seconds"):
        timed(SECONDS, 1.0, stated=128)
    with pytest.raises(FormatError, match=r"stated rate is 16 Hz but .* \(16 Hz if they are milliseconds: time_ms\)"):
        timed(SECONDS * 1e3, 1.0, stated=16)


def test_times_of_whole_seconds_are_kept_as_coarse() -> None:
    found = timed(1704103200 + np.floor(SECONDS + 0.4), 1.0)
    assert found.coarse
    assert found.rate_hz == 16


def test_times_of_bursts_are_spread_evenly() -> None:
    rng = np.random.default_rng(4)
    arrivals = np.sort(rng.choice(SECONDS, 400, replace=False))
    bursts = arrivals[np.minimum(np.searchsorted(arrivals, SECONDS), 399)]
    for stated in (16, None):
        found = timed(bursts, 1.0, stated=stated)
        assert found.times_s is None
        assert float(found.rate_hz) == pytest.approx(16, rel=0 if stated else 0.005)


def test_times_that_repeat_without_order_are_refused() -> None:
    rng = np.random.default_rng(4)
    with pytest.raises(FormatError, match=r"different times in 2000 lines.* write a time for each sample, or remove"):
        timed(np.sort(rng.choice(np.exp(np.arange(40) / 8), 2000)), 1.0, stated=None)
    with pytest.raises(FormatError, match="has 3 different times in 2000 lines: remove it and state the rate"):
        timed(np.repeat([0.0, 1.0, 2.0], [600, 700, 700]), 1.0)


@pytest.mark.parametrize("unit", [1e-3, 1e-6])
def test_counter_of_32_bits_that_wraps_goes_on(unit: float) -> None:
    times = np.round(SECONDS / unit) + 2**32 - 60 / unit
    found = timed(times % 2**32, unit)
    assert found.times_s is not None
    np.testing.assert_allclose(np.diff(found.times_s), 1 / 16, atol=1e-3)


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        (b"2024-01-01T10:00:00.125", 1704103200.125),
        (b" 2024-01-01 10:00:00,125 ", 1704103200.125),
        (b"2024-01-01T10:00:00.125Z", 1704103200.125),
        (b"2024-01-01T12:00:00.125+02:00", 1704103200.125),
        (b"10:00:01.5", 36001.5),
        (b"9:00:01", 32401.0),
        (b"25:00:01", None),
        (b"yesterday", None),
    ],
)
def test_dates_and_times_of_day_are_seconds(cell: bytes, seconds: float | None) -> None:
    assert seconds_of_iso(cell) == seconds


@given(st.floats(1e-9, 1e9), st.sampled_from([None, 1.0, 1e-3, 1e-6]), st.none() | st.integers(1, 500))
def test_rate_is_plausible_or_refused(step: float, tick_s: float | None, stated: int | None) -> None:
    try:
        found = timed(np.arange(64) * step, tick_s, stated)
    except FormatError:
        return
    assert is_plausible(found.rate_hz)
    assert stated is None or found.rate_hz == stated
