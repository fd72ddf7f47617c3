from fractions import Fraction

import numpy as np
import pytest

from ekd_edge.signal.blocks import SampleBlock, Window
from ekd_edge.signal.design import gsr_spec
from ekd_edge.signal.preprocessor import Preprocessor
from ekd_edge.signal.quality import ACCEPTABLE, Quality, assess, assess_all
from ekd_edge.signal.sample_quality import SampleQuality
from firmware_bridge.units import Unit
from tests.helpers.paths import SHARED

DATA = SHARED / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared recordings are not here")


SPEC = gsr_spec()


def assess_(found):
    return assess(found, SPEC)


def window(raw):
    raw = np.asarray(raw, dtype=np.float32)
    return Window(values=np.zeros_like(raw), raw=raw, first_index=0, end_s=0.0)


def test_plausible_signal_is_good():
    quality = assess_(window(5 + 0.1 * np.sin(np.arange(512) / 40)))
    assert (quality.score, quality.reason, quality.acceptable) == (1.0, None, True)


@pytest.mark.parametrize("level", [0.0, -1.0, 0.01])
def test_zero_conductance_is_electrodes_off(level):
    quality = assess_(window(np.full(512, level)))
    assert (quality.score, quality.acceptable) == (0.0, False)
    assert "off" in quality.reason


def test_conductance_above_the_limit_is_a_short_circuit():
    quality = assess_(window(np.linspace(61, 70, 512)))
    assert quality.score == 0.0
    assert "shorted" in quality.reason


def test_score_is_the_share_of_plausible_samples():
    raw = 0.06 + 0.005 * np.sin(np.arange(512))
    raw[:64] = 0.04
    assert assess_(window(raw)) == Quality(0.875, "electrodes off or dry")
    assert assess_(window(raw)).acceptable
    raw[:128] = 0.04
    assert assess_(window(raw)).score == 0.75 < ACCEPTABLE


@pytest.mark.parametrize("rate", [4, 16, 128, 1000])
def test_steep_change_is_a_jump(rate):
    """Kleckner et al. 2018: not by more than 10 uS a second."""
    seconds = np.arange(4 * rate) / rate
    rising = 5 + 9.9 * np.clip(seconds - 1, 0, 1)
    assert assess(window(rising), gsr_spec(rate)).acceptable
    jumping = 5 + 0.01 * np.sin(9 * seconds) + np.where(seconds < 3.5, 0, 2.6)
    found = assess(window(jumping), gsr_spec(rate))
    assert found.score == 0.0
    assert "jumps" in found.reason


@pytest.mark.parametrize(("level", "rate"), [(0.3, 128), (5.0, 4), (50.0, 1000), (7.3, 19)])
def test_constant_reading_is_a_flat_line_at_any_level_and_rate(level, rate):
    block = SampleBlock(np.full(10 * rate, level), 0, Fraction(rate))
    for stuck in Preprocessor(gsr_spec()).push(block):
        assert assess_(stuck).reason.startswith("flat")
        assert not assess_(stuck).acceptable


def test_one_step_of_a_fine_converter_is_not_a_flat_line():
    raw = np.full(512, 0.26)
    raw[300:] += 0.00128
    assert assess_(window(raw)).score == 1.0


def test_batch_of_windows_is_assessed_like_single_windows():
    raw = np.random.default_rng(0).uniform(-0.02, 0.2, size=(3000, 64)).astype(np.float32)
    raw[::7] = 3.0
    raw[::11] += 1.0
    assert assess_all(raw, SPEC) == [assess_(window(row)) for row in raw]
    assert assess_all(raw[:0], SPEC) == []


def stress_predict(subject):
    _, rate, *values = np.loadtxt(DATA / "stress_predict_eda" / f"S{subject:02d}" / "EDA.csv").tolist()
    return SampleBlock(np.array(values), 0, Fraction(rate))


def biosppy():
    counts, unit = np.loadtxt(DATA / "biosppy_eda" / "eda.txt"), Unit("adc", 12)
    return SampleBlock(unit.to_microsiemens(counts), 0, Fraction(1000), 0, counts, unit)


def neurokit():
    for path in sorted((DATA / "neurokit_bio").glob("*.csv")):
        with path.open() as file:
            column = file.readline().strip().split(",").index("EDA")
        yield SampleBlock(np.loadtxt(path, delimiter=",", skiprows=1)[:, column], 0, Fraction(100))


def judged(blocks, spec=SPEC):
    """The quality of each window, and its end in seconds."""
    preprocessor, sample_quality = Preprocessor(spec), SampleQuality(spec)
    qualities, ends = [], []
    for block in blocks:
        batch = preprocessor.push_batch(block)
        sample_quality.push(block)
        qualities += assess_all(batch.raw, spec, sample_quality.bad_fractions(batch))
        ends += batch.end_s.tolist()
    return qualities, ends


def accepted(block):
    return [quality.acceptable for quality in judged([block])[0]]


@needs_data
def test_real_recordings_are_acceptable():
    bad_fractions = [np.mean(accepted(stress_predict(subject))) for subject in range(1, 36)]
    assert np.mean(bad_fractions) > 0.99
    assert min(bad_fractions) > 0.9
    assert np.mean(accepted(biosppy())) == 1.0
    assert all(np.mean(accepted(block)) == 1.0 for block in neurokit())


def stuck(block, at):
    return {"readings": np.where(np.arange(len(block.values)) < at, block.readings, block.readings[at])}


def at_the_top(block, at):
    return {"readings": np.where(np.arange(len(block.values)) < at, block.readings, 2.0**block.unit.adc_bits - 1)}


def electrode_off(block, at):
    return {"readings": np.where(np.arange(len(block.values)) < at, block.readings, 0.0)}


def jump(block, at):
    return {"readings": block.readings + np.where(np.arange(len(block.values)) < at, 0, 500)}


def dry(block, at):
    low = np.random.default_rng(1).integers(0, 5, len(block.values))
    return {"readings": np.where(np.arange(len(block.values)) < at, block.readings, low)}


def shorted(block, at):
    """Beyond 60 uS on a front end that reaches it."""
    unit = Unit("adc", 12, full_scale_us=100.0)
    readings = block.readings / 4 + np.where(np.arange(len(block.values)) < at, 0, 2600)
    return {"readings": readings, "unit": unit}


@needs_data
@pytest.mark.parametrize("fault", [stuck, at_the_top, electrode_off, jump, dry, shorted])
@pytest.mark.parametrize("begins_s", [40.0, 41.3, 77.77, 100.999])
@pytest.mark.parametrize("spec", [SPEC, gsr_spec(16, window_s=32), gsr_spec(64, 8, 2)], ids=["4 s", "32 s", "8 s"])
def test_injected_fault_is_detected_by_the_second_window(fault, begins_s, spec):
    """On a real finger recording at 1 kHz; every second window after the fault began must be withheld."""
    healthy = biosppy()
    at = round(begins_s * 1000)
    changed = fault(healthy, at)
    unit = changed.get("unit", healthy.unit)
    readings = changed["readings"]
    block = SampleBlock(unit.to_microsiemens(readings), 0, healthy.rate_hz, 0, readings, unit)
    qualities, ends = judged([block], spec)
    before = [quality for quality, end in zip(qualities, ends, strict=True) if end <= begins_s - 1]
    after = [quality for quality, end in zip(qualities, ends, strict=True) if end > begins_s]
    assert all(quality.acceptable for quality in before)
    assert not after[1].acceptable
    assert after[1].reason
    if fault is not jump:
        assert not any(quality.acceptable for quality in after[1:])


@needs_data
def test_lead_off_of_the_device_is_reported():
    healthy = next(neurokit())
    at = 5000
    parts = [
        SampleBlock(healthy.values[:at], 0, healthy.rate_hz),
        SampleBlock(healthy.values[at:], at, healthy.rate_hz, lead_off=True),
    ]
    qualities, ends = judged(parts)
    after = [quality for quality, end in zip(qualities, ends, strict=True) if end > 50]
    assert all(quality.acceptable for quality, end in zip(qualities, ends, strict=True) if end <= 50)
    assert not any(quality.acceptable for quality in after[1:])
    assert after[5].reason == "the device reports that an electrode is off"
