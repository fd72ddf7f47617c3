"""Devices at a real pseudo-terminal: baud rates, probes and replugging."""

import threading
import time
from contextlib import suppress
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import serial

from firmware_bridge.devices.detect import DetectingDecoder
from firmware_bridge.devices.ekd.decoder import EkdDecoder
from firmware_bridge.devices.emulator import Burst
from firmware_bridge.devices.registry import find_format
from firmware_bridge.devices.stream import StreamOptions
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.emulation.line_faults import Fault
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.emulation.script import ScriptedEmulator
from firmware_bridge.errors import ConfigError, FormatError, PortError
from firmware_bridge.serial_port.device import open_device
from firmware_bridge.synthesis import simulated_blocks


def person(rate_hz: int = 128, seconds: int = 30) -> Waveform:
    return Waveform(islice(simulated_blocks(float(rate_hz), 1, rate_hz), seconds), Fraction(rate_hz))


def test_auto_detects_a_grove_sensor_at_9600_baud() -> None:
    """The port is first opened at 115200 baud, where it receives noise from the emulator's 9600 baud."""
    with PtyDevice(Player(find_format("grove").emulate(person()))) as device, open_device(device.path) as sensor:
        block = next(iter(sensor.blocks()))
        assert sensor.format_name == "grove"
        assert block.rate_hz == Fraction(39, 2)
        assert sensor.counts.rejected == 0


def test_given_baud_rate_is_kept() -> None:
    player = Player(find_format("grove").emulate(person()), speed=20)
    refusal = pytest.raises(FormatError, match=r"in none of the formats .*: check the baud rate \(now 115200\)")
    with PtyDevice(player) as device, open_device(device.path, baud=115200) as sensor, refusal:
        next(iter(sensor.blocks()))


def test_noise_at_both_baud_rates_names_both() -> None:
    noise = np.random.default_rng(0)
    script = ScriptedEmulator([Burst(20 * i, noise.bytes(30)) for i in range(400)])
    refusal = pytest.raises(FormatError, match="115200 and 9600 were tried")
    with PtyDevice(Player(script)) as device, open_device(device.path) as sensor, refusal:
        next(iter(sensor.blocks()))


def test_silent_device_receives_probes_until_it_sends() -> None:
    now = [0.0]
    decoder = DetectingDecoder(StreamOptions(clock=lambda: now[0]))
    asked = []
    for tenth in range(45):
        now[0] = tenth / 10
        if question := decoder.take_request():
            asked.append((now[0], question))
    assert asked[:4] == [(1.0, b"\3"), (1.5, b"\0\7"), (2.0, b"\3"), (2.5, b"\0\7")]
    decoder.feed(b"hello")
    assert [decoder.take_request() for _ in range(10)] == [b""] * 10


@pytest.mark.parametrize(
    ("answer", "name"),
    [(b"\xff\4\0\1", "shimmer3"), (b"BITalino_v5.2\n", "bitalino"), (b"\xff", None), (b"ok\n", None)],
)
def test_answer_to_a_probe_identifies_the_device(answer: bytes, name: str | None) -> None:
    now = [0.0]
    decoder = DetectingDecoder(StreamOptions(clock=lambda: now[0]))
    while now[0] < 1.7:
        decoder.take_request()
        now[0] += 0.1
    for byte in answer:
        decoder.feed(bytes([byte]))
    assert (decoder.format.name if decoder.format else None) == name


def test_recording_receives_no_probes() -> None:
    now = [0.0]
    decoder = DetectingDecoder(StreamOptions(live=False, clock=lambda: now[0]))
    for now[0] in range(10):
        assert decoder.take_request() == b""


@pytest.mark.parametrize(
    ("format", "error", "advice"),
    [
        ("xml", ConfigError, "choose one of auto"),
        ("bitalino:channel=B7", ConfigError, "A1 to A6"),
        ("ekd", PortError, "does not exist"),
    ],
)
def test_open_device_refuses_invalid_ports_and_formats(format: str, error: type[Exception], advice: str) -> None:
    with pytest.raises(error, match=advice):
        open_device("/dev/ttyNONE7", format)


def test_unplug_fault_removes_and_restores_the_port(tmp_path: Path) -> None:
    link = tmp_path / "sensor"
    player = Player(find_format("ekd").emulate(person()), speed=0, faults=[Fault("unplug", 0.4, 10.0)])
    found: list[EkdDecoder] = []
    with PtyDevice(player, link):
        for _ in range(2):
            decoder = EkdDecoder()
            end = time.monotonic() + 300
            while not link.exists() and time.monotonic() < end:
                time.sleep(0.02)
            with serial.Serial(str(link), 115200, timeout=1) as port, suppress(OSError):
                while True:
                    decoder.feed(port.read(max(1, port.in_waiting)))
            found.append(decoder)
    before, after = found
    assert before.hello is not None
    assert after.hello is not None
    assert after.hello.boot_nonce == before.hello.boot_nonce + 1
    assert 5 * 128 < before.counts.samples <= 10 * 128
    assert after.counts.samples > 19 * 128


def test_permanent_unplug_fault_removes_the_port(tmp_path: Path) -> None:
    link = tmp_path / "sensor"
    player = Player(find_format("ekd").emulate(person()), speed=0, faults=[Fault("unplug", at_s=5.0)])
    with PtyDevice(player, link) as device, open_device(str(link), "ekd") as sensor:
        with pytest.raises(PortError, match="went away"):
            list(sensor.blocks())
        assert device.wait(5)
    assert not link.is_symlink()


def test_damage_is_reported_while_the_device_runs() -> None:
    player = Player(find_format("ekd").emulate(person()), speed=8, faults=[Fault("flip", 2e-4)])
    messages: list[str] = []
    with PtyDevice(player) as device, open_device(device.path, "ekd") as sensor:
        stop = threading.Event()
        threading.Timer(2.5, stop.set).start()
        list(sensor.blocks(stop, messages.append))
    assert 1 <= len(messages) <= 3
    assert "damaged frames or lines" in messages[0]
