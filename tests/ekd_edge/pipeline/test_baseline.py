"""A wearer's baseline: measurement, storage, ownership and effect."""

import json
from collections.abc import Callable
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ekd_edge.cli.main import main
from ekd_edge.errors import ConfigError, SignalError
from ekd_edge.model.manifest import Manifest
from ekd_edge.pipeline.baseline import RestingBaseline, baseline_file, baseline_lookup, save_baseline, take_baseline
from ekd_edge.recording.format import Encoder
from ekd_edge.recording.reader import Reader
from ekd_edge.signal.blocks import Baseline, SampleBlock
from ekd_edge.signal.design import gsr_spec
from ekd_edge.signal.normalize import Normalizer
from ekd_edge.signal.preprocessor import Preprocessor
from ekd_edge.signal.spec import Normalization
from firmware_bridge.devices.ekd.emulator import EkdEmulator
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.synthesis import simulated_blocks

SPEC = gsr_spec(16, window_s=4)
RESTING = RestingBaseline(Baseline(1.25, 0.01, 60.0), 3.49, 0.02)


@pytest.fixture(autouse=True)
def kept_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EKD_BASELINES", str(tmp_path / "kept"))
    return tmp_path / "kept"


def signal(seconds: int, level: float = 4.0, rate: int = 16, slope: float = 0.0) -> SampleBlock:
    t = np.arange(seconds * rate) / rate
    return SampleBlock(level + slope * t + 0.05 * np.sin(t), 0, Fraction(rate))


def test_baseline_is_the_mean_of_the_normalizations_input() -> None:
    resting = take_baseline([signal(90)], SPEC, 60)
    assert resting.baseline.mean == pytest.approx(np.log(4.0), abs=0.002)
    assert resting.baseline.seconds == 60
    assert resting.level_us == pytest.approx(4.0, abs=0.01)
    assert abs(resting.drift) < 0.01
    linear = gsr_spec(16, normalization=Normalization("ema", 240, 1.0))
    assert take_baseline([signal(90)], linear, 60).baseline.mean == pytest.approx(4.0, abs=0.01)


def test_rising_level_shows_as_drift() -> None:
    assert take_baseline([signal(90, slope=0.02)], SPEC, 60).drift > 0.15


def test_bad_windows_are_left_out_and_too_many_are_refused() -> None:
    good = signal(300).values.copy()
    good[16 * 20 : 16 * 40] = 0.0
    seen: list[tuple[float, str | None]] = []
    resting = take_baseline([SampleBlock(good, 0, Fraction(16))], SPEC, 60, lambda *messages: seen.append(messages))
    assert resting.level_us == pytest.approx(4.0, abs=0.05)
    with pytest.raises(SignalError, match=r"only 0 of 60 s were of acceptable quality \(electrodes off or dry\)"):
        take_baseline([SampleBlock(np.zeros(16 * 400), 0, Fraction(16))], SPEC, 60)
    with pytest.raises(SignalError, match="only 28 of 60 s were of acceptable quality: check"):
        take_baseline([signal(30)], SPEC, 60)


@pytest.mark.parametrize("mode", ["none", "window"])
def test_model_without_a_running_mean_needs_no_baseline(mode: Any) -> None:
    spec = gsr_spec(16, normalization=Normalization(mode))
    with pytest.raises(SignalError, match="needs no baseline"):
        take_baseline([signal(90)], spec, 60)
    with pytest.raises(ConfigError, match="needs no baseline"):
        baseline_lookup("anna", spec, print)


@pytest.mark.parametrize("mode", ["log-ema", "ema", "ema-zscore"])
def test_normalization_continues_from_the_baseline(mode: Any) -> None:
    """A baseline of a constant level has the same effect as an hour at that level."""
    normalization = Normalization(mode, 240.0, 1.0)
    level = np.log(4.0) if mode == "log-ema" else 4.0
    seen, messages = Normalizer(normalization, Fraction(16)), Normalizer(normalization, Fraction(16))
    seen.push(np.full(3600 * 16, 4.0))
    messages.reset(Baseline(level, 0.0, 3600.0))
    after = 4.0 + 0.1 * np.sin(np.arange(800) / 9)
    np.testing.assert_allclose(
        messages.push(after), seen.push(after), rtol=0, atol=1e-12 if mode != "ema-zscore" else 1e-9
    )


def test_baseline_weight_is_its_duration() -> None:
    """60 s at 4 uS have the weight 1 - exp(-60 / 240) in the mean, with which a jump to 5 uS is compared."""
    normalizer = Normalizer(Normalization("ema", 240.0, 1.0), Fraction(16))
    normalizer.reset(Baseline(4.0, 0.0, 60.0))
    first = normalizer.push(np.array([5.0]))
    assert first[0] == pytest.approx(1.0, abs=0.02)


def test_baseline_applies_to_each_segment_for_any_block_sizes() -> None:
    baseline = Baseline(float(np.log(3.0)), 0.01, 60.0)
    plain, seeded, cut = Preprocessor(SPEC), Preprocessor(SPEC), Preprocessor(SPEC)
    values = signal(20).values
    without = plain.push_batch(SampleBlock(values, 0, Fraction(16))).values
    first = seeded.push_batch(SampleBlock(values, 0, Fraction(16), 0, baseline=baseline)).values
    second = seeded.push_batch(SampleBlock(values, 0, Fraction(16), 1, baseline=baseline)).values
    pieces = [
        cut.push_batch(SampleBlock(part, int(at), Fraction(16), 0, baseline=baseline)).values
        for part, at in zip(np.split(values, [5, 100, 101]), [0, 5, 100, 101], strict=True)
    ]
    assert np.abs(first - without).max() > 0.1
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, np.concatenate(pieces))


def test_recording_keeps_the_baseline() -> None:
    block = SampleBlock(np.ones(9), 0, Fraction(16), 0, baseline=RESTING.baseline, lead_off=True)
    encoder = Encoder()
    (read,) = Reader().feed(encoder.begin({}) + encoder.block(block))
    assert isinstance(read, SampleBlock)
    assert (read.baseline, read.lead_off) == (RESTING.baseline, True)


def test_baseline_belongs_to_one_wearer_sensor_and_chain(kept_in: Path) -> None:
    messages: list[str] = []
    assert save_baseline("anna", "ekd 01", SPEC, RESTING) == kept_in / "anna.json"
    save_baseline("anna", "ekd 02", SPEC, RestingBaseline(Baseline(2.0, 0.0, 60), 7.0, 0))
    assert baseline_lookup("anna", SPEC, messages.append)("ekd 01") == RESTING.baseline
    assert "starting from the baseline of anna, 3.49 uS, taken 2" in messages[-1]
    for wearer, sensor, spec in [
        ("bert", "ekd 01", SPEC),
        ("anna", "ekd 03", SPEC),
        ("anna", "ekd 01", gsr_spec(16, cutoff_hz=1.0)),
    ]:
        assert baseline_lookup(wearer, spec, messages.append)(sensor) is None
        assert f"no baseline of {wearer} with {sensor}" in messages[-1]


@pytest.mark.parametrize("name", ["", "../anna", "an na", "x" * 65, ".hidden"])
def test_path_is_refused_as_a_wearer(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a valid wearer"):
        baseline_file(name)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"ekd_baselines": 2}', '{"ekd_baselines": 1, "wearer": "bert", "baselines": {}}']
)
def test_file_of_another_wearer_or_kind_is_refused(text: str, kept_in: Path) -> None:
    kept_in.mkdir()
    (kept_in / "anna.json").write_text(text)
    with pytest.raises(ConfigError, match="holds no baselines of anna"):
        baseline_lookup("anna", SPEC, print)


@pytest.mark.parametrize("field", ["mean", "variance", "seconds", "level_us"])
@pytest.mark.parametrize("value", ["1.5", True, None, float("nan"), 1e300, [1.5]])
def test_number_of_another_kind_or_size_is_refused(field: str, value: object, kept_in: Path) -> None:
    path = save_baseline("anna", "ekd 01", SPEC, RESTING)
    data = json.loads(path.read_text())
    (one,) = data["baselines"].values()
    one[field] = value
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match="holds no baselines of anna"):
        baseline_lookup("anna", SPEC, print)


def test_unwritable_folder_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EKD_BASELINES", "/proc/nowhere")
    with pytest.raises(ConfigError, match="cannot store the baseline"):
        save_baseline("anna", "ekd 01", SPEC, RESTING)


def test_calibrate_measures_the_baseline_of_a_sensor(
    write_model: Callable[..., Path], gsr_manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "m.tflite")
    waveform = Waveform(islice(simulated_blocks(128.0, 1, 128), 200), Fraction(128))
    with PtyDevice(Player(EkdEmulator(waveform), speed=0)) as device:
        arguments = ["--port", device.path, "--wearer", "anna", "--model", str(model), "--json"]
        assert main(["calibrate", *arguments]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert "Sit comfortably" in err
    assert found["sensor"] == "ekd ekd-sim"
    messages: list[str] = []
    kept = baseline_lookup("anna", gsr_manifest.signal, messages.append)("ekd ekd-sim")
    assert kept == Baseline(**found["baseline"])
    assert main(["calibrate", "--port", "/dev/nowhere7", "--wearer", "anna", "--model", str(model)]) == 2
    assert main(["calibrate", "--port", "sim://", "--wearer", "a/b", "--model", str(model)]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_folder_of_baselines_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert baseline_file("anna", {"EKD_BASELINES": "~/kept"}) == tmp_path / "kept" / "anna.json"


def test_calibrate_checks_the_storage_before_the_minute_at_rest(
    write_model: Callable[..., Path],
    kept_in: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--port", "sim://?speed=0", "--wearer", "anna", "--model", str(write_model(tmp_path / "m.tflite"))]
    kept_in.mkdir()
    (kept_in / "anna.json").write_text("null")
    assert main(["calibrate", *arguments]) == 2
    monkeypatch.setenv("EKD_BASELINES", "/proc/nowhere")
    assert main(["calibrate", *arguments]) == 2
    monkeypatch.setenv("EKD_BASELINES", "/proc")
    assert main(["calibrate", *arguments]) == 2
    damaged, missing, closed = capsys.readouterr().err.splitlines()
    advice = "holds no baselines of anna: delete it and calibrate again"
    assert damaged == f"ekd-edge calibrate: {kept_in}/anna.json {advice}"
    assert missing.startswith("ekd-edge calibrate: cannot store the baseline in /proc/nowhere/anna.json: ")
    assert closed.startswith("ekd-edge calibrate: cannot store the baseline in /proc/anna.json: ")
