"""Measurement of a device's clock by the arrival times of its bytes, which are delayed."""

from fractions import Fraction

import numpy as np
import pytest

from firmware_bridge.serial_port.clock import ClockFit, ClockRate


def measure(ppm: float, seconds: float, seed: int, burst_s: float = 0.016) -> ClockRate | None:
    """The measured rate of a device at 128 Hz that is ppm fast, with delays of up to burst_s and a few longer ones."""
    random = np.random.default_rng(seed)
    fit = ClockFit(Fraction(128))
    samples = np.arange(8, int(seconds * 128), 8)
    taken_s = samples / 128 / (1 + ppm * 1e-6)
    late_s = random.uniform(0, burst_s, len(samples)) + (random.random(len(samples)) < 0.02) * 0.3
    for at, count in zip(np.maximum.accumulate(taken_s + late_s).tolist(), samples.tolist(), strict=True):
        fit.push(5000 + at, count)
    return fit.rate()


@pytest.mark.parametrize("ppm", [0, 150, -2000, 30_000])
def test_clock_error_is_measured_within_the_stated_interval(ppm: float) -> None:
    off = 0
    for seed in range(20):
        rate = measure(ppm, 120, seed)
        assert rate is not None
        assert rate.rate_hz == pytest.approx(128 * (1 + rate.ppm * 1e-6))
        assert abs(rate.ppm - ppm) < 100
        off += abs(rate.ppm - ppm) > rate.error_ppm
    assert off <= 4  # 5 % of 20 are expected


def test_longer_measurement_has_a_smaller_error() -> None:
    short, long = measure(100, 15, 1), measure(100, 300, 1)
    assert short is not None
    assert long is not None
    assert long.error_ppm < short.error_ppm / 5


def test_short_measurement_has_no_rate() -> None:
    assert measure(0, 4, 0) is None
    assert ClockFit(Fraction(4)).rate() is None


def test_bytes_accumulated_before_the_first_read_are_ignored() -> None:
    """The first read returns ten seconds at once."""
    fit = ClockFit(Fraction(128))
    for second in range(10, 60):
        fit.push(100.0 + second + (0.4 if second == 10 else 0.0), 128 * second)
    rate = fit.rate()
    assert rate is not None
    assert abs(rate.ppm) < 1
