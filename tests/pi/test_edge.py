"""`ekd-edge` on a Raspberry Pi's systems: a sensor on a device node, `doctor` and `bench`."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_bridge.devices.ekd.emulator import frame_bursts, linear_hello
from firmware_bridge.devices.stated_unit import unit_of_hello
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.emulation.script import ScriptedEmulator
from firmware_bridge.synthesis import simulated_blocks
from tests.pi.students import Students, command
from tests.pi.trees import Installed

EDGE = "/root/ekd/bin/ekd-edge"
MODEL = "/root/ekd/student-int8.tflite"
SECONDS = 45
FIRST_WINDOW_S = 34
"""Two seconds to settle, 32 of signal, then one a second; the resampler looks ahead a little."""
MOST = 0.05
"""By how much a probability may differ: a few steps of the quantized logits, see test_agreement.py."""


def parsed(lines: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in lines.splitlines()]
    return [{key: value for key, value in each.items() if key != "latency_ms"} for each in found]


def test_sensor_on_a_device_node_gives_the_predictions_of_this_machine(
    students: Students, installed: Installed, tmp_path: Path, number: str
) -> None:
    hello = linear_hello(128)
    signal = np.concatenate(list(islice(simulated_blocks(128.0, 8, 64), SECONDS * 2)))
    counts = unit_of_hello(hello).to_readings(signal).astype(np.uint16)
    bursts = list(frame_bursts([counts], hello))
    (tmp_path / "bytes.ekd").write_bytes(b"".join(burst.data for burst in bursts))
    expected = parsed(
        command("ekd-edge", "--replay", tmp_path / "bytes.ekd", "--model", students.files["int8"], "--json")
    )
    assert len(expected) == SECONDS - FIRST_WINDOW_S

    tree = installed(number)
    with PtyDevice(Player(ScriptedEmulator(bursts, hello.rate_hz, hello), speed=10)) as device:
        done = tree.run(EDGE, "--port", device.path, "--once", "--model", MODEL, "--json")
    assert f"{len(counts)} samples received, 0 dropped, 0 rejected; {len(expected)} windows" in done.stderr
    found = parsed(done.stdout)
    for mine, theirs in zip(expected, found, strict=True):
        ours, its = (each.pop("targets")["arousal"] for each in (mine, theirs))
        # A file of bytes has no wall-clock times.
        assert (mine.pop("utc"), theirs.pop("utc") is None) == (None, False)
        assert theirs == mine
        assert ours["probabilities"] == pytest.approx(its["probabilities"], abs=MOST)
        assert ours["label"] == its["label"] or abs(ours["probabilities"][0] - 0.5) < MOST


def test_doctor_recognises_the_emulated_system(installed: Installed, number: str) -> None:
    tree = installed(number)
    done = tree.run(EDGE, "doctor", "--model", MODEL, "--port", "/dev/null0", "--json")
    assert done.returncode == 2, done.stderr
    report = json.loads(done.stdout)
    assert report["machine"]["architecture"] == "aarch64"
    assert report["machine"]["emulated"].startswith("qemu-user")
    found = {each["name"]: each for each in report["findings"]}
    assert found["runtime"]["message"].startswith("ai-edge-litert")
    faults = {name for name, each in found.items() if each["level"] == "fault"}
    assert faults == {"port"}
    assert "/dev/null0 does not exist" in found["port"]["message"]


def test_bench_marks_emulated_figures_as_meaningless(students: Students, installed: Installed) -> None:
    tree = installed("13")
    files = [f"/root/{file.name}" for file in students.files.values()]
    for file in students.files.values():
        tree.put(file, f"/root/{file.name}")
    done = tree.run(EDGE, "bench", *files, "--threads", "1,2", "--windows", "20", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["meaningless"].startswith("emulated by qemu-user")
    assert {(Path(each["file"]).name, each["threads"]) for each in found["timings"]} == {
        (file.name, threads) for file in students.files.values() for threads in (1, 2)
    }
    picking = tree.run(EDGE, "bench", *files, "--pick")
    assert picking.returncode == 2
    assert "does not apply to a board" in picking.stderr
