"""A device's clock against the host's, through delays that only ever make bytes late."""

from fractions import Fraction

import numpy as np
import pytest

from firmware_bridge.serial_port.clock import ClockFit, ClockRate


def measure(ppm: float, seconds: float, seed: int, burst_s: float = 0.016) -> ClockRate | None:
    """A device at 128 Hz that is `ppm` fast, its bytes held back for up to burst_s and now and then for longer."""
    random = np.random.default_rng(seed)
    fit = ClockFit(Fraction(128))
    samples = np.arange(8, int(seconds * 128), 8)
    taken_s = samples / 128 / (1 + ppm * 1e-6)
    late_s = random.uniform(0, burst_s, len(samples)) + (random.random(len(samples)) < 0.02) * 0.3
    for at, count in zip(np.maximum.accumulate(taken_s + late_s).tolist(), samples.tolist(), strict=True):
        fit.push(5000 + at, count)
    return fit.rate()


@pytest.mark.parametrize("ppm", [0, 150, -2000, 30_000])
def test_the_difference_is_found_within_the_stated_error(ppm: float) -> None:
    off = 0
    for seed in range(20):
        rate = measure(ppm, 120, seed)
        assert rate is not None
        assert rate.rate_hz == pytest.approx(128 * (1 + rate.ppm * 1e-6))
        assert abs(rate.ppm - ppm) < 100
        off += abs(rate.ppm - ppm) > rate.error_ppm
    assert off <= 4  # 5 % of 20 expected


def test_longer_is_surer() -> None:
    short, long = measure(100, 15, 1), measure(100, 300, 1)
    assert short is not None
    assert long is not None
    assert long.error_ppm < short.error_ppm / 5


def test_nothing_is_said_too_early() -> None:
    assert measure(0, 4, 0) is None
    assert ClockFit(Fraction(4)).rate() is None


def test_what_a_port_had_gathered_does_not_count() -> None:
    """The first read brings ten seconds at once."""
    fit = ClockFit(Fraction(128))
    for second in range(10, 60):
        fit.push(100.0 + second + (0.4 if second == 10 else 0.0), 128 * second)
    rate = fit.rate()
    assert rate is not None
    assert abs(rate.ppm) < 1
