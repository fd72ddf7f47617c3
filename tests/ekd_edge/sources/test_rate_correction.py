"""Changes of the rate that is used for a device, and the segments that they begin."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sources.placement import Placement
from ekd_edge.sources.rate_correction import RateCorrection
from firmware_bridge.serial_port.clock import ClockRate

HZ = Fraction(128)


def clock(rate_hz: float, error_ppm: float = 50) -> ClockRate:
    return ClockRate(rate_hz, (rate_hz / 128 - 1) * 1e6, error_ppm)


def test_rate_follows_the_clock_where_the_error_is_too_large() -> None:
    rate = RateCorrection()
    used = [rate(HZ, clock(hz)) for hz in (128, 128.1, 128.4, 128.41, 129, 129.01, 128)]
    assert used == [128, 128, Fraction("128.4"), Fraction("128.4"), 129, 129, 128]


@pytest.mark.parametrize(
    ("hz", "error_ppm", "used"), [(128.5, 499, 128.5), (128.5, 501, 128), (132.0, 3000, 132), (132.0, 3200, 128)]
)
def test_rate_is_corrected_once_its_error_is_certain(hz: float, error_ppm: float, used: float) -> None:
    assert float(RateCorrection()(HZ, clock(hz, error_ppm))) == used


@pytest.mark.parametrize("stated_hz", ["1/2", "1/999", "4000"])
def test_corrected_rate_is_exact_to_seven_digits(stated_hz: str) -> None:
    stated = Fraction(stated_hz)
    true_hz = float(stated) * 1.02
    assert float(RateCorrection()(stated, ClockRate(true_hz, 20_000, 10))) == pytest.approx(true_hz, rel=1e-6)


@given(st.lists(st.tuples(st.floats(110, 150), st.integers(1, 10**7)), min_size=1, max_size=40))
def test_time_grows_within_each_segment_for_any_changes_of_the_rate(steps: list[tuple[float, int]]) -> None:
    """A sample's time is its index divided by the rate: 24 hours at 128 Hz, then 128.4."""
    placement, index, latest = Placement(0), 0, {0: -1.0}
    for true_hz, samples in steps:
        block = placement(SampleBlock(np.zeros(1), index, HZ, 0), clock(true_hz), lambda _: None)
        time_s = float(block.first_index / block.rate_hz)
        assert time_s > latest.get(block.segment, -1.0)
        latest[block.segment] = time_s
        index += samples
