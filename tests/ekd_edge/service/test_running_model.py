"""SIGHUP replaces the model of a running process; a bad file does not."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np

from ekd_edge.model.file import load_model_file, save_model_file
from ekd_edge.model.find import DEMO_FILE
from ekd_edge.pipeline.stream import SensorPipeline
from ekd_edge.recording.contents import read_contents
from ekd_edge.recording.format import Mark
from ekd_edge.recording.reader import Reader
from ekd_edge.recording.replay import find_recordings, read_recordings
from ekd_edge.signal.blocks import SampleBlock
from firmware_bridge.emulation.pty import PtyDevice
from tests.helpers.numbered_sensor import HZ, Edge, check, numbered_device, until


def replace(path: Path, data: bytes) -> None:
    """Replace a file in one step, as ekd-export does."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)


def test_sighup_runs_the_new_file_and_keeps_the_windows(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    shutil.copy(DEMO_FILE, path)
    with PtyDevice(numbered_device(600, 20), tmp_path / "s"):
        arguments = ("--port", tmp_path / "s", "--model", path, "--json", "--record", tmp_path / "r")
        with Edge(tmp_path, *arguments) as edge:
            until(lambda: len(edge.out) >= 3)
            other = load_model_file(DEMO_FILE)
            save_model_file(tmp_path / "other", other.flatbuffer + bytes(16), other.manifest)
            replace(path, (tmp_path / "other").read_bytes())
            edge.process.send_signal(signal.SIGHUP)
            until(lambda: f"reloaded {path}: SHA-256 " in edge.err)
            had = len(edge.out)
            until(lambda: len(edge.out) >= had + 3)
            assert edge.stop() == 0
            times = [json.loads(line)["time"] for line in edge.out]
            assert times == [times[0] + k for k in range(len(times))], "no window is lost"
            assert "; windows start again" not in edge.err
    files = find_recordings(tmp_path / "r")
    assert files is not None
    marks = [item.text for item in read_recordings(files, Reader()) if isinstance(item, Mark)]
    assert sum(text.startswith(f"reloaded {path}") for text in marks) == 1
    digests = [load_model_file(file).manifest.sha256 for file in (DEMO_FILE, path)]
    assert read_contents(files).models == [(path.name, digest) for digest in digests], "the heads name what ran"
    found = check(tmp_path / "r")
    assert (found.segments, found.gaps, found.wrong, len(found.predictions)) == (1, 0, 0, len(times))


def test_sighup_with_a_file_that_is_no_model_keeps_the_present_one(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    shutil.copy(DEMO_FILE, path)
    with (
        PtyDevice(numbered_device(600, 20), tmp_path / "s"),
        Edge(tmp_path, "--port", tmp_path / "s", "--model", path, "--json") as edge,
    ):
        until(lambda: len(edge.out) >= 1)
        replace(path, b"junk")
        edge.process.send_signal(signal.SIGHUP)
        until(lambda: "the model was not reloaded, the present one runs on: " in edge.err)
        had = len(edge.out)
        until(lambda: len(edge.out) >= had + 3)
        assert edge.stop() == 0


def test_sighup_with_other_labels_asks_for_a_restart(model_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    shutil.copy(DEMO_FILE, path)
    with (
        PtyDevice(numbered_device(600, 20), tmp_path / "s"),
        Edge(tmp_path, "--port", tmp_path / "s", "--model", path, "--json") as edge,
    ):
        until(lambda: len(edge.out) >= 1)
        replace(path, model_path.read_bytes())
        edge.process.send_signal(signal.SIGHUP)
        sentence = f"{path} has other targets, labels or training data: restart ekd-edge to run it"
        until(lambda: f"the present one runs on: {sentence}" in edge.err)
        assert edge.stop() == 0


def test_model_with_another_signal_chain_starts_the_windows_again(model_path: Path) -> None:
    first, second = load_model_file(DEMO_FILE).manifest, load_model_file(model_path).manifest
    assert first.signal != second.signal
    pipeline, fresh = SensorPipeline(first), SensorPipeline(second)
    rate = second.signal.rate_hz
    walk = 5 + np.cumsum(np.random.default_rng(1).normal(scale=0.02, size=HZ * 40))
    list(pipeline.push(SampleBlock(walk[: HZ * 20], 0, rate), 0.0))
    pipeline.use_model(second)
    block = SampleBlock(walk[HZ * 20 :], HZ * 20, rate)
    found, expected = list(pipeline.push(block, 0.0)), list(fresh.push(block, 0.0))
    assert found
    assert [one.batch.values.tobytes() for one in found] == [one.batch.values.tobytes() for one in expected]
