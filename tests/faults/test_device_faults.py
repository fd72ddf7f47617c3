"""Faults of the device and of the wire, through the real process on real nodes."""

import json
import os
import pty
import random
import re
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.devices.csv.emulator import CsvEmulator
from firmware_bridge.devices.ekd.emulator import frame_bursts, linear_hello
from firmware_bridge.devices.emulator import Burst
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.emulation.line_faults import Fault
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.emulation.script import ScriptedEmulator
from firmware_bridge.firmware.simulator import FirmwareSimulator
from firmware_bridge.synthesis import simulated_blocks
from tests.helpers.edge_command import Wire
from tests.helpers.load import LOAD_S
from tests.helpers.numbered_sensor import HZ, Edge, check, numbered, numbered_device, until

Row = Callable[[str, str, str, str], None]
Many = Callable[[int, int], int]


def test_replugged_device_gives_one_segment_each_time(model_path: Path, tmp_path: Path, row: Row, many: Many) -> None:
    """The node goes away every two seconds of signal and is back at once, under the same name."""
    times = many(40, 1000)
    faults = [Fault("unplug", 0.05, 2.0 * (k + 1)) for k in range(times)]
    link, folder = tmp_path / "sensor", tmp_path / "r"
    device = PtyDevice(numbered_device(3 * times + 20, 20, faults), link)
    with device, Edge(tmp_path, "--port", link, "--json", "--model", model_path, "--record", folder) as edge:
        until(lambda: edge.err.count(" at 128 Hz") >= 4)
        descriptors, rss_kb = edge.descriptors, edge.rss_kb
        assert device.wait(30 + 3 * times)
        grown, files = edge.rss_kb - rss_kb, edge.descriptors - descriptors
        assert edge.stop() == 0
        received, dropped = edge.received
    found = check(folder)
    assert (found.samples, found.segments, found.wrong) == (received, times + 1, 0)
    # Samples in the device's buffer, at most half a second, are lost when it is switched off.
    assert received >= (3 * times + 20) * HZ - 64 * times
    assert dropped == found.missing
    assert files <= 0
    assert "Traceback" not in edge.err
    # One line for going away and one for being back, each time.
    assert len(edge.err.splitlines()) <= 2 * (times + 1) + 3
    row(
        "unplug, replug",
        f"{times} times, back after 0.05 s",
        "every sample that arrives is recorded; a segment a time; no descriptor stays open",
        f"{received} received, {found.samples} recorded, {found.wrong} wrong, {found.segments} segments, "
        f"{files:+d} descriptors, {grown:+d} kB",
    )


def test_returned_device_is_read_within_seconds(model_path: Path, tmp_path: Path, row: Row) -> None:
    """Away for 8 s, so that the pauses between attempts have grown; a window needs 6 s of signal."""
    link = tmp_path / "sensor"
    device = PtyDevice(numbered_device(60, 1, [Fault("unplug", 8.0, 3.0)]), link)
    with device, Edge(tmp_path, "--port", link, "--json", "--model", model_path) as edge:
        until(lambda: "went away" in edge.err)
        until(lambda: link.is_symlink())
        back = time.monotonic()
        until(lambda: edge.err.count(" at 128 Hz") == 2)
        read_s = time.monotonic() - back
        until(lambda: edge.out)
        window_s = time.monotonic() - back
        edge.stop()
    assert read_s < 3 + LOAD_S
    assert window_s < 5 + 6 + LOAD_S
    row(
        "away for 8 s",
        "unplugged once",
        "read, and windows, within 5 s of its return and the 6 s that a window needs",
        f"read after {read_s:.1f} s, a window after {window_s:.1f} s",
    )


def test_reset_storm_gives_one_segment_per_reset(model_path: Path, tmp_path: Path, row: Row, many: Many) -> None:
    times = many(200, 5000)
    # Each reset loses the device's buffer of half a second.
    faults = [Fault("reset", at_s=0.3 * (k + 1)) for k in range(times)]
    folder = tmp_path / "r"
    with PtyDevice(numbered_device(times + 20, 20, faults)) as device:
        arguments = ("--port", device.path, "--once", "--json", "--model", model_path, "--record", folder)
        with Edge(tmp_path, *arguments) as edge:
            assert device.wait(30 + times)
            edge.process.wait(300)
    found = check(folder)
    assert found.wrong == 0
    assert (found.samples, found.missing) == edge.received
    assert found.segments > times * 0.9
    assert len(found.predictions) >= 13, "windows again after the storm"
    assert len(edge.err.splitlines()) < 4 + (times + 20) / 20 + 10, "at most one message a second"
    row(
        "reset storm",
        f"{times} resets, 0.3 s of signal apart",
        "a segment a reset, no window over one, windows afterwards, one sentence a second at most",
        f"{found.segments} segments, {found.samples} samples, {found.wrong} wrong, "
        f"{len(found.predictions)} windows after",
    )


def fuzzed_frames(items: int) -> Iterator[Burst]:
    """A valid second, then noise, mutated and cut frames, then valid seconds that continue the count."""
    hello = linear_hello(Fraction(HZ), 13)
    sound = list(frame_bursts(np.split(numbered(0, 30 * HZ).astype(np.uint16), 30 * 16), hello))
    known = [burst.data for burst in sound[: len(sound) // 15]]
    yield from sound[: len(sound) // 15]
    chance = random.Random(1)
    at = sound[len(sound) // 15].samples
    for _ in range(items // 100):
        pieces = []
        for _ in range(100):
            data = bytearray(chance.choice(known))
            kind = chance.random()
            if kind < 0.3:
                data = bytearray(chance.randbytes(chance.randrange(1, 24)))
            elif kind < 0.8:
                for _ in range(chance.randrange(1, 4)):
                    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            else:
                del data[chance.randrange(len(data)) :]
            pieces.append(bytes(data))
        yield Burst(at, b"".join(pieces))
    yield from sound[len(sound) // 15 :]


def fuzzed_lines(items: int) -> Iterator[Burst]:
    chance = random.Random(2)
    sound = CsvEmulator(Waveform(islice(simulated_blocks(32.0, 1, 32), 60), Fraction(32)))
    bursts = list(sound.bursts())
    yield from bursts[:1200]
    alphabet = b"0123456789.,;-+eE \tnaif#\xff\0\r"
    for _ in range(items // 100):
        lines = [bytes(chance.choices(alphabet, k=chance.randrange(0, 12))) for _ in range(100)]
        yield Burst(bursts[1200].samples, b"\n".join(lines) + b"\n")
    yield Burst(bursts[1200].samples, b"7" * 1_000_000)  # a line without end
    yield Burst(bursts[1200].samples, b"\n")
    yield from bursts[1200:]


@pytest.mark.parametrize(("kind", "options"), [("frames", ["ekd"]), ("lines", ["csv", "--rate", "32", "--unit", "uS"])])
def test_fuzzed_bytes_cause_no_crash_and_no_invented_samples(
    kind: str, options: list[str], model_path: Path, tmp_path: Path, row: Row, many: Many
) -> None:
    items = many(100_000, 1_000_000)
    bursts = fuzzed_frames(items) if kind == "frames" else fuzzed_lines(items)
    rate = Fraction(HZ if kind == "frames" else 32)
    folder = tmp_path / "r"
    with PtyDevice(Player(ScriptedEmulator(bursts, rate, linear_hello(rate, 13)), 0, stay=True)) as device:
        arguments = ("--port", device.path, "--format", *options, "--json", "--model", model_path, "--record", folder)
        with Edge(tmp_path, *arguments) as edge:
            until(lambda: edge.samples > 0)
            rss_kb = edge.rss_kb
            last = -1
            while last != device.sent_bytes:
                last = device.sent_bytes
                time.sleep(3)
            assert edge.process.poll() is None
            grown_kb = edge.rss_kb - rss_kb
            assert edge.stop() == 0
            received, dropped = edge.received
    found = check(folder)
    assert "Traceback" not in edge.err
    assert found.samples == received
    assert grown_kb < 20_000
    messages = len(edge.err.splitlines())
    row(
        f"fuzzed {kind}",
        f"{items} of random and mutated {kind}, {device.sent_bytes >> 10} kB",
        "no crash, bounded memory, at most one message a second, nothing invented",
        f"{received} samples received, {dropped} dropped, {messages} sentences, {grown_kb:+d} kB",
    )
    if kind == "frames":
        # 16 bits of CRC let one in 65536 damaged frames pass: 8 samples each, and a count that may look like a reset.
        assert found.wrong <= 8 * (2 + items // 20_000)
        assert received >= 30 * HZ * 0.9


@pytest.mark.parametrize("ppm", [50_000, -50_000])
def test_clock_error_of_five_percent_is_corrected(ppm: int, model_path: Path, tmp_path: Path, row: Row) -> None:
    with (
        PtyDevice(numbered_device(60, 1, [Fault("ppm", ppm)])) as device,
        Edge(tmp_path, "--port", device.path, "--json", "--model", model_path) as edge,
    ):
        until(lambda: "samples a second, not 128" in edge.err)
        until(lambda: any(json.loads(line)["quality"] == 1 for line in edge.out[-1:]))
        status = edge.status()
        edge.stop()
    measured = float(re.findall(r"sends ([0-9.]+) samples", edge.err)[0])
    assert measured == pytest.approx(HZ * (1 + ppm * 1e-6), rel=1e-3)
    assert status is not None
    row(
        f"clock {ppm / 1e4:+.0f} %",
        "device at that rate, HELLO says 128 Hz",
        "measured, reported, resampled",
        f"{measured:g} Hz found, {status['ports'][0]['clock_ppm']:+.0f} ppm shown",
    )


def test_simulated_firmware_gives_one_segment_per_boot(
    built: Callable[..., Path], model_path: Path, tmp_path: Path, row: Row, many: Many
) -> None:
    """The ELF in its simulated chip: resets on command, and a replug, at 20 times real time."""
    times = many(10, 200)
    counts = np.rint(3000 + 800 * np.sin(np.arange(HZ * (40 + 4 * times)) / 900))
    link, folder = tmp_path / "sensor", tmp_path / "r"
    with ExitStack() as stack:
        simulator = stack.enter_context(
            FirmwareSimulator(built("simulator"), built("firmware"), counts, speed=20, link=link)
        )
        arguments = ("--port", link, "--once", "--json", "--model", model_path, "--record", folder)
        edge = stack.enter_context(Edge(tmp_path, *arguments))
        until(lambda: "128 Hz" in edge.err)
        for _ in range(times):
            time.sleep(0.2)
            simulator.command("reset")
        simulator.wait()
        edge.process.wait(300)
    received, dropped = edge.received
    found = check(folder)
    assert found.samples == received
    assert found.segments == times + 1
    assert found.predictions
    assert "Traceback" not in edge.err
    row(
        "the real firmware reset",
        f"{times} times, in simulation at 20 times real time",
        "a segment a boot, all that was sent recorded",
        f"{found.segments} segments, {received} received, {found.samples} recorded, {dropped} dropped",
    )


def test_flooding_port_costs_the_others_no_window(model_path: Path, tmp_path: Path, row: Row, many: Many) -> None:
    """One port sends lines as fast as they are read; the others send at their rate."""
    others, seconds, ended = many(6, 29), 10, threading.Event()
    with ExitStack() as stack:
        devices = [stack.enter_context(PtyDevice(numbered_device(60, 1))) for _ in range(others)]
        master, slave = pty.openpty()
        stack.callback(os.close, master)
        stack.callback(os.close, slave)
        tty.setraw(slave)
        wire = Wire(master, os.ttyname(slave))
        lines = "".join(f"{5 + k % 50 / 100:.2f}\n" for k in range(500)).encode()
        flood = threading.Thread(target=wire.send_until, args=(ended, lines))
        arguments = ["--port", f"{wire.name},format=csv,rate=100,unit=uS,name=flood"]
        arguments += [word for device in devices for word in ("--port", device.path)]
        stack.callback(flood.join)
        stack.callback(ended.set)
        with Edge(tmp_path, *arguments, "--json", "--model", model_path, "--seconds", seconds) as edge:
            until(lambda: "reading " in edge.err)
            flood.start()
            assert edge.process.wait(300) == 0
    found = [json.loads(line) for line in edge.out]
    assert edge.received[1] == 0, "nothing is lost, of the flood neither"
    latencies = []
    for device in devices:
        mine = [one for one in found if one["port"] == device.path]
        assert [one["time"] for one in mine] == [6.0 + k for k in range(len(mine))]
        assert len(mine) >= 2
        assert all(one["reason"] is None for one in mine)
        latencies += [one["latency_ms"] for one in mine]
    row(
        "a port that floods",
        f"next to {others} sensors of 128 Hz, {edge.received[0]} samples in all",
        "nothing lost; every window of the others",
        f"{len(latencies)} windows of the others, latency {max(latencies):.1f} ms at most",
    )
