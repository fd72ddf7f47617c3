"""A sensor on a real pseudo-terminal, and its recordings: bytes to sample blocks in microsiemens."""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ekd_edge.errors import FormatError, PortError, SignalError
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sources.sensor import Sensor, SensorOptions, open_replay, open_sensor, replay_blocks
from firmware_bridge.devices.csv.emulator import line_bursts
from firmware_bridge.devices.ekd.emulator import frame_bursts, linear_hello
from firmware_bridge.devices.ekd.frame import Data, Hello, encode
from firmware_bridge.devices.emulator import Burst
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.emulation.script import ScriptedEmulator
from firmware_bridge.units import Unit
from tests.helpers.load import LOAD_S

RATE = Fraction(128)
HELLO = linear_hello(RATE, 12, 25.0)
COUNTS = (np.arange(20_000) * 7 % 4096).astype(np.uint16)
MICROSIEMENS = COUNTS / 4096 * 25.0
ADC12 = Unit("adc", 12)


def frames(counts: NDArray[np.uint16] = COUNTS, hello: Hello = HELLO) -> bytes:
    return b"".join(burst.data for burst in frame_bursts([counts], hello))


def once(data: bytes) -> Player:
    """A device that sends these bytes and stays plugged in."""
    return scripted(Burst(0, data), Burst(10**9, b""))


def scripted(*bursts: Burst, hello: Hello | None = None) -> Player:
    return Player(ScriptedEmulator(bursts, hello=hello))


def framed(counts: NDArray[np.uint16] = COUNTS, speed: float = 0) -> Player:
    return Player(ScriptedEmulator(frame_bursts([counts], HELLO), RATE, HELLO), speed)


def values(blocks: Iterable[SampleBlock]) -> NDArray[np.float64]:
    return np.concatenate([block.values for block in blocks])


def until_gone(sensor: Sensor) -> list[SampleBlock]:
    blocks: list[SampleBlock] = []
    with pytest.raises(PortError, match="went away: check the plug"):
        blocks.extend(sensor.blocks())
    return blocks


@contextmanager
def after(seconds: float, act: Callable[[], object]) -> Iterator[None]:
    timer = threading.Timer(seconds, act)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@pytest.mark.parametrize("format", ["auto", "ekd"])
def test_frames_from_a_port_arrive_complete(format: str) -> None:
    options = SensorOptions(format=format)
    with PtyDevice(framed()) as device:
        with open_sensor(device.path, options) as sensor:
            blocks = until_gone(sensor)
        assert np.array_equal(values(blocks), MICROSIEMENS)
    assert all(block.rate_hz == RATE and not block.values.flags.writeable for block in blocks)
    assert sensor.counts.samples == len(COUNTS)
    assert sensor.counts.dropped == 0


@pytest.mark.parametrize("millis", [False, True])
def test_lines_from_a_port_arrive_complete(millis: bool) -> None:
    lines = line_bursts([COUNTS.astype(np.float64)], RATE, "adc", 12, millis)
    with PtyDevice(Player(ScriptedEmulator(lines, RATE), 0)) as device, open_sensor(device.path) as sensor:
        assert np.array_equal(values(until_gone(sensor)), MICROSIEMENS)


def test_blocks_come_at_the_pace_of_the_sensor() -> None:
    with (
        PtyDevice(framed(COUNTS[:128], 1)) as device,
        open_sensor(device.path) as sensor,
    ):
        started = time.monotonic()
        arrivals = []
        for _ in range(12):
            next(iter(sensor.blocks()))
            arrivals.append(time.monotonic() - started)
    assert len(arrivals) == 12
    assert arrivals[-1] > 0.5


def test_stop_ends_the_wait_for_a_silent_device() -> None:
    event = threading.Event()
    messages: list[str] = []
    with PtyDevice(once(b"")) as device, open_sensor(device.path) as sensor, after(4.5, event.set):
        assert list(sensor.blocks(event.is_set, messages.append)) == []
    assert messages == [
        f"no data has come from {device.path} for 3 s: check the wiring, the baud rate and the device format"
    ]


def test_second_reader_is_refused_and_the_first_continues() -> None:
    with PtyDevice(framed()) as device, open_sensor(device.path) as sensor:
        with pytest.raises(PortError, match="in use by another program"):
            open_sensor(device.path)
        assert np.array_equal(values(until_gone(sensor)), MICROSIEMENS)


def test_unplugging_delivers_the_samples_before_it() -> None:
    device = PtyDevice(once(frames(COUNTS[:800])))
    with device, open_sensor(device.path) as sensor, after(0.7, device.unplug):
        assert np.array_equal(values(until_gone(sensor)), MICROSIEMENS[:800])


@pytest.mark.parametrize("format", ["auto", "ekd", "csv"])
def test_wrong_baud_rate_is_named_as_the_likely_cause(format: str) -> None:
    # What 9600 baud looks like at 115200: few, garbled bytes.
    garbled = np.random.default_rng(3).choice([0x00, 0x80, 0xF8, 0xFE, 0xE0, 0x78], 4000).astype(np.uint8).tobytes()

    trickle = [Burst(25 * i, garbled[10 * i : 10 * i + 10]) for i in range(400)]
    options = SensorOptions(format=format, rate_hz=RATE, baud=115200)
    with PtyDevice(scripted(*trickle)) as device, open_sensor(device.path, options) as sensor:
        started = time.monotonic()
        with pytest.raises(FormatError, match=r"bytes arrived .*check the baud rate \(now 115200\)"):
            list(sensor.blocks())
        assert time.monotonic() - started < 7 + LOAD_S


def test_device_is_asked_for_its_hello() -> None:
    late = scripted(Burst(300, encode(Data(0, 0, (1, 2, 3)))), Burst(60_000, b""), hello=HELLO)
    with PtyDevice(late) as device, open_sensor(device.path, SensorOptions("ekd")) as sensor:
        assert next(sensor.blocks()).values.tolist() == [count / 4096 * 25 for count in (1, 2, 3)]


def test_socket_url_is_read_like_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)  # the request: pyserial has flushed its input by then
                connection.sendall(frames(COUNTS[:2000]))

        thread = threading.Thread(target=serve)
        thread.start()
        with open_sensor(f"socket://127.0.0.1:{server.getsockname()[1]}", SensorOptions("ekd")) as sensor:
            assert np.array_equal(values(until_gone(sensor)), MICROSIEMENS[:2000])
        thread.join()


def test_loop_url_is_read_like_a_port() -> None:
    with open_sensor("loop://", SensorOptions("ekd")) as sensor:
        sensor._device._port.write(frames(COUNTS[:80]))
        assert next(sensor.blocks()).first_index == 0


@pytest.mark.parametrize("format", ["ekd", "csv"])
def test_simulated_sensor_ends_after_its_seconds(format: str) -> None:
    with open_sensor(f"sim://?format={format}&rate=64&seconds=30&speed=0&seed=5") as sensor:
        blocks = list(sensor.blocks())
    got = values(blocks)
    assert len(got) == 30 * 64
    assert blocks[0].rate_hz == 64
    assert 0.05 <= got.min() <= got.max() < 50
    with open_sensor("sim://?rate=64&seconds=30&speed=0&seed=5") as again:
        assert np.abs(values(again.blocks()) - got).max() < 1e-3
    with open_sensor("sim://?rate=64&seconds=30&speed=0&seed=6") as other:
        assert np.abs(values(other.blocks()) - got).max() > 0.1


def test_simulated_sensor_keeps_the_pace() -> None:
    started = time.monotonic()
    with open_sensor("sim://?speed=4&seconds=4") as sensor:
        blocks = list(sensor.blocks())
    assert 0.9 < time.monotonic() - started < 3 + LOAD_S
    assert len(blocks) > 20


def test_simulated_sensor_runs_until_stopped() -> None:
    event = threading.Event()
    with open_sensor("sim://?speed=100") as sensor, after(0.5, event.set):
        assert sum(len(block.values) for block in sensor.blocks(event)) > 1000


@pytest.mark.parametrize(
    ("hello", "expected"),
    [
        (Hello(bytes(8), 1, 128, 1, 10, 5000, 0, (0.25, -1.0)), [24.0, 49.0]),
        (Hello(bytes(8), 1, 128, 1, 10, 5000, 1, (10_000.0, 0.0)), [1e6 * 412 / 1224 / 1e4, 1e6 * 312 / 1424 / 1e4]),
        (Hello(bytes(8), 1, 128, 1, 10, 5000, 1, (10_000.0, 500.0)), [1e6 * 400 / 1224 / 1e4, 1e6 * 300 / 1424 / 1e4]),
    ],
)
def test_hello_states_the_unit(hello: Hello, expected: list[float], tmp_path: Path) -> None:
    path = tmp_path / "capture.bin"
    path.write_bytes(frames(np.array([100, 200], np.uint16), hello))
    assert values(replay_blocks(path)).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("profile", "calibration", "reason"),
    [(7, (1.0, 0.0), "profile 7 is unknown"), (0, (0.0, 0.0), "calibration is invalid"), (1, (-1.0, 0.0), "HELLO")],
)
def test_hello_without_a_unit_is_refused(
    profile: int, calibration: tuple[float, float], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "capture.bin"
    path.write_bytes(frames(COUNTS[:8], Hello(bytes(8), 1, 128, 1, 12, 5000, profile, calibration)))
    with pytest.raises(FormatError, match=reason):
        list(replay_blocks(path))
    assert len(values(replay_blocks(path, SensorOptions(unit=ADC12)))) == 8


def test_calibration_changes_with_the_device(tmp_path: Path) -> None:
    path = tmp_path / "capture.bin"
    other = Hello(bytes(8), 2, 128, 1, 12, 5000, 0, (1.0, 0.0))
    path.write_bytes(frames(COUNTS[1:9]) + frames(COUNTS[1:9], other))
    first, second = replay_blocks(path)
    assert (first.segment, second.segment) == (0, 1)
    assert first.values.tolist() == MICROSIEMENS[1:9].tolist()
    assert second.values.tolist() == COUNTS[1:9].tolist()


@pytest.mark.parametrize("impossible", ["-1", "4096", "1e9"])
def test_single_impossible_readings_are_gaps(impossible: str, tmp_path: Path) -> None:
    path = tmp_path / "recording.csv"
    path.write_text("\n".join(["1"] * 50 + [impossible] + ["2"] * 50))
    replay = open_replay(path, SensorOptions(rate_hz=RATE, unit=ADC12))
    got = [(b.first_index + i, v) for b in replay.blocks() for i, v in enumerate(b.values.tolist())]
    assert got == [(i, (1 if i < 50 else 2) / 4096 * 25) for i in range(101) if i != 50]
    counts = replay.counts
    assert (counts.samples, counts.dropped, counts.rejected) == (100, 1, 1)


def test_readings_outside_the_units_range_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "recording.csv"
    path.write_text("2669\n" * 100)
    with pytest.raises(SignalError, match="10-bit converter: give its resolution, or another unit"):
        list(replay_blocks(path, SensorOptions(rate_hz=RATE, unit=Unit("adc", 10))))


@pytest.mark.parametrize(
    ("text", "options", "error", "advice"),
    [
        ("", SensorOptions(), FormatError, "is empty"),
        ("1\n2\n3\n", SensorOptions(unit=ADC12), FormatError, "do not state the sampling rate"),
        ("1\n2\n3\n", SensorOptions(rate_hz=RATE), FormatError, "do not state their unit: state the unit, such as uS"),
        ("adc\n1\n2\n3\n", SensorOptions(rate_hz=RATE), FormatError, "give the unit adc with its number of bits"),
        ("# unit: bananas\n1\n2\n3\n", SensorOptions(rate_hz=RATE), SignalError, "unknown unit 'bananas'"),
        ("<html>\n</html>\n", SensorOptions(), FormatError, "has no line of numbers"),
        ("1\n2\n3\n", SensorOptions("ekd"), FormatError, "is not a recording of a sensor's bytes"),
        ("nan\nnan\nnan\n", SensorOptions("csv", RATE, ADC12), FormatError, "has no line of numbers"),
    ],
)
def test_unreadable_file_is_refused_with_advice(
    text: str, options: SensorOptions, error: type[Exception], advice: str, tmp_path: Path
) -> None:
    path = tmp_path / "recording.csv"
    path.write_text(text)
    with pytest.raises(error, match=advice):
        list(replay_blocks(path, options))


def test_missing_recording_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(PortError, match="is not a file: name a recording"):
            replay_blocks(path)


def test_random_bytes_are_not_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "noise.bin"
    path.write_bytes(np.random.default_rng(0).bytes(200_000))
    with pytest.raises(FormatError, match="none of the formats ekd, csv, grove, shimmer3, bitalino"):
        list(replay_blocks(path))


def test_replay_stops_on_request(tmp_path: Path) -> None:
    path = tmp_path / "recording.csv"
    path.write_text("# unit: uS\n" + "1\n" * 3_000_000)
    event = threading.Event()
    blocks = open_replay(path, SensorOptions(rate_hz=RATE)).blocks(event)
    next(blocks)
    event.set()
    assert sum(len(block.values) for block in blocks) < 3_000_000


def test_replay_and_port_give_the_same_samples(tmp_path: Path) -> None:
    path = tmp_path / "capture.bin"
    damaged = bytearray(frames())
    for at in np.random.default_rng(2).integers(100, len(damaged), 60):
        damaged[at] ^= 1 << int(at) % 8
    path.write_bytes(damaged)
    replay = open_replay(path)
    offline = list(replay.blocks())
    with PtyDevice(scripted(Burst(0, bytes(damaged)))) as device, open_sensor(device.path) as sensor:
        live = until_gone(sensor)
    assert np.array_equal(values(live), values(offline))
    assert sensor.counts == replay.counts
    assert replay.counts.dropped > 0
    assert replay.counts.samples + replay.counts.dropped <= len(COUNTS)
    places = np.concatenate([np.arange(b.first_index, b.first_index + len(b.values)) for b in offline])
    assert np.array_equal(values(offline), MICROSIEMENS[places])


@pytest.mark.skipif(not Path("../shared/data/biosppy_eda/eda.txt").exists(), reason="needs ../shared/data")
def test_published_recording_needs_no_options() -> None:
    blocks = list(replay_blocks("../shared/data/biosppy_eda/eda.txt"))
    assert blocks[0].rate_hz == 1000
    assert blocks[0].values[0] == 2669 / 4096 * 25
    assert len(values(blocks)) == 150_000


def test_closing_after_unplugging_is_not_an_error() -> None:
    with PtyDevice(once(b"")) as device:
        sensor = open_sensor(device.path)
        device.unplug()
        sensor.close()
        sensor.close()
