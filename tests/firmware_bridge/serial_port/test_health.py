"""Messages about a running device, and their frequency."""

import re
from fractions import Fraction

import numpy as np
import pytest

from firmware_bridge.devices.ekd.frame import Status
from firmware_bridge.devices.stream import RawBlock, StreamCounts
from firmware_bridge.serial_port.health import DeviceHealth

GOOD = StreamCounts(samples=1000)


def block(first_index: int, n: int = 128, segment: int = 0) -> RawBlock:
    return RawBlock(np.zeros(n), first_index, Fraction(128), segment)


def test_damage_is_reported_once_a_second_at_most_and_adds_up() -> None:
    health = DeviceHealth("/dev/x")
    messages = []
    for i in range(100):
        counts = StreamCounts(samples=1000, rejected=i, dropped=8 * i)
        messages.append(health.check(10 + i / 10, 10 + i / 10, counts, 0, i))
    sentences = [sentence for sentence in messages if sentence]
    assert 9 <= len(sentences) <= 11
    assert sentences[0] == "1 damaged frames or lines from /dev/x, 8 samples lost (in total 1 and 8)"
    total = int(sentences[-1].split("in total ")[1].split()[0])
    assert sum(int(sentence.split()[0]) for sentence in sentences) == total


def test_device_without_faults_gives_no_message() -> None:
    health = DeviceHealth("/dev/x")
    assert [health.check(i, i, GOOD, 0, i) for i in range(30)] == [None] * 30


def test_silence_is_reported_once_each_time() -> None:
    health = DeviceHealth("/dev/x")
    sentence = "no data has come from /dev/x for 4 s: check the wiring, the baud rate and the device format"
    assert health.check(2.0, 0.0, GOOD, 0, 500) is None
    assert health.problem is None
    assert health.check(3.5, 0.0, GOOD, 0, 500) == sentence
    assert health.check(9.0, 0.0, GOOD, 0, 500) is None
    assert health.problem == sentence
    assert health.check(10.0, 9.9, GOOD, 0, 900) is None
    assert health.problem is None
    assert "for 3 s" in str(health.check(12.9, 9.9, GOOD, 0, 910))


def test_silence_of_a_slow_sensor_begins_after_three_periods() -> None:
    health = DeviceHealth("/dev/x")
    health.add_block(RawBlock(np.zeros(1), 0, Fraction(1, 5), 0), 0.0)
    assert health.check(14.0, 0.0, GOOD, 0, 500) is None
    assert "no data has come" in str(health.check(15.5, 0.0, GOOD, 0, 500))


def test_bytes_without_samples_are_reported_in_a_running_stream() -> None:
    health = DeviceHealth("/dev/x")
    messages = [health.check(4 + i / 2, 4.0, GOOD, 0, 500 + 25 * i) for i in range(20)]
    advice = "check the wiring, the baud rate and the device format"
    sentence = f"150 bytes have come from /dev/x, but no samples, for 3 s: {advice}"
    assert [message for message in messages if message] == [sentence]
    assert health.problem == sentence
    assert health.check(14.0, 13.9, GOOD, 0, 9999) is None
    assert health.problem is None


def test_noise_after_silence_is_a_second_message() -> None:
    health = DeviceHealth("/dev/x")
    assert "no data has come" in str(health.check(4.0, 0.0, GOOD, 0, 100) or health.check(5.0, 0.0, GOOD, 0, 101))
    assert "400 bytes have come from /dev/x, but no samples, for 8 s" in str(health.check(8.0, 0.0, GOOD, 0, 500))


def test_bytes_before_the_first_sample_have_time() -> None:
    """The rate of lines with a time column is measured by the first eight lines."""
    health = DeviceHealth("/dev/x")
    assert [health.check(i, 0.0, StreamCounts(), 0, 20 * i) for i in range(20)] == [None] * 20
    assert "420 bytes have come from /dev/x, but no samples, for 21 s" in str(
        health.check(21.0, 0.0, StreamCounts(), 0, 420)
    )


def test_device_status_changes_are_reported() -> None:
    health = DeviceHealth("/dev/x")
    messages = [
        health.check(float(i), float(i), StreamCounts(samples=9, status=status), 0, 0)
        for i, status in enumerate(
            [None, Status(0, 0, False), Status(0, 0, True), Status(0, 5, True), Status(8, 5, True), Status(8, 5, False)]
        )
    ]
    assert messages == [
        None,
        None,
        "an electrode of /dev/x is off",
        None,
        "the device at /dev/x has lost 8 samples internally since it started",
        "the electrodes of /dev/x are on again",
    ]


def test_restart_is_reported_once() -> None:
    health = DeviceHealth("/dev/x")
    assert health.check(0, 0, GOOD, 0, 0) is None
    assert health.check(2, 2, GOOD, 1, 0) == "the device at /dev/x has restarted"
    assert health.check(4, 4, GOOD, 1, 0) is None


def read_at(
    true_hz: float,
    stated_hz: int,
    seconds: int,
    every_s: float = 0.25,
    health: DeviceHealth | None = None,
    from_s: int = 0,
) -> tuple[list[tuple[float, str]], DeviceHealth]:
    """The messages with their times about a device that is read at regular intervals."""
    health = health or DeviceHealth("/dev/x")
    messages = []
    for i in range(1, int(seconds / every_s) + 1):
        now = from_s + i * every_s
        if (count := int((now - from_s) * true_hz)) > 0:
            health.add_block(RawBlock(np.zeros(1), count - 1, Fraction(stated_hz), from_s), now)
        if message := health.check(now, now, GOOD, 0, 0):
            messages.append((now, message))
    return messages, health


@pytest.mark.parametrize("every_s", [1 / 16, 0.25, 1.0])
@pytest.mark.parametrize(
    ("true_hz", "stated_hz"), [(100, 10), (100, 128), (10, 1000), (10, 128), (4000, 0.5), (300, 128)]
)
def test_wrong_rate_is_a_problem_within_fifteen_seconds(true_hz: float, stated_hz: float, every_s: float) -> None:
    health = DeviceHealth("/dev/x")
    for i in range(1, round(16 / every_s)):
        now = 500 + i * every_s
        health.add_block(RawBlock(np.zeros(1), int(i * every_s * true_hz), Fraction(stated_hz), 0), now)
        message = health.check(now, now, GOOD, 0, 0)
        if message is not None:
            break
    assert now < 515.5
    expected = (
        rf"([0-9.e+]+) samples a second arrive at /dev/x, not the stated {stated_hz:g}: correct the sampling rate"
    )
    match = re.fullmatch(expected, str(message))
    assert match is not None, message
    assert float(match[1]) == pytest.approx(true_hz, rel=0.05)
    assert health.problem == message


def test_problem_ends_when_the_rate_is_right_again() -> None:
    messages, health = read_at(100, 128, 30)
    assert len(messages) == 1
    assert health.problem is not None
    later, health = read_at(128, 128, 30, health=health, from_s=100)
    assert [message for _, message in later] == ["128 samples a second arrive at /dev/x, as stated"]
    assert health.problem is None


def test_problem_ends_when_another_rate_is_stated() -> None:
    _, health = read_at(100, 128, 30)
    assert health.problem is not None
    health.add_block(RawBlock(np.zeros(8), 0, Fraction(100), 0), 40.0)
    assert health.problem is None


def test_clock_error_of_some_percent_is_noticed_once_and_no_problem() -> None:
    messages, health = read_at(131, 128, 60)
    assert [message for _, message in messages] == [
        "131 samples a second arrive at /dev/x, not the stated 128: check the sampling rate"
    ]
    assert health.problem is None


def test_crystal_error_is_not_reported() -> None:
    assert read_at(128.3, 128, 60)[0] == []


def test_speed_of_a_simulated_device_is_not_checked() -> None:
    assert read_at(128 * 20, 128, 40, health=DeviceHealth("sim://", simulated=True))[0] == []


def arrivals(hz: float, seconds: float, every_s: float = 0.25) -> list[tuple[float, int]]:
    """Time of each read, and the number of samples that had been sent."""
    return [(i * every_s, int(i * every_s * hz)) for i in range(1, int(seconds / every_s))]


def suspended(reads: list[tuple[float, int]], at_s: float, for_s: float) -> list[tuple[float, int]]:
    """The host's clock stops while the device counts on."""
    return [(t if t < at_s else t - for_s, n) for t, n in reads if not at_s <= t < at_s + for_s]


def stopped(reads: list[tuple[float, int]], at_s: float, for_s: float, kept: int) -> list[tuple[float, int]]:
    """The process stops; the port buffers no more than `kept` samples, and the sender does not count the others."""
    before = max(n for t, n in reads if t < at_s)
    lost = max(0, min(n for t, n in reads if t >= at_s + for_s) - before - kept)
    return [(t, n if t < at_s else n - lost) for t, n in reads if not at_s <= t < at_s + for_s]


def delayed(reads: list[tuple[float, int]], at_s: float, for_s: float) -> list[tuple[float, int]]:
    """Nothing arrives for some time; then the delayed bytes arrive twice as fast as they were measured."""
    held = max(n for t, n in reads if t < at_s)
    hz = reads[-1][1] / reads[-1][0]
    caught_up = [(t, min(n, held + int(2 * hz * max(0.0, t - at_s - for_s)))) for t, n in reads]
    return [(t, n) for (t, n) in caught_up if not at_s <= t < at_s + for_s]


INTERRUPTIONS = [
    (fault, for_s, at_s)
    for fault in ("suspended", "stopped", "stopped and all lost", "delayed")
    for for_s in (0.3, 2.0, 8.0, 60.0)
    for at_s in (2.0, 4.0, 8.0, 14.0, 40.0, 100.0)
    if not (fault == "delayed" and for_s > 8 and at_s < 8)  # a long burst is the rate, as long as no other is known
]


@pytest.mark.parametrize("every_s", [1 / 16, 0.25, 1.0])
@pytest.mark.parametrize(("fault", "for_s", "at_s"), INTERRUPTIONS)
def test_interruption_is_not_reported_as_a_wrong_rate(fault: str, for_s: float, at_s: float, every_s: float) -> None:
    reads = arrivals(128, at_s + for_s + 200, every_s)
    match fault:
        case "suspended":
            reads = suspended(reads, at_s, for_s)
        case "delayed":
            reads = delayed(reads, at_s, for_s)
        case _:
            reads = stopped(reads, at_s, for_s, 0 if "lost" in fault else 512)
    health = DeviceHealth("/dev/x")
    for now, count in reads:
        health.add_block(block(count - 1, 1), now)
        assert health.check(now, now, GOOD, 0, 0) is None
        assert health.problem is None
    clock = health.clock
    assert clock is not None
    assert abs(clock.ppm) < 300
