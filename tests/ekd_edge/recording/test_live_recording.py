"""Recordings of a real process: the replay predicts the same, and a kill loses about a second."""

import json
import random
import signal
import subprocess
import time
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from ekd_edge.recording.format import Mark, PredictionLine
from ekd_edge.recording.reader import Reader
from ekd_edge.recording.replay import find_recordings, read_recordings
from firmware_bridge.devices.ekd.emulator import EkdEmulator
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.emulation.line_faults import Fault
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.synthesis import simulated_blocks
from tests.ekd_edge.recording.blocks import samples_of
from tests.helpers.edge_command import EDGE


def edge(port: str, model: Path, *options: object) -> "subprocess.Popen[str]":
    command = [EDGE, "--port", port, "--json", "--model", str(model), *map(str, options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def player(seconds: int, speed: float, faults: tuple[Fault, ...] = ()) -> Player:
    waveform = Waveform(islice(simulated_blocks(128.0, 4, 64), seconds * 2), Fraction(128))
    return Player(EkdEmulator(waveform), speed, faults=faults)


def bare(line: str) -> dict[str, Any]:
    prediction: dict[str, Any] = json.loads(line)
    del prediction["latency_ms"]
    return prediction


@pytest.mark.parametrize("smoothing", [(), ("--smooth", "5", "--margin", "0.1")], ids=["plain", "smoothed"])
def test_replayed_recording_predicts_the_same(smoothing: tuple[str, ...], model_path: Path, tmp_path: Path) -> None:
    """The recording has resets, damage and an unplugging; replay applies the smoothing of the recording."""
    faults = (Fault("flip", 2e-5), Fault("reset", at_s=40.0), Fault("unplug", 1.0, 80.0))
    link = tmp_path / "sensor"
    with PtyDevice(player(120, 30, faults), link) as device:
        process = edge(str(link), model_path, "--record", tmp_path / "kept", *smoothing)
        device.wait(30)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=300)
    live = [bare(line) for line in out.splitlines()]
    assert len(live) > 40
    assert {p["segment"] for p in live} == {0, 1, 2}
    done = subprocess.run(
        [EDGE, "--replay", str(tmp_path / "kept"), "--json", "--model", str(model_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert [bare(line) for line in done.stdout.splitlines()] == live
    (file,) = (tmp_path / "kept").glob("*.ekdrec")
    found = list(read_recordings([file], Reader()))
    assert [bare(item.text) for item in found if isinstance(item, PredictionLine)] == live
    received = int(err.splitlines()[-1].split(" samples received")[0].split()[-1])
    assert len(samples_of(found)) == received
    assert f"{received} samples recorded, 0 not" in err
    assert any("went away" in item.text for item in found if isinstance(item, Mark))


def test_kill_loses_about_a_second_at_most(model_path: Path, tmp_path: Path) -> None:
    """The port is read once a second and the recording written a quarter of a second later at most; then comes load."""
    chance = random.Random(5)
    for turn in range(6):
        folder = tmp_path / str(turn)
        with PtyDevice(player(60, 1)) as device:
            process = edge(device.path, model_path, "--record", folder)
            began = time.monotonic()
            while device.sent_bytes == 0:
                assert time.monotonic() - began < 20
                time.sleep(0.01)
            began = time.monotonic()
            time.sleep(2 + chance.random())
            process.kill()
            seconds = time.monotonic() - began
            process.communicate()
        files = find_recordings(folder)
        assert files is not None
        indices = [index for _, index, *_ in samples_of(read_recordings(files, Reader()))]
        assert indices == list(range(len(indices)))
        assert len(indices) / 128 > seconds - 1.25 - 0.5
