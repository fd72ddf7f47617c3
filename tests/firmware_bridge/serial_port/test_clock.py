"""Measurement of a device's clock by the arrival times of its bytes, which are delayed."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware_bridge.serial_port import clock
from firmware_bridge.serial_port.clock import ClockFit, ClockRate

Reads = Callable[["Line"], NDArray[np.float64]]


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


@dataclass(frozen=True)
class Line:
    """A device at 128 Hz that sends frames of eight samples, by the host's clock.

    measured_s: when the last sample of each frame was measured. arrived_s: when the frame arrived.
    """

    measured_s: NDArray[np.float64]
    arrived_s: NDArray[np.float64]
    samples: NDArray[np.int64]

    @classmethod
    def of(cls, ppm: float, seconds: float, seed: int = 1, latency_s: float = 0.004) -> "Line":
        random = np.random.default_rng(seed)
        samples = np.arange(8, int(seconds * 128), 8)
        measured_s = 5000 + random.uniform(0, 0.06) + samples / 128 / (1 + ppm * 1e-6)
        arrived_s = np.maximum.accumulate(measured_s + latency_s + random.exponential(0.002, len(samples)))
        return cls(measured_s, arrived_s, samples)

    def pushed_to(
        self, fit: ClockFit, reads_s: NDArray[np.float64], lost_s: tuple[float, float] = (0, 0)
    ) -> list[tuple[float, float]]:
        """The time of each read, and the error in seconds of the time that the fit gives for its last sample.

        lost_s: an interval in which the host is suspended: it does not read, and its clock does not count.
        """
        errors = []
        for read_s in reads_s.tolist():
            frames = int(np.searchsorted(self.arrived_s, read_s, side="right"))
            if not frames or lost_s[0] <= read_s < lost_s[1]:
                continue
            behind_s = lost_s[1] - lost_s[0] if read_s >= lost_s[1] else 0.0
            fit.push(read_s - behind_s, int(self.samples[frames - 1]))
            if (time_s := fit.time_of(int(self.samples[frames - 1]) - 1)) is not None:
                errors.append((read_s, time_s + behind_s - float(self.measured_s[frames - 1])))
        return errors


def largest(errors: list[tuple[float, float]], from_s: float, to_s: float = float("inf")) -> float:
    return max(abs(error_s) for read_s, error_s in errors if from_s <= read_s < to_s)


def at_arrivals(line: Line) -> NDArray[np.float64]:
    return np.unique(np.ceil(line.arrived_s / 0.001) * 0.001)


def at_windows(line: Line) -> NDArray[np.float64]:
    """Once a second, soon after the frame that completes a window."""
    random = np.random.default_rng(3)
    last: NDArray[np.float64] = line.arrived_s[15::16]
    return last + random.uniform(0, 0.01, len(last))


def five_times_a_second(line: Line) -> NDArray[np.float64]:
    random = np.random.default_rng(4)
    reads_s = np.arange(line.arrived_s[0], line.arrived_s[-1], 0.2)
    return reads_s + random.uniform(0, 0.05, len(reads_s))


READS = [at_arrivals, at_windows, five_times_a_second]


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("ppm", [-300, 0, 300, 5000])
def test_clock_error_is_measured_with_few_reads(ppm: float, reads: Reads) -> None:
    line = Line.of(ppm, 240)
    fit = ClockFit(Fraction(128))
    line.pushed_to(fit, reads(line))
    rate = fit.rate()
    assert rate is not None
    assert abs(rate.ppm - ppm) < min(40.0, rate.error_ppm + 5)
    assert rate.error_ppm < 500


@pytest.mark.parametrize("every_s", [0.25, 0.5, 1.0])
def test_stated_interval_contains_an_error_that_regular_reads_hide(every_s: float) -> None:
    """Four or sixteen frames fit into each read, until after three minutes another frame has slipped in."""
    line = Line.of(300, 150)
    fit = ClockFit(Fraction(128))
    line.pushed_to(fit, np.arange(5000.3, 5150, every_s))
    rate = fit.rate()
    assert rate is not None
    assert abs(rate.ppm - 300) < rate.error_ppm < 1000


def test_read_that_comes_earlier_each_time_is_no_certain_clock_error() -> None:
    """A schedule that looks for the earliest time at which a window is complete, then reads at arrivals."""
    fit = ClockFit(Fraction(128))
    for i in range(1, 20):
        fit.push(5000 + 0.998 * i, 128 * i)
        fit.push(5000.001 + 0.998 * i, 128 * i + 8 * (i > 17))
        rate = fit.rate()
        assert rate is None or abs(rate.ppm) < rate.error_ppm


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("ppm", [-300, 300])
def test_time_of_a_sample_is_within_twenty_milliseconds(ppm: float, reads: Reads) -> None:
    line = Line.of(ppm, 400)
    fit = ClockFit(Fraction(128))
    assert fit.time_of(0) is None
    errors = line.pushed_to(fit, reads(line))
    assert len(errors) > 380
    assert errors[0][0] < 5010
    assert largest(errors, 5030) < 0.02
    later = fit.time_of(128 * 1000)
    assert later is not None
    assert later == pytest.approx(line.measured_s[0] + (128 * 1000 - 7) / 128 / (1 + ppm * 1e-6), abs=0.1)


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("for_s", [0.3, 3.0, 600.0])
def test_time_of_a_sample_is_right_after_the_host_was_suspended(for_s: float, reads: Reads) -> None:
    line = Line.of(300, 300 + for_s)
    fit = ClockFit(Fraction(128))
    errors = line.pushed_to(fit, reads(line), (5100.0, 5100.0 + for_s))
    assert largest(errors, 5030, 5100) < 0.02
    assert largest(errors, 5115 + for_s) < 0.02


def test_samples_that_a_stopped_process_lost_shift_the_times_after_a_while() -> None:
    """The device does not count the samples that the port could not buffer."""
    line = Line.of(0, 400)
    fit = ClockFit(Fraction(128))
    early = line.arrived_s < 5100
    late = line.arrived_s >= 5130
    shifted = np.concatenate([line.samples[early], line.samples[late] - 30 * 128])
    kept = Line(
        np.concatenate([line.measured_s[early], line.measured_s[late]]),
        np.concatenate([line.arrived_s[early], line.arrived_s[late]]),
        shifted,
    )
    errors = kept.pushed_to(fit, at_arrivals(kept))
    assert largest(errors, 5030) < 0.02
    assert not [read_s for read_s, _ in errors if 5130 < read_s < 5220]
    assert errors[-1][0] > 5390


@pytest.mark.parametrize("nominal_hz", [Fraction(1, 10**9), Fraction(10**9), Fraction(1000, 3)])
@pytest.mark.parametrize("step", [0, 1, 10**12])
def test_any_rate_and_count_are_measured_without_an_exception(nominal_hz: Fraction, step: int) -> None:
    fit = ClockFit(nominal_hz)
    for i in range(200):
        fit.push(i * 0.5, step * i)
        fit.rate()
        fit.time_of(step * i)


def test_line_is_fitted_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = 0
    fitted = clock._fit

    def counting(points: object) -> object:
        nonlocal fits
        fits += 1
        return fitted(points)  # type: ignore[arg-type]

    monkeypatch.setattr(clock, "_fit", counting)
    fit = ClockFit(Fraction(128))
    for i in range(16 * 900):
        fit.push(5000 + i / 16, 8 * i)
        fit.rate()
        fit.time_of(8 * i)
    assert fits < 100
