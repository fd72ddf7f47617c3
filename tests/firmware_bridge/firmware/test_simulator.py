"""The simulated firmware sends the samples that its ADC has read."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import serial
from numpy.typing import NDArray

from firmware_bridge.devices.ekd.decoder import EkdDecoder
from firmware_bridge.devices.ekd.frame import Decoder, Hello, RequestHello, Status, encode
from firmware_bridge.devices.stream import RawBlock
from firmware_bridge.errors import ConfigError
from firmware_bridge.firmware.simulator import FirmwareSimulator
from firmware_bridge.serial_port.clock import ClockFit
from firmware_bridge.units import Unit
from tests.helpers.paths import SHARED

DATA = SHARED / "data"
DIVIDER = Unit("divider", 13)
Built = Callable[..., Path]
MakeSimulator = Callable[..., FirmwareSimulator]


@dataclass
class Received:
    """The decoder and its blocks after all bytes of a port were read."""

    decoder: EkdDecoder
    blocks: list[RawBlock]

    @property
    def values(self) -> NDArray[np.float64]:
        return np.concatenate([block.values for block in self.blocks])

    def places(self, segment: int = 0) -> dict[int, float]:
        """The reading at each index of a boot."""
        return {
            block.first_index + i: value
            for block in self.blocks
            if block.segment == segment
            for i, value in enumerate(block.values.tolist())
        }


def chunks(path: str, ask: bytes = b"") -> Iterator[bytes]:
    """The bytes of a port until it is closed."""
    with serial.Serial(path, 115200, timeout=1, exclusive=True) as port:
        port.write(ask)
        while True:
            try:
                yield port.read(max(1, port.in_waiting))
            except OSError:
                return


def receive(path: str) -> Received:
    decoder = EkdDecoder()
    blocks = [block for chunk in chunks(path, decoder.take_request()) for block in decoder.feed(chunk)]
    return Received(decoder, blocks + decoder.finish())


def wave(seconds: float, seed: int = 0) -> NDArray[np.float64]:
    """A synthetic waveform in counts at 128 Hz."""
    random = np.random.default_rng(seed)
    n = round(seconds * 128)
    return np.rint(2200 + 1500 * np.sin(np.arange(n) / 700) + random.normal(0, 4, n))


@pytest.fixture
def simulator(built: Built) -> MakeSimulator:
    """The function simulator(counts, elf=None, **options), which creates a `FirmwareSimulator`."""

    def make(counts: NDArray[np.float64], elf: Path | None = None, **options: Any) -> FirmwareSimulator:
        return FirmwareSimulator(built("simulator"), elf or built("firmware"), counts, **options)

    return make


def biosppy() -> tuple[NDArray[np.float64], float]:
    return Unit("adc", 12).to_microsiemens(np.loadtxt(DATA / "biosppy_eda/eda.txt")), 1000.0


def stress_predict() -> tuple[NDArray[np.float64], float]:
    return np.loadtxt(DATA / "stress_predict_eda/S01/EDA.csv", skiprows=2)[:2400], 4.0


def neurokit() -> tuple[NDArray[np.float64], float]:
    path = DATA / "neurokit_bio/bio_resting_8min_100hz.csv"
    return np.loadtxt(path, skiprows=1, delimiter=",", usecols=2), 100.0


@pytest.mark.skipif(not DATA.exists(), reason="the recordings in shared/data are not here")
@pytest.mark.parametrize("recording", [biosppy, stress_predict, neurokit])
def test_real_recordings_arrive_within_one_count(
    recording: Callable[[], tuple[NDArray[np.float64], float]], simulator: MakeSimulator
) -> None:
    microsiemens, rate_hz = recording()
    counts = DIVIDER.to_readings(np.maximum(microsiemens, 0.0))
    with simulator(counts, rate_hz=rate_hz, speed=0) as device:
        got = receive(device.path)
        device.wait()
        (went_in,) = device.log()
    assert got.decoder.counts.dropped == got.decoder.counts.rejected == 0
    assert len(got.values) >= len(counts) / rate_hz * 128 - 8
    assert np.abs(got.values - went_in[: len(got.values)]).max() <= 1
    # Each sample is the mean of eight readings of the recording.
    times = (np.arange(len(got.values))[:, None] + np.arange(8) / 8) / 128
    held = counts[np.minimum((times * rate_hz + 1e-6).astype(int), len(counts) - 1)]
    assert np.abs(got.values - held.mean(axis=1)).max() <= 1


@pytest.mark.parametrize(("speed", "seconds"), [(0.0, 600.0), (1.0, 6.0), (20.0, 60.0)])
def test_no_sample_is_lost_at_any_pace(speed: float, seconds: float, simulator: MakeSimulator) -> None:
    counts = wave(seconds)
    with simulator(counts, speed=speed) as device:
        got = receive(device.path)
        device.wait()
    assert [device.events[-1][key] for key in ("event", "dropped")] == ["end", 0]
    assert len(got.values) >= len(counts)
    assert np.array_equal(got.values[: len(counts)], counts)
    assert got.decoder.counts.dropped == got.decoder.counts.rejected == 0
    assert got.decoder.status == Status(0, 0, False)
    assert len({block.segment for block in got.blocks}) == 1


def test_firmware_sends_hello_every_second_and_on_request(built: Built, simulator: MakeSimulator) -> None:
    elf = built("firmware", OPEN_COUNT="4010", SERIES_OHM="9800", DEVICE_ID="0x0102030405060708")
    decoder = Decoder()
    hellos: list[Hello] = []
    with simulator(wave(9), elf, speed=1) as device, serial.Serial(device.path, 115200, timeout=0.05) as port:
        asked = [encode(RequestHello(1)), encode(RequestHello(7)), b"\x04\x10\xc1\xf3\0"]
        for request in (*asked, b"noise\0", b"\7" * 50):
            before, end = len(hellos), time.monotonic() + 0.35
            port.write(b"\0" + request)
            while time.monotonic() < end:
                frames = decoder.feed(port.read(max(1, port.in_waiting)))
                hellos += [frame for frame in frames if isinstance(frame, Hello)]
            assert len(hellos) > before or request not in asked
    assert 4 <= len(hellos) <= 7
    assert len(set(hellos)) == 1
    expected = Hello(bytes(range(1, 9)), hellos[0].boot_nonce, 128, 1, 13, 5000, 1, (9800.0, 4010.0))
    assert hellos[0] == expected
    assert decoder.rejected == 0


def test_reset_starts_another_boot_of_the_same_device(simulator: MakeSimulator) -> None:
    with simulator(wave(40), speed=20) as device:
        threading.Timer(0.7, device.command, ["reset"]).start()
        decoder = Decoder()
        hellos = [f for chunk in chunks(device.path) for f in decoder.feed(chunk) if isinstance(f, Hello)]
        device.wait()
        boots = device.log()
    assert len({hello.device_id for hello in hellos}) == 1
    assert [len(list(same)) > 1 for _, same in itertools.groupby(hello.boot_nonce for hello in hellos)] == [True, True]
    assert len(boots) == 2


def test_reset_is_a_new_segment_at_the_host(simulator: MakeSimulator) -> None:
    with simulator(wave(40), speed=20) as device:
        threading.Timer(0.7, device.command, ["reset"]).start()
        got = receive(device.path)
        device.wait()
        boots = device.log()
    for segment, went_in in enumerate(boots):
        places = got.places(segment)
        assert len(places) > 300
        assert all(went_in[index] == value for index, value in places.items())
    assert {block.segment for block in got.blocks} == {0, 1}


def test_watchdog_restarts_a_hung_firmware(built: Built, simulator: MakeSimulator) -> None:
    elf = built("firmware", TEST_HANG_AFTER_BLOCKS="48")
    with simulator(wave(12), elf, speed=0) as device:
        got = receive(device.path)
        device.wait()
    assert [event["event"] for event in device.events] == ["port", "watchdog", "watchdog", "watchdog", "end"]
    assert {block.segment for block in got.blocks} == {0, 1, 2, 3}
    assert all(len(got.places(segment)) >= 47 * 8 for segment in range(3))


def test_unplugging_and_plugging_in_keeps_the_boot(simulator: MakeSimulator, tmp_path: Path) -> None:
    link = tmp_path / "sensor"
    with simulator(wave(60), speed=20, link=link) as device:
        first_path = device.path
        assert str(link.readlink()) == first_path
        threading.Timer(0.7, device.command, ["unplug"]).start()
        before = receive(str(link))
        device.expect("unplug")
        assert not link.is_symlink()
        device.command("plug")
        device.expect("port")
        after = receive(str(link))
        device.wait()
        (went_in,) = device.log()
    assert len(before.values) > 300
    assert len(after.values) > 300
    assert all(went_in[index] == value for index, value in (before.places() | after.places()).items())
    assert min(after.places()) > max(before.places())


def test_flipped_bits_lose_frames_and_add_no_samples(simulator: MakeSimulator) -> None:
    with simulator(wave(120), speed=0) as device:
        device.command("flip 0.001")
        got = receive(device.path)
        device.wait()
        (went_in,) = device.log()
    counts = got.decoder.counts
    assert counts.rejected > 100
    assert counts.dropped > 800
    places = got.places()
    assert all(went_in[index] == value for index, value in places.items())
    assert len(places) + counts.dropped <= len(went_in) + 8
    assert {block.segment for block in got.blocks} == {0}


def test_stalled_reader_loses_bytes_but_keeps_the_sample_index(simulator: MakeSimulator) -> None:
    with simulator(wave(400), speed=100) as device:
        threading.Timer(0.5, device.command, ["stall 220"]).start()
        got = receive(device.path)
        device.wait()
        (went_in,) = device.log()
    assert device.events[-1]["dropped"] > 1000
    assert got.decoder.counts.dropped > 300
    assert all(went_in[index] == value for index, value in got.places().items())
    assert max(got.places()) > 395 * 128


def test_crystal_error_changes_the_measured_rate(simulator: MakeSimulator) -> None:
    with simulator(wave(120), speed=20, ppm=3000) as device:
        decoder, fit = EkdDecoder(), ClockFit(Fraction(128 * 20))
        for chunk in chunks(device.path, decoder.take_request()):
            for block in decoder.feed(chunk):
                fit.push(time.monotonic(), block.first_index + len(block.values))
    rate = fit.rate()
    assert rate is not None
    assert abs(rate.ppm - 3000) < 1000


def test_open_electrodes_and_saturation_are_reported(simulator: MakeSimulator) -> None:
    worn, open_, shorted = np.full(3 * 128, 2000.0), np.full(3 * 128, 4095.0), np.zeros(256)
    with simulator(np.concatenate([worn, open_, worn, shorted, worn]), speed=0) as device:
        decoder = Decoder()
        frames = [f for chunk in chunks(device.path) for f in decoder.feed(chunk)]
        device.wait()
    states = [frame for frame in frames if isinstance(frame, Status)]
    assert [off for off, _ in itertools.groupby(status.lead_off for status in states)] == [False, True, False]
    assert states[0].saturated == 0
    assert states[-1].saturated == 256
    assert states[-1].overruns == 0


def test_arduino_sketch_sends_the_same_bytes(built: Built, simulator: MakeSimulator) -> None:
    counts = wave(20)
    sent = []
    for elf in (built("firmware"), built("sketch")):
        with simulator(counts, elf, speed=0) as device:
            sent.append(b"".join(chunks(device.path)))
            device.wait()
    assert len(sent[0]) > 8000
    assert sent[0] == sent[1]


def test_simulator_fault_is_one_sentence(simulator: MakeSimulator, tmp_path: Path) -> None:
    (tmp_path / "not.elf").write_text("nothing")
    with pytest.raises(ConfigError, match="is not a firmware"), simulator(wave(1), tmp_path / "not.elf"):
        pass
