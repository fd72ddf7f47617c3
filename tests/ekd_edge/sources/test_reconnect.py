"""A port through unplugging, renaming, resets and wrong clocks; each on a real node."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.errors import PortError
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sources.rate_correction import RateCorrection
from ekd_edge.sources.reconnect import Backoff, Connection, ReconnectPolicy
from ekd_edge.sources.sensor import SensorOptions
from firmware_bridge.devices.ekd.emulator import EkdEmulator
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.emulation.line_faults import Fault
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.serial_port.clock import ClockRate
from firmware_bridge.synthesis import simulated_blocks
from tests.helpers.load import LOAD_S

HZ = Fraction(128)
EKD = SensorOptions("ekd")


def endless() -> Iterator[np.ndarray]:
    return simulated_blocks(128.0, 1, 64)


def device(seconds: float = 20, faults: tuple[Fault, ...] = (), speed: float = 0) -> Player:
    blocks = islice(endless(), int(seconds * 2))
    return Player(EkdEmulator(Waveform(blocks, HZ)), speed, faults=faults)


@contextmanager
def reading(
    port: str | Path, persistence: ReconnectPolicy | None = None, options: SensorOptions = EKD
) -> Iterator[tuple[list[SampleBlock], list[str], Connection]]:
    """Blocks and messages of a connection that reads in the background."""
    blocks: list[SampleBlock] = []
    messages: list[str] = []
    stop = Event()
    with Connection(str(port), options, messages.append, persistence) as connection:
        thread = Thread(target=lambda: blocks.extend(connection.blocks(stop)))
        thread.start()
        try:
            yield blocks, messages, connection
        finally:
            stop.set()
            thread.join(10)
    assert not thread.is_alive()


def until(condition: Callable[[], bool], timeout_s: float = 300) -> float:
    """Wait until the condition is true; returns the seconds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s
        time.sleep(0.01)
    return time.monotonic() - began


def test_reading_resumes_when_the_device_returns_under_the_same_name(tmp_path: Path) -> None:
    link = tmp_path / "sensor"
    player = device(60, (Fault("unplug", 1.0, 20.0), Fault("unplug", 1.0, 40.0)), speed=20)
    with PtyDevice(player, link), reading(link) as (blocks, messages, connection):
        until(lambda: len({block.segment for block in blocks}) == 3)
        until(lambda: sum(len(b.values) for b in blocks if b.segment == 2) > 10 * 128)
    assert {block.segment for block in blocks} == {0, 1, 2}
    assert connection.counts.samples == sum(len(block.values) for block in blocks)
    assert [sentence.split(":")[-1].strip() for sentence in messages if sentence.startswith("reading")] == [
        "ekd ekd-sim at 128 Hz"
    ] * 3
    assert sum("went away" in sentence for sentence in messages) >= 2
    assert len(messages) <= 8


def test_device_is_read_within_seconds_of_its_return(tmp_path: Path) -> None:
    link = tmp_path / "sensor"
    with PtyDevice(device(5), link) as first, reading(link) as (blocks, _, _connection):
        first.wait(300)
        until(lambda: not link.exists())
        time.sleep(6)  # pauses between attempts have grown beyond two seconds by now
        had = len(blocks)
        with PtyDevice(device(5), link):
            assert until(lambda: len(blocks) > had) < 1.5 + LOAD_S


def test_state_is_safe_from_other_threads(tmp_path: Path) -> None:
    link = tmp_path / "sensor"
    player = device(400, tuple(Fault("unplug", 0.05, 60.0 * k) for k in (1, 2, 3)), speed=100)
    with PtyDevice(player, link) as played, reading(link) as (_, _, connection):
        asked = 0
        while not played.wait(0):
            state = connection.state
            assert state.connected == (state.about != "")
            assert connection.counts.samples >= 0
            asked += 1
    assert asked > 100
    assert connection.openings == 4


def test_device_reconnects_forty_times(tmp_path: Path) -> None:
    link = tmp_path / "sensor"
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with PtyDevice(device(2), link) as first, reading(link) as (blocks, messages, connection):
        first.wait(300)
        for turn in range(40):
            with PtyDevice(device(1), link):
                until(lambda turn=turn: blocks and blocks[-1].segment == turn + 1)
    assert {block.segment for block in blocks} == set(range(41))
    assert connection.counts.samples == sum(len(block.values) for block in blocks)
    assert len(messages) <= 2 * 41 + 2
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors + 2


def test_reopened_port_has_a_problem_until_samples_come(tmp_path: Path) -> None:
    link = tmp_path / "sensor"
    with PtyDevice(device(2), link) as first, reading(link) as (blocks, _, connection):
        first.wait(300)
        until(lambda: not link.exists())
        assert blocks
        with PtyDevice(device(5, speed=0.001), link):
            until(lambda: connection.state.connected and connection.openings == 2)
            problem = connection.state.problem
        with PtyDevice(device(5), link):
            until(lambda: blocks[-1].segment > 0)
            assert connection.state.problem is None
    assert problem == f"{link} went away: check the plug and the cable, then start again"


def test_mistyped_port_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(PortError, match="does not exist"):
        Connection(str(tmp_path / "ttyUSB7"), EKD, print)


def test_wait_starts_when_the_sensor_is_plugged_in(tmp_path: Path) -> None:
    link = tmp_path / "sensor"
    with reading(link, ReconnectPolicy(wait=True)) as (blocks, messages, _):
        time.sleep(0.6)
        assert blocks == []
        with PtyDevice(device(5), link):
            until(lambda: sum(len(block.values) for block in blocks) > 500)
    assert "does not exist" in messages[0]
    assert messages[0].endswith("; waiting for it")


def test_reading_without_reconnect_ends_with_the_device() -> None:
    with PtyDevice(device(3)) as plugged:
        connection = Connection(plugged.path, EKD, lambda messages: None, ReconnectPolicy(reconnect=False))
        with pytest.raises(PortError, match="went away"), connection:
            list(connection.blocks())
    assert connection.counts.samples == 3 * 128


def test_end_of_a_simulated_sensor_is_not_an_error() -> None:
    with Connection("sim://?seconds=5&speed=0", SensorOptions(), lambda messages: None) as connection:
        assert sum(len(block.values) for block in connection.blocks()) == 640


@given(st.lists(st.floats(0, 1), min_size=12, max_size=12))
def test_pauses_double_up_to_a_minute(chances: list[float]) -> None:
    drawn = iter(chances)
    back_off = Backoff(lambda: next(drawn))
    pauses = [back_off.pause_s() for _ in range(12)]
    for attempt, pause in enumerate(pauses):
        full = min(0.5 * 2**attempt, 60.0)
        assert full / 2 <= pause <= full
    back_off.reset()
    assert Backoff(lambda: 0.0).pause_s() == 0.25


def clock(ppm: float, error_ppm: float = 50) -> ClockRate:
    return ClockRate(128 * (1 + ppm * 1e-6), ppm, error_ppm)


def test_large_clock_error_is_corrected_once_it_is_certain() -> None:
    rate = RateCorrection()
    assert rate(HZ, None) == 128
    assert rate(HZ, clock(30_000, 5000)) == 128
    assert rate(HZ, clock(30_000)) == Fraction(13184, 100)
    assert rate(HZ, clock(30_100)) == Fraction(13184, 100)
    assert rate(HZ, clock(-40_000)) == Fraction(12288, 100)
    assert rate(HZ, None) == Fraction(12288, 100)
    assert rate(Fraction(64), None) == 64


@pytest.mark.parametrize("ppm", [0, 1500, -1500, 60_000, 19_000_000])
def test_small_clock_errors_are_not_corrected(ppm: float) -> None:
    assert RateCorrection()(HZ, clock(ppm)) == 128


@pytest.mark.parametrize("ppm", [50_000, 50_400, -50_400])
def test_clock_error_at_the_five_percent_limit_is_corrected(ppm: float) -> None:
    """Measurements of a clock error at the limit fall on both sides of it."""
    assert float(RateCorrection()(HZ, clock(ppm))) == pytest.approx(128 * (1 + ppm * 1e-6), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("ppm", [-50_000, 50_000])
def test_device_five_percent_off_is_read_at_its_true_rate(ppm: float) -> None:
    """After a quarter of a minute the rate is known to 0.1 %."""
    player = device(60, (Fault("ppm", ppm),), speed=1)
    with PtyDevice(player) as plugged, reading(plugged.path) as (blocks, messages, _):
        until(lambda: blocks and blocks[-1].rate_hz != 128)
    assert float(blocks[-1].rate_hz) == pytest.approx(128 * (1 + ppm * 1e-6), rel=1e-3)
    assert {block.segment for block in blocks if block.rate_hz == 128} == {0}
    assert all(block.segment > 0 for block in blocks if block.rate_hz != 128)
    assert any("samples a second, not 128" in sentence for sentence in messages)
