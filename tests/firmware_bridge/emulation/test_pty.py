"""The emulated device on a real pseudo-terminal: its bytes, its rate, its link and unplugging."""

import os
import select
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware_bridge.devices.csv.decoder import CsvDecoder
from firmware_bridge.devices.csv.emulator import line_bursts
from firmware_bridge.devices.ekd.decoder import EkdDecoder
from firmware_bridge.devices.ekd.emulator import frame_bursts, linear_hello
from firmware_bridge.devices.ekd.frame import Hello, RequestHello, encode
from firmware_bridge.devices.emulator import Burst
from firmware_bridge.devices.stated_unit import unit_of_hello
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.emulation.script import ScriptedEmulator
from firmware_bridge.errors import PortError
from tests.helpers.load import LOAD_S

RATE = Fraction(128)
HELLO = linear_hello(RATE, 13, 50.0)
COUNTS = (np.arange(40_000) * 7 % 8192).astype(np.uint16)


def player(counts: NDArray[np.uint16], speed: float, hello: Hello | None = None) -> Player:
    return Player(ScriptedEmulator(frame_bursts([counts], HELLO), RATE, hello), speed)


def scripted(*bursts: Burst, hello: Hello | None = None) -> Player:
    return Player(ScriptedEmulator(bursts, Fraction(1), hello))


@contextmanager
def opened(path: str) -> Iterator[int]:
    """Open and configure the port as pyserial does."""
    node = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        tty.setraw(node)
        mode = termios.tcgetattr(node)
        mode[4] = mode[5] = termios.B115200
        termios.tcsetattr(node, termios.TCSANOW, mode)
        yield node
    finally:
        os.close(node)


def read(node: int, quiet_s: float = 2.0) -> bytes:
    """All bytes until the device closes the port or sends nothing for quiet_s."""
    data = b""
    while select.select([node], [], [], quiet_s)[0]:
        try:
            piece = os.read(node, 65536)
        except OSError:
            break
        if not piece:
            break
        data += piece
    return data


def test_frames_carry_the_counts_and_a_hello_every_second() -> None:
    bursts = list(frame_bursts(np.array_split(COUNTS[:1003], [5, 5, 700]), HELLO))
    decoder = EkdDecoder()
    blocks = decoder.feed(b"".join(burst.data for burst in bursts))
    assert np.array_equal(np.concatenate([b.values for b in blocks]), COUNTS[:1003])
    assert [b.first_index for b in blocks] == [0]
    assert [burst.samples for burst in bursts[:3]] == [0, 8, 16]
    assert bursts[-1].samples == 1003
    assert bursts[0].data == b"\0" + encode(HELLO)
    greetings = [burst.samples for burst in bursts if burst.data.endswith(encode(HELLO)) or encode(HELLO) in burst.data]
    assert greetings == [0, *range(128, 1003, 128)]
    assert decoder.status is not None
    assert decoder.status.saturated == int(np.isin(COUNTS[:896], [0, 8191]).sum())


@pytest.mark.parametrize("millis", [False, True])
def test_lines_carry_the_values_and_declare_rate_and_unit(millis: bool) -> None:
    values = np.array_split(COUNTS[:1003].astype(np.float64) / 8, [5, 5, 700])
    decoder = CsvDecoder()
    blocks = decoder.feed(b"".join(burst.data for burst in line_bursts(values, RATE, "adc", 13, millis)))
    assert np.array_equal(np.concatenate([b.values for b in blocks]), COUNTS[:1003] / 8)
    assert blocks[0].rate_hz == RATE
    assert decoder.declared.unit == "adc"
    assert decoder.declared.adc_bits == 13
    assert decoder.counts.dropped == 0


def test_counts_of_microsiemens_are_rounded_and_clipped() -> None:
    gain, _ = HELLO.calibration
    values = np.array([-1.0, 0.0, 10.0, 50.0, 1e9])
    counts = unit_of_hello(HELLO).to_readings(values)
    assert counts.tolist() == [0, 0, round(10 / gain), 8191, 8191]


def test_device_sends_all_bytes_through_a_small_buffer() -> None:
    sent = b"".join(burst.data for burst in frame_bursts([COUNTS], HELLO))
    with PtyDevice(player(COUNTS, 0)) as device, opened(device.path) as node:
        time.sleep(0.3)
        assert device.sent_bytes < len(sent)
        assert read(node) == sent
        assert device.wait(5)


def test_device_waits_for_a_reader_and_keeps_its_rate() -> None:
    with PtyDevice(player(COUNTS[:128], 4.0)) as device:
        time.sleep(0.3)
        assert device.sent_bytes == 0
        with opened(device.path) as node:
            started = time.monotonic()
            data = read(node)
            assert 0.2 < time.monotonic() - started < 2.0 + LOAD_S
    assert EkdDecoder().feed(data)[0].values.tolist() == COUNTS[:128].tolist()


def test_device_answers_request_hello() -> None:
    with (
        PtyDevice(scripted(Burst(0, b""), Burst(60, b"late"), hello=HELLO)) as device,
        opened(device.path) as node,
    ):
        time.sleep(0.2)
        os.write(node, b"\0" + encode(RequestHello()))
        assert read(node, 1.0) == encode(HELLO)


def test_device_continues_when_the_reader_reopens_the_port() -> None:
    with PtyDevice(player(COUNTS, 0)) as device:
        with opened(device.path) as node:
            assert select.select([node], [], [], 5)[0]
            first = os.read(node, 1000)
        with opened(device.path) as node:
            rest = read(node)
    decoder = EkdDecoder()
    blocks = decoder.feed(first + rest)
    assert blocks[-1].values[-1] == COUNTS[-1]
    assert decoder.counts.samples + decoder.counts.dropped == len(COUNTS)


def test_unplug_closes_the_port() -> None:
    with PtyDevice(player(COUNTS, 1.0)) as device, opened(device.path) as node:
        assert select.select([node], [], [], 5)[0]
        device.unplug()
        read(node, 0.5)
        with pytest.raises(OSError, match="Input/output error"):
            os.write(node, b"?")


def test_link_exists_as_long_as_the_device(tmp_path: Path) -> None:
    link = tmp_path / "sensor"
    link.symlink_to("/nowhere")
    with PtyDevice(scripted(Burst(0, b"1\n")), link) as device:
        assert str(link.readlink()) == device.path
    assert not link.is_symlink()


def test_file_is_not_replaced_by_a_link(tmp_path: Path) -> None:
    link = tmp_path / "notes"
    link.write_text("precious")
    with pytest.raises(PortError, match="choose another path for the link"), PtyDevice(scripted(), link):
        pass
    with (
        pytest.raises(PortError, match="choose another path for the link"),
        PtyDevice(scripted(), tmp_path / "no" / "folder"),
    ):
        pass
    assert link.read_text() == "precious"


def test_linear_hello_states_its_front_end() -> None:
    hello = linear_hello(Fraction(1000, 3), 12, 25.0, 0.5)
    assert isinstance(hello, Hello)
    assert hello.fault() is None
    assert (hello.rate_hz, hello.calibration) == (Fraction(1000, 3), (25 / 4096, 0.5))
