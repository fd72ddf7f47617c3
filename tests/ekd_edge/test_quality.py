from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ekd_edge.quality import ACCEPTABLE, assess, assess_all
from ekd_edge.signal.blocks import SampleBlock, Window
from ekd_edge.signal.design import gsr_spec
from ekd_edge.signal.preprocessor import Preprocessor
from firmware_bridge.units import Unit

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared recordings are not here")


def window(raw):
    raw = np.asarray(raw, dtype=np.float32)
    return Window(values=np.zeros_like(raw), raw=raw, first_index=0, end_s=0.0)


def test_a_plausible_signal_is_good():
    quality = assess(window(5 + 0.1 * np.sin(np.arange(512) / 40)))
    assert (quality.score, quality.reason, quality.acceptable) == (1.0, None, True)


@pytest.mark.parametrize("level", [0.0, -1.0, 0.01])
def test_nothing_measured_is_electrodes_off(level):
    quality = assess(window(np.full(512, level)))
    assert (quality.score, quality.acceptable) == (0.0, False)
    assert "off" in quality.reason


def test_beyond_any_skin_is_a_short():
    quality = assess(window(np.linspace(61, 70, 512)))
    assert quality.score == 0.0
    assert "shorted" in quality.reason


def test_the_score_is_the_share_of_plausible_samples():
    raw = 5 + 0.1 * np.sin(np.arange(512))
    raw[:128] = 0.0
    assert assess(window(raw)).score == pytest.approx(0.75)
    assert assess(window(raw)).acceptable
    raw[:384] = 0.0
    assert assess(window(raw)).score < ACCEPTABLE


@pytest.mark.parametrize(("level", "rate"), [(0.3, 128), (5.0, 4), (50.0, 1000), (7.3, 19)])
def test_a_stuck_reading_is_a_flat_line_whatever_its_level_and_rate(level, rate):
    block = SampleBlock(np.full(10 * rate, level), 0, Fraction(rate))
    for stuck in Preprocessor(gsr_spec()).push(block):
        assert assess(stuck).reason.startswith("flat")
        assert not assess(stuck).acceptable


def test_one_step_of_a_fine_converter_is_no_flat_line():
    raw = np.full(512, 0.26)
    raw[300:] += 0.00128
    assert assess(window(raw)).score == 1.0


def test_many_windows_at_once_are_assessed_as_one_by_one():
    raw = np.random.default_rng(0).uniform(-0.02, 0.2, size=(3000, 64)).astype(np.float32)
    raw[::7] = 3.0
    raw[::11] += 1.0
    assert assess_all(raw) == [assess(window(row)) for row in raw]
    assert assess_all(raw[:0]) == []


def acceptable_share(x, rate):
    batch = Preprocessor(gsr_spec()).push_batch(SampleBlock(x, 0, Fraction(rate)))
    return np.mean([quality.acceptable for quality in assess_all(batch.raw)])


@needs_data
@pytest.mark.parametrize("subject", [f"S{i:02d}" for i in range(1, 36)])
def test_real_wrist_recordings_are_acceptable(subject):
    _, rate, *values = np.loadtxt(DATA / "stress_predict_eda" / subject / "EDA.csv").tolist()
    assert acceptable_share(np.array(values), rate) > 0.95


@needs_data
def test_real_finger_recordings_are_acceptable():
    counts = np.loadtxt(DATA / "biosppy_eda" / "eda.txt")
    assert acceptable_share(Unit("adc", 12).to_microsiemens(counts), 1000) == 1.0
    for path in sorted((DATA / "neurokit_bio").glob("*.csv")):
        with path.open() as file:
            column = file.readline().strip().split(",").index("EDA")
        assert acceptable_share(np.loadtxt(path, delimiter=",", skiprows=1)[:, column], 100) == 1.0
