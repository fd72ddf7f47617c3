"""The real command on a real device node gives exactly the predictions of the offline computation."""

import fcntl
import io
import os
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ekd_edge.model.file import load_model_file
from ekd_edge.model.interpreter import open_classifier
from ekd_edge.pipeline.stream import predict_stream
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sinks.jsonl import JsonLinesSink
from firmware_bridge.devices.ekd.emulator import frame_bursts, linear_hello
from firmware_bridge.devices.ekd.frame import Hello
from firmware_bridge.devices.emulator import Burst
from firmware_bridge.devices.grove.decoder import UNIT as GROVE
from firmware_bridge.devices.shimmer3.packets import from_microsiemens, to_microsiemens
from firmware_bridge.devices.stated_unit import unit_of_hello
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.emulation.script import ScriptedEmulator
from firmware_bridge.firmware.simulator import FirmwareSimulator
from firmware_bridge.synthesis import simulated_blocks
from firmware_bridge.units import Unit
from tests.helpers.edge_command import EDGE, predictions
from tests.helpers.paths import SHARED

EDA = SHARED / "data/biosppy_eda/eda.txt"
EDA_OPTIONS = ["--format", "csv", "--rate", "1000", "--unit", "adc", "--adc-bits", "12"]
BITALINO = Unit("adc", 10)
Found = list[dict[str, Any]]

needs_eda = pytest.mark.skipif(not EDA.exists(), reason="the recording shared/data/biosppy_eda is not here")


def offline(values_us: NDArray[np.float64], rate_hz: Fraction, model: Path) -> Found:
    """Predictions of the whole recording in one block, by the functions of the library."""
    model_file = load_model_file(model)
    stream = io.StringIO()
    sink = JsonLinesSink(stream)
    whole = SampleBlock(values_us, 0, rate_hz)
    for prediction in predict_stream([whole], model_file.manifest, open_classifier(model_file)):
        sink.write(prediction)
    return predictions(stream.getvalue())


def counts_of(values_us: NDArray[np.float64], hello: Hello) -> NDArray[np.uint16]:
    return unit_of_hello(hello).to_readings(values_us).astype(np.uint16)


def replay(path: Path, *options: object) -> subprocess.CompletedProcess[str]:
    command = [EDGE, "--replay", str(path), "--json", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def timeless(out: str) -> Found:
    """The predictions of a live run without their wall-clock times, which an offline run lacks."""
    found = predictions(out)
    assert all(prediction["utc"] is not None for prediction in found)
    return [prediction | {"utc": None} for prediction in found]


def live(
    player: Callable[[Iterable[Burst]], Player], bursts: Iterable[Burst], number: signal.Signals, *options: object
) -> tuple[Found, str, int]:
    """Predictions, stderr and exit status of the command on a device that sends these bursts and stays plugged in."""
    size = 0

    def counted() -> Iterator[Burst]:
        nonlocal size
        for burst in bursts:
            size += len(burst.data)
            yield burst

    with PtyDevice(player(counted())) as device:
        command = [EDGE, "--port", device.path, "--json", *map(str, options)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            wait_until_read(device)
            process.send_signal(number)
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
            process.wait()
    assert device.sent_bytes >= size
    return timeless(out), err, process.returncode


def wait_until_read(device: PtyDevice, quiet_s: float = 1.5, timeout_s: float = 200) -> None:
    """Wait until the device has sent its last bytes and all bytes have been read for a while."""
    end, sent, since = time.monotonic() + timeout_s, 0, time.monotonic()
    while sent == 0 or time.monotonic() - since < quiet_s:
        assert time.monotonic() < end
        time.sleep(0.05)
        node = os.open(device.path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        waiting = int.from_bytes(fcntl.ioctl(node, termios.FIONREAD, bytes(4)), sys.byteorder)
        os.close(node)
        if waiting or device.sent_bytes != sent:
            sent, since = device.sent_bytes, time.monotonic()


def counts_line(err: str) -> str:
    """The last line of stderr without the share of clipped input: it depends on the model's calibration."""
    return re.sub(r"; [\d.]+% of the model's input was .*", "", err.splitlines()[-1])


def last_line(samples: int, windows: int) -> str:
    return f"ekd-edge: {samples} samples received, 0 dropped, 0 rejected; {windows} windows predicted, 0 withheld"


@needs_eda
@pytest.mark.slow
def test_real_recording_gives_the_same_predictions_live_offline_and_by_replay(int8_model: Path) -> None:
    counts = np.loadtxt(EDA)
    values = Unit("adc", adc_bits=12).to_microsiemens(counts)
    expected = offline(values, Fraction(1000), int8_model)
    assert len(expected) == 144
    assert len({str(p["targets"]) for p in expected}) > 10

    def bursts() -> Iterator[Burst]:
        samples = 0
        with EDA.open("rb") as file:
            while lines := b"".join(islice(file, 10)):
                samples += lines.count(b"\n") - lines.count(b"#")
                yield Burst(samples, lines)

    def paced(bursts: Iterable[Burst]) -> Player:
        return Player(ScriptedEmulator(bursts, Fraction(1000)), 1.0, paced_s=20.0, stay=True)

    began = time.monotonic()
    found, err, status = live(paced, bursts(), signal.SIGTERM, *EDA_OPTIONS, "--model", int8_model)
    assert time.monotonic() - began > 20
    assert found == expected
    assert (status, counts_line(err)) == (0, last_line(len(counts), len(expected)))

    again = replay(EDA, *EDA_OPTIONS, "--model", int8_model)
    assert predictions(again.stdout) == expected
    assert (again.returncode, counts_line(again.stderr)) == (0, last_line(len(counts), len(expected)))


@needs_eda
def test_recording_that_states_its_rate_and_resolution_needs_no_options_for_them(int8_model: Path) -> None:
    stated = replay(EDA, *EDA_OPTIONS, "--model", int8_model)
    found = replay(EDA, "--unit", "adc", "--model", int8_model, "--adc-bits", "12")
    assert predictions(found.stdout) == predictions(stated.stdout)


@pytest.mark.parametrize(
    ("rate_hz", "number", "status"), [(128, signal.SIGINT, 130), (Fraction(1000, 3), signal.SIGTERM, 0)]
)
def test_frames_over_a_device_node_give_the_offline_predictions(
    int8_model: Path, tmp_path: Path, rate_hz: Fraction, number: signal.Signals, status: int
) -> None:
    hello = linear_hello(rate_hz, adc_bits=13, full_scale_us=30.0, offset_us=0.25)
    blocks = list(islice(simulated_blocks(float(rate_hz), seed=3, block_samples=1000), 10))
    counts = counts_of(np.concatenate(blocks), hello)
    gain, offset = hello.calibration
    unit = Unit("adc", adc_bits=13, full_scale_us=gain * 2**13, offset_us=offset)
    expected = offline(unit.to_microsiemens(counts.astype(np.float64)), hello.rate_hz, int8_model)
    assert len(expected) > 20

    recorded = tmp_path / "bytes.ekd"
    recorded.write_bytes(b"".join(burst.data for burst in frame_bursts([counts], hello)))

    def flat_out(bursts: Iterable[Burst]) -> Player:
        return Player(ScriptedEmulator(bursts, hello.rate_hz, hello), speed=0, stay=True)

    found, err, ended = live(flat_out, frame_bursts([counts], hello), number, "--model", int8_model)
    assert found == expected
    assert (ended, counts_line(err)) == (status, last_line(10_000, len(expected)))

    again = replay(recorded, "--model", int8_model)
    assert predictions(again.stdout) == expected
    assert counts_line(again.stderr) == last_line(10_000, len(expected))


@pytest.mark.parametrize(
    ("format", "rate_hz", "measured"),
    [
        ("csv", Fraction(128), lambda us: np.array([float(f"{value:.10g}") for value in us])),
        ("grove", Fraction(39, 2), lambda us: GROVE.to_microsiemens(GROVE.to_readings(us))),
        ("shimmer3", Fraction(128), lambda us: to_microsiemens(from_microsiemens(us))),
        ("bitalino", Fraction(100), lambda us: BITALINO.to_microsiemens(BITALINO.to_readings(us))),
    ],
)
def test_other_devices_give_the_offline_predictions(
    int8_model: Path, format: str, rate_hz: Fraction, measured: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> None:
    seconds = 40
    signal_us = np.concatenate(list(islice(simulated_blocks(float(rate_hz), 5, 64), 80)))
    signal_us = measured(signal_us[: round(seconds * float(rate_hz))])
    expected = offline(signal_us[1:] if format == "grove" else signal_us, rate_hz, int8_model)
    url = f"sim://?rate={rate_hz}&seed=5&speed=0&seconds={seconds}&format={format}"
    command = [EDGE, "--port", url, "--format", format, "--json", "--model", str(int8_model)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert timeless(done.stdout) == expected
    assert len(expected) >= 34
    assert done.returncode == 0


def test_simulated_sensor_gives_the_offline_predictions(int8_model: Path) -> None:
    hello = linear_hello(Fraction(128))
    signal_us = np.concatenate(list(islice(simulated_blocks(128.0, 5, 64), 80)))
    gain, offset = hello.calibration
    unit = Unit("adc", hello.adc_bits, full_scale_us=gain * 2**hello.adc_bits, offset_us=offset)
    values = unit.to_microsiemens(counts_of(signal_us, hello).astype(np.float64))
    expected = offline(values, Fraction(128), int8_model)

    command = [EDGE, "--port", "sim://?rate=128&seed=5&speed=0&seconds=40", "--json", "--model", str(int8_model)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert timeless(done.stdout) == expected
    assert len(expected) == 35
    assert (done.returncode, counts_line(done.stderr)) == (0, last_line(5120, 35))


@needs_eda
@pytest.mark.parametrize("speed", [0.0, 20.0])
def test_simulated_firmware_gives_the_offline_predictions(
    int8_model: Path, built: Callable[..., Path], speed: float
) -> None:
    divider = Unit("divider", 13)
    recorded = divider.to_readings(Unit("adc", adc_bits=12).to_microsiemens(np.loadtxt(EDA)))
    with FirmwareSimulator(built("simulator"), built("firmware"), recorded, rate_hz=1000.0, speed=speed) as device:
        command = [EDGE, "--port", device.path, "--once", "--json", "--model", str(int8_model)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        device.wait()
        (went_in,) = device.log()
    samples = len(recorded) * 128 // 1000 // 8 * 8
    found = timeless(done.stdout)
    expected = offline(divider.to_microsiemens(went_in.astype(np.float64)), Fraction(128), int8_model)
    assert len(found) >= 144
    assert found == expected[: len(found)]
    *_, counted, gone = done.stderr.splitlines()
    received = int(counted.removeprefix("ekd-edge: ").split()[0])
    assert samples <= received <= len(went_in)
    assert counts_line(counted) == last_line(received, len(found))
    assert "went away: check the plug" in gone


def test_damaged_frames_lose_only_their_own_samples(int8_model: Path, tmp_path: Path) -> None:
    hello = linear_hello(Fraction(128))
    counts = counts_of(np.concatenate(list(islice(simulated_blocks(128.0, 8, 64), 120))), hello)
    bursts = [burst.data for burst in frame_bursts([counts], hello)]
    middle = len(bursts) // 2
    bursts[middle] = bursts[middle][:5] + bytes([bursts[middle][5] ^ 0x40]) + bursts[middle][6:]
    (tmp_path / "bytes.ekd").write_bytes(b"".join(bursts))
    done = replay(tmp_path / "bytes.ekd", "--model", int8_model)
    found = predictions(done.stdout)
    gap = (middle - 1) * 8
    over = [p["first_index"] + 512 > gap and p["first_index"] < gap + 8 for p in found]
    assert sum(over) == 4
    assert [p["quality"] for p in found] == [round(1 - 8 / 512, 3) if lossy else 1.0 for lossy in over]
    assert f"{7680 - 8} samples received, 8 dropped, 1 rejected" in done.stderr
    assert {p["segment"] for p in found} == {0}


def test_concatenated_predictions_do_not_depend_on_the_chunks_of_time(int8_model: Path) -> None:
    values = np.concatenate(list(islice(simulated_blocks(128.0, 2, 64), 60)))
    model_file = load_model_file(int8_model)
    cuts = np.split(values, sorted(np.random.default_rng(0).integers(0, len(values), 300)))
    starts = np.cumsum([0, *map(len, cuts)])[:-1]
    blocks = [SampleBlock(part, int(at), Fraction(128)) for part, at in zip(cuts, starts, strict=True)]
    stream = io.StringIO()
    sink = JsonLinesSink(stream)
    classifier = open_classifier(model_file)
    for prediction in predict_stream(chain(blocks), model_file.manifest, classifier):
        sink.write(prediction)
    assert predictions(stream.getvalue()) == offline(values, Fraction(128), int8_model)
