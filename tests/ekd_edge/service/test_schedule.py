"""The schedule of reads, against a simulated device whose bursts arrive at known times."""

from itertools import pairwise

import pytest

from ekd_edge.service.schedule import ReadSchedule

HOP_S = 1.0


class SimulatedPort:
    """A device that sends `burst` samples at a time; `rate_hz` by the host's clock, and the rate that it states."""

    def __init__(self, rate_hz: float, burst: int, stated_hz: float, sample_bytes: int = 4) -> None:
        self.rate_hz, self.burst, self.stated_hz, self.sample_bytes = rate_hz, burst, stated_hz, sample_bytes
        self.read_samples = 0

    def arrived(self, now_s: float) -> int:
        return int(now_s * self.rate_hz / self.burst + 1e-9) * self.burst

    def next_arrival_s(self, now_s: float) -> float:
        return (self.arrived(now_s) / self.burst + 1) * self.burst / self.rate_hz


def run(port: SimulatedPort, seconds: float, has_descriptor: bool = True) -> tuple[list[float], list[float], int]:
    """Times of the reads, delay of each window after the arrival of its last sample, and the largest read in bytes."""
    schedule = ReadSchedule(0.0, has_descriptor, HOP_S)
    hop = round(HOP_S * port.stated_hz)
    reads, delays, largest = [], [], 0
    now_s = 0.0
    while now_s < seconds:
        samples = port.arrived(now_s) - port.read_samples
        windows = port.arrived(now_s) // hop - port.read_samples // hop
        port.read_samples += samples
        if windows:
            last = (port.read_samples // hop) * hop
            burst_end = -(-last // port.burst) * port.burst
            delays.append(now_s - burst_end / port.rate_hz)
        missing = hop - port.read_samples % hop
        missing_s = missing / port.stated_hz if port.read_samples else None
        received = samples * port.sample_bytes
        largest = max(largest, received)
        reads.append(now_s)
        schedule.after_read(now_s, received, samples / port.stated_hz, missing_s, windows > 0)
        now_s = max(now_s + 1e-4, schedule.wake_s)
        if schedule.armed:
            now_s = min(now_s, max(reads[-1] + 1e-4, port.next_arrival_s(reads[-1])))
    return reads, delays, largest


@pytest.mark.parametrize("burst", [1, 8, 16])
@pytest.mark.parametrize("error", [-0.003, 0.0, 0.0005, 0.01])
def test_one_sensor_is_read_twice_a_second_and_each_window_within_milliseconds(burst: int, error: float) -> None:
    reads, delays, _ = run(SimulatedPort(128 * (1 + error), burst, 128), 200)
    late = [read_s for read_s in reads if read_s > 20]
    assert len(late) / 180 < 2.5
    longest = 0.004 if error <= 0.0005 else 0.012 + burst / 128
    assert max(delays[5:]) < longest


def test_port_without_a_descriptor_is_read_within_milliseconds() -> None:
    _, delays, _ = run(SimulatedPort(128, 8, 128), 100, has_descriptor=False)
    assert max(delays[10:]) < 0.006


def test_fast_port_is_read_before_its_buffer_is_full() -> None:
    """1000 Hz of 8 bytes fill 4095 bytes in half a second."""
    reads, _, largest = run(SimulatedPort(1000, 10, 1000, sample_bytes=8), 60)
    assert largest < 4095
    assert max(b - a for a, b in pairwise(reads)) < 0.4


def test_device_that_is_much_faster_than_stated_loses_nothing() -> None:
    """A recording played at ten times its rate; the stated rate says that a second is enough."""
    _, _, largest = run(SimulatedPort(1280, 8, 128), 60)
    assert largest < 4095


def test_port_is_read_at_least_once_a_second_where_windows_are_rare() -> None:
    schedule = ReadSchedule(0.0, True, 60.0)
    schedule.after_read(0.0, 40, 0.06, 60.0, False)
    for second in range(31, 50):
        schedule.after_read(float(second), 500, 1.0, 60.0 - second, False)
        assert not schedule.armed
        assert second < schedule.wake_s <= second + 1.0


def test_clock_is_measured_by_arrivals_in_the_first_half_minute() -> None:
    """Each timed read is followed by one that the next burst starts."""
    reads, _, _ = run(SimulatedPort(121.6, 8, 128), 20)
    on_arrival = [read_s for read_s in reads if abs(read_s * 121.6 / 8 - round(read_s * 121.6 / 8)) < 1e-3]
    assert len(on_arrival) >= 19
