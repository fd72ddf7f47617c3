"""Several sensors in one real process: predictions, isolation of failures, a slow reader of stdout."""

import json
import os
import subprocess
from contextlib import ExitStack
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ekd_edge.recording.files import recording_folder
from ekd_edge.recording.replay import find_recordings
from ekd_edge.service.model_watcher import ModelWatcher
from firmware_bridge.devices.bitalino.emulator import BitalinoEmulator
from firmware_bridge.devices.ekd.emulator import EkdEmulator
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.emulation.line_faults import Fault
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.synthesis import simulated_blocks
from tests.helpers.edge_command import EDGE, predictions
from tests.helpers.numbered_sensor import HZ, Edge, until


def player(seconds: int, seed: int, faults: tuple[Fault, ...] = (), speed: float = 8) -> Player:
    waveform = Waveform(islice(simulated_blocks(128.0, seed, 128), seconds), Fraction(128))
    return Player(EkdEmulator(waveform), speed, faults=faults)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "EKD_STATUS": str(tmp_path / "status"), "EKD_BASELINES": str(tmp_path / "baselines")}


def edge(environment: dict[str, str], *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [EDGE, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def status(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([EDGE, "status"], capture_output=True, text=True, env=environment, timeout=300)


def test_each_port_has_the_predictions_of_its_own_recording(
    model_path: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    with ExitStack() as devices:
        ports = [devices.enter_context(PtyDevice(player(40, seed), tmp_path / f"s{seed}")) for seed in (1, 2, 3)]
        named = [argument for seed in (1, 2, 3) for argument in ("--port", tmp_path / f"s{seed}")]
        process = edge(environment, *named, "--once", "--json", "--model", model_path, "--record", tmp_path / "r")
        out, err = process.communicate(timeout=300)
        assert len(ports) == 3
    assert "went away" in err
    assert process.returncode == 2, "every device was unplugged"
    found = predictions(out)
    for seed in (1, 2, 3):
        folder = recording_folder(tmp_path / "r", str(tmp_path / f"s{seed}"))
        mine = [
            {k: v for k, v in one.items() if k != "port"} for one in found if one["port"] == str(tmp_path / f"s{seed}")
        ]
        replay = edge(environment, "--replay", folder, "--json", "--model", model_path)
        assert predictions(replay.communicate(timeout=300)[0]) == mine
        assert len(mine) == 34
        assert find_recordings(folder)


def test_failed_sensor_does_not_end_the_others(model_path: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """The first sensor is unplugged, the second sends another format than the one named, the third continues."""

    def sound(lines: list[str]) -> list[dict[str, object]]:
        return [one for one in map(json.loads, lines) if one["port"] == str(tmp_path / "sound")]

    waveform = Waveform(islice(simulated_blocks(1000.0, 1, 1000), 60), Fraction(1000))
    bitalino = Player(BitalinoEmulator(waveform), 1)
    with (
        PtyDevice(player(60, 1, (Fault("unplug", at_s=3.0),), speed=1), tmp_path / "pulled"),
        PtyDevice(bitalino, tmp_path / "foreign"),
        PtyDevice(player(60, 3, speed=1), tmp_path / "sound"),
    ):
        named = [argument for name in ("pulled", "foreign", "sound") for argument in ("--port", tmp_path / name)]
        arguments = (*named, "--format", "ekd", "--json", "--model", model_path, "--once")
        with Edge(tmp_path, *arguments, environment=environment) as process:
            gone = (
                f"{tmp_path}/pulled went away: check the plug and the cable, then start again; the other ports continue"
            )
            until(lambda: gone in process.err)
            until(lambda: (shown := status(environment)).returncode == 1 and "! " in shown.stdout)
            assert "/sound: ekd ekd-sim: 128 Hz" in status(environment).stdout
            before = len(sound(process.out))
            until(lambda: len(sound(process.out)) >= max(7, before + 2))
            assert process.stop() == 0
            assert "Traceback" not in process.err
            assert [one["time"] for one in sound(process.out)] == [6.0 + k for k in range(len(sound(process.out)))]


def test_stuck_stdout_reader_does_not_block_recording(
    model_path: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Stdout is a full pipe without a reader; the recording still has every sample."""
    with PtyDevice(player(4000, 1, speed=0), tmp_path / "s"):
        process = edge(
            environment, "--port", tmp_path / "s", "--once", "--json", "--model", model_path, "--record", tmp_path / "r"
        )
        assert process.stderr is not None
        err = process.stderr.read()
        process.wait(300)
    assert "512000 samples received, 0 dropped" in err
    assert "512000 samples recorded, 0 not" in err
    assert "the oldest predictions are dropped (and counted)" in err
    dropped = int(err.split(" predictions dropped")[0].split()[-1])
    assert process.stdout is not None
    process.stdout.close()
    process.stderr.close()
    assert 2000 < dropped < 3995


def test_input_outside_the_calibrated_range_is_reported(tmp_path: Path) -> None:
    """The conductance jumps between 2 and 20 uS every 20 s for 15 minutes, which the demo model's int8 input clips."""
    jumps = (np.full(HZ * 20, 20.0 if number % 2 else 2.0) for number in range(45))
    device = Player(EkdEmulator(Waveform(jumps, Fraction(HZ))), 0)
    arguments = ("--port", tmp_path / "s", "--model", "demo", "--json", "--record", tmp_path / "r")
    with PtyDevice(device, tmp_path / "s"), Edge(tmp_path, *arguments) as process:
        until(lambda: process.samples == HZ * 900 and len(process.out) > 870)

        def about_input() -> dict[str, Any]:
            state = process.status()
            assert state is not None
            found: dict[str, Any] = state["ports"][0]["input"]
            return found

        until(lambda: about_input()["samples"] == 16 * (len(process.out) + 15))
        found = about_input()
        assert found["hour_clipped"] > 0.05 * found["hour_samples"]
        assert found["hour_seen"][1] > found["calibrated"][1]
        shown = status(process.environment)
        assert shown.returncode == 1
        share = f"{found['hour_clipped'] / found['hour_samples']:.1%} of the last hour's"
        assert f"    input: {share} samples are outside the range that the model was calibrated on" in shown.stdout
        assert f"! {tmp_path}/s: {share} input is outside the range" in shown.stdout
        assert process.stop() == 0
        (message,) = [line for line in process.err.splitlines() if "check the electrodes and the unit" in line]
        assert message.startswith(f"ekd-edge: {tmp_path}/s: ")
        closing = f"{share.split()[0]} of the model's input was outside the range that it was calibrated on"
        assert process.err.endswith(f"; {closing}\n")
    replay = edge(process.environment, "--replay", tmp_path / "r", "--model", "demo", "--json")
    assert replay.communicate(timeout=300)[1].endswith(f"; {closing}\n")


def test_wearers_that_do_not_match_the_ports_are_refused(model_path: Path, environment: dict[str, str]) -> None:
    for arguments in (
        ["--port", "sim://", "--wearer", "a", "--wearer", "b"],
        ["--port", "sim://", "--port", "sim://"],
        ["--replay", "x.csv", "--wearer", "a"],
    ):
        process = edge(environment, *arguments, "--model", model_path)
        message = process.communicate(timeout=300)[1]
        assert message.startswith("ekd-edge: ")
        assert message.count("\n") == 1
        assert process.returncode == 2


def test_replaced_model_is_notified_once(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(b"old")
    messages: list[str] = []
    model = ModelWatcher(path, messages.append)
    model.look()
    assert not model.replaced
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "new").replace(path)
    model.look()
    model.look()
    assert model.replaced
    assert len(messages) == 1
