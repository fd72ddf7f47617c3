"""Messages about a running device, and their frequency."""

from fractions import Fraction

import numpy as np

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
        messages.append(health.check(10 + i / 10, 10 + i / 10, counts, 0))
    sentences = [sentence for sentence in messages if sentence]
    assert 9 <= len(sentences) <= 11
    assert sentences[0] == "1 damaged frames or lines, 8 samples lost (in total 1 and 8)"
    total = int(sentences[-1].split("in total ")[1].split()[0])
    assert sum(int(sentence.split()[0]) for sentence in sentences) == total


def test_device_without_faults_gives_no_message() -> None:
    health = DeviceHealth("/dev/x")
    assert [health.check(i, i, GOOD, 0) for i in range(30)] == [None] * 30


def test_silence_is_reported_once_each_time() -> None:
    health = DeviceHealth("/dev/x")
    assert health.check(2.0, 0.0, GOOD, 0) is None
    assert (
        health.check(3.5, 0.0, GOOD, 0)
        == "no data has come from /dev/x for 4 s: check the wiring, the baud rate and the device format"
    )
    assert health.check(9.0, 0.0, GOOD, 0) is None
    assert health.check(10.0, 9.9, GOOD, 0) is None
    assert "for 3 s" in str(health.check(12.9, 9.9, GOOD, 0))


def test_device_status_changes_are_reported() -> None:
    health = DeviceHealth("/dev/x")
    messages = [
        health.check(float(i), float(i), StreamCounts(samples=9, status=status), 0)
        for i, status in enumerate(
            [None, Status(0, 0, False), Status(0, 0, True), Status(0, 5, True), Status(8, 5, True), Status(8, 5, False)]
        )
    ]
    assert messages == [
        None,
        None,
        "an electrode is off",
        None,
        "the device has lost 8 samples internally since it started",
        "the electrodes are on again",
    ]


def test_restart_is_reported_once() -> None:
    health = DeviceHealth("/dev/x")
    assert health.check(0, 0, GOOD, 0) is None
    assert health.check(2, 2, GOOD, 1) == "the device has restarted"
    assert health.check(4, 4, GOOD, 1) is None


def rate_messages(true_hz: float, seconds: int = 40) -> list[str]:
    health = DeviceHealth("/dev/x")
    messages = []
    for second in range(1, seconds):
        now = second * 128 / true_hz
        health.add_block(block(128 * (second - 1)), now)
        messages.append(health.check(now, now, GOOD, 0))
    return [sentence for sentence in messages if sentence]


def test_rate_that_differs_from_the_stated_one_is_reported_once() -> None:
    assert rate_messages(100.0) == ["100 samples a second arrive, not the stated 128: check the sampling rate"]
    assert rate_messages(131.0) == ["131 samples a second arrive, not the stated 128: check the sampling rate"]


def test_crystal_error_or_playback_speed_is_not_reported() -> None:
    assert rate_messages(128.3) == []
    assert rate_messages(128 * 20) == []
