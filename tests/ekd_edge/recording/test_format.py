"""Recordings: encoding, damaged files, retention, replay and export."""

import json
import random
import signal
import subprocess
import time
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ekd_edge.cli.recording.main import main
from ekd_edge.errors import FormatError
from ekd_edge.recording.format import Encoder, Mark, PredictionLine, Reader, is_recording
from ekd_edge.recording.recorder import Recorder
from ekd_edge.recording.replay import RecordingReplay, find_recordings, read_recordings
from ekd_edge.signal.blocks import SampleBlock
from firmware_bridge.devices.ekd.emulator import EkdEmulator
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.emulation.line_faults import Fault
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.synthesis import simulated_blocks
from firmware_bridge.units import Unit
from tests.helpers.edge_command import EDGE

UNIT = Unit("adc", 13, 30.0)

finite = st.floats(-1e6, 1e6)


def block_of(
    readings: NDArray[np.float64],
    first_index: int = 0,
    segment: int = 0,
    rate: Fraction = Fraction(128),
    unit: Unit | None = UNIT,
) -> SampleBlock:
    values = readings if unit is None else unit.to_microsiemens(readings)
    return SampleBlock(values, first_index, rate, segment, None if unit is None else readings, unit)


@st.composite
def any_block(draw: st.DrawFn) -> SampleBlock:
    unit = draw(st.sampled_from([UNIT, Unit("ohm"), None]))
    number = {UNIT: st.integers(0, 8191), Unit("ohm"): st.floats(1, 1e7), None: finite}[unit]
    readings = np.array(draw(st.lists(number, min_size=1, max_size=300)), dtype=np.float64)
    rate = draw(st.sampled_from([Fraction(128), Fraction(39, 2), Fraction(1000, 3)]))
    return block_of(readings, draw(st.integers(0, 2**40)), draw(st.integers(0, 5)), rate, unit)


items = st.lists(
    st.one_of(
        any_block(),
        st.builds(Mark, st.floats(0, 2e9), st.text(max_size=600)),
        st.builds(PredictionLine, st.text(max_size=900)),
    ),
    max_size=8,
)


def encoded(sent: list[SampleBlock | Mark | PredictionLine]) -> bytes:
    encoder = Encoder()
    wire = encoder.begin({"run": "r"})
    for item in sent:
        if isinstance(item, SampleBlock):
            wire += encoder.block(item)
        else:
            wire += encoder.mark(item) if isinstance(item, Mark) else encoder.prediction(item.text)
    return wire


def samples(found: Any) -> list[tuple[int, int, Fraction, float]]:
    return [
        (item.segment, item.first_index + i, item.rate_hz, value)
        for item in found
        if isinstance(item, SampleBlock)
        for i, value in enumerate(item.values.tolist())
    ]


@given(items, st.lists(st.integers(0, 5000), max_size=5))
def test_encoded_items_are_decoded_unchanged(sent: list[Any], cuts: list[int]) -> None:
    wire = encoded(sent)
    assert is_recording(wire)
    reader = Reader()
    edges = [0, *sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)]
    found = [item for a, z in pairwise(edges) for item in reader.feed(wire[a:z])]
    assert samples(found) == samples(sent)
    assert [i for i in found if not isinstance(i, SampleBlock)] == [i for i in sent if not isinstance(i, SampleBlock)]
    assert reader.damaged == 0


@settings(max_examples=200)
@given(items, st.integers(0, 2**32))
def test_torn_or_damaged_recording_gives_only_recorded_samples(sent: list[Any], seed: int) -> None:
    wire = bytearray(encoded(sent))
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 5)):
        wire[chance.randrange(len(wire))] ^= 1 << chance.randrange(8)
    del wire[chance.randrange(len(wire)) :]
    assert set(samples(Reader().feed(bytes(wire)))) <= set(samples(sent))


@pytest.mark.parametrize(
    "text",
    [
        '{"ekd_recording": 2}',
        '{"ekd_recording": 1',
        "[]",
        '{"source": 1, "segment": "x", "rate_hz": "1/0", "unit": {}}',
    ],
)
def test_invalid_metadata_is_one_sentence(text: str) -> None:
    from ekd_edge.recording import format as recording

    for kind in b"hsm":
        if kind == ord("h") or not text.startswith('{"ekd_recording": 2}'):
            with pytest.raises(FormatError, match=r"invalid metadata|update ekd"):
                list(Reader().feed(b"\0" + recording._text(kind, text)))


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
    assert len(samples(found)) == received
    assert f"{received} samples recorded, 0 not" in err
    assert any("went away" in item.text for item in found if isinstance(item, Mark))


def test_kill_loses_at_most_the_last_second(model_path: Path, tmp_path: Path) -> None:
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
        indices = [index for _, index, _, _ in samples(read_recordings(files, Reader()))]
        assert indices == list(range(len(indices)))
        assert len(indices) / 128 > seconds - 1.0


def test_info_and_export_show_every_stretch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    messages: list[str] = []
    recorder = Recorder(tmp_path / "r", {"run": "a", "port": "/dev/x", "model": "m"}, messages.append)
    for segment, first, n in ((0, 0, 1280), (0, 1280, 640), (0, 3000, 256), (1, 0, 512)):
        values = 2000 + np.arange(first, first + n) % 500
        recorder.observe(block_of(values.astype(np.float64), first, segment))
    recorder.mark("the device has restarted")
    recorder.finish()
    assert main(["info", str(tmp_path / "r"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(s["segment"], s["first_index"], s["seconds"]) for s in found["stretches"]] == [
        (0, 0, 15.0),
        (0, 3000, 2.0),
        (1, 0, 4.0),
    ]
    assert (found["samples"], found["predictions"], found["damaged_frames"]) == (2688, 0, 0)
    assert found["marks"][0]["text"] == "the device has restarted"
    assert main(["info", str(tmp_path / "r")]) == 0
    assert "segment 0 from sample 3000: 2.0 s at 128 Hz" in capsys.readouterr().out

    assert (
        main(["export", str(tmp_path / "r"), "--csv", str(tmp_path / "all.csv"), "--edf", str(tmp_path / "a.edf")]) == 0
    )
    rows = (tmp_path / "all.csv").read_text().splitlines()
    assert rows[0] == "segment,index,time_s,gsr_us"
    assert rows[1] == f"0,0,0.000000,{2000 / 8192 * 30!r}"
    assert len(rows) == 2689
    mne = pytest.importorskip("mne", reason="the bridges extra is not installed")
    raw = mne.io.read_raw_edf(tmp_path / "a.edf", verbose="error")
    assert raw.info["sfreq"] == 128
    expected = (2000 + np.arange(1920) % 500) / 8192 * 30
    assert np.abs(raw.get_data()[0] - expected).max() < 1e-3
    last = mne.io.read_raw_edf(tmp_path / "a-3.edf", verbose="error")
    assert list(last.annotations.description) == ["the device has restarted"]


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["info", "nowhere"], "does not exist"),
        (["info", "."], "holds no recording"),
        (["export", "x.csv", "--csv", "y"], "is not a recording"),
        (["export", "x.csv"], "name a file to write"),
    ],
)
def test_faults_end_in_one_sentence(
    arguments: list[str],
    advice: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments[-1] != ".":
        (tmp_path / "x.csv").write_text("1\n2\n")
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert advice in err
    assert err.count("\n") == 1


def test_export_is_refused_before_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "nowhere", "--csv", str(tmp_path / "no" / "a.csv")]) == 2
    assert "the folder does not exist" in capsys.readouterr().err
    monkeypatch.setattr("firmware_bridge.dependencies.PathFinder.find_spec", lambda name: None)
    assert main(["export", "nowhere", "--edf", "a.edf"]) == 2
    assert "--edf needs edfio, which is not installed" in capsys.readouterr().err


def test_empty_recording_holds_no_samples(tmp_path: Path) -> None:
    (tmp_path / "e.ekdrec").write_bytes(Encoder().begin({"run": "a"}))
    with pytest.raises(FormatError, match="holds no samples"):
        list(RecordingReplay([tmp_path / "e.ekdrec"]).blocks())
