from fractions import Fraction

import numpy as np
import pytest
from scipy.signal import sosfreqz

from ekd_edge.errors import SignalError
from ekd_edge.signal.design import bandpass_sos, eeg_spec, gsr_spec, lowpass_sos


def gain_db(sos, frequency_hz, rate_hz):
    _, response = sosfreqz(np.array(sos), worN=np.atleast_1d(frequency_hz), fs=rate_hz)
    return 20 * np.log10(np.abs(response))


@pytest.mark.parametrize("rate", [16, 128, Fraction(1937, 100)])
def test_low_pass_is_3_db_down_at_its_cutoff(rate):
    down = gain_db(lowpass_sos(rate, 5.0), [1e-3, 5.0, 7.5], float(rate))
    assert down[0] == pytest.approx(0.0, abs=1e-6)
    assert down[1] == pytest.approx(-3.01, abs=0.01)
    assert down[2] < -13


def test_band_pass_is_3_db_down_at_its_edges():
    sos = bandpass_sos(128, 4.0, 45.0)
    np.testing.assert_allclose(gain_db(sos, [4.0, 45.0], 128), -3.01, atol=0.01)
    assert abs(gain_db(sos, 15.0, 128)[0]) < 0.1


def test_defaults_are_four_seconds_at_128_hz():
    spec = gsr_spec()
    assert (spec.rate_hz, spec.window_samples, spec.hop_samples, spec.unit) == (128, 512, 128, "uS")
    assert spec.normalization.mode == "log-ema"
    assert len(spec.sos) == 2


def test_cutoff_stays_below_half_the_rate_at_low_rates():
    assert gsr_spec(16, 32.0, 4.0).sos == lowpass_sos(16, 5.0)
    assert gsr_spec(8).sos == lowpass_sos(8, 3.6)


def test_eeg_windows_are_aligned_with_gsr_windows():
    gsr, eeg = gsr_spec(16, 32.0, 2.0), eeg_spec(16, 32.0, 2.0)
    assert (eeg.window_samples, eeg.hop_samples, eeg.settle_s) == (512, 32, gsr.settle_s)
    assert (eeg.unit, eeg.sos, eeg.normalization.mode) == ("uV", (), "ema-zscore")


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(SignalError, match="rate_hz"):
        gsr_spec(rate)


def test_impossible_designs_are_refused():
    for call in (
        lambda: lowpass_sos(16, 8.0),
        lambda: lowpass_sos(16, 0.0),
        lambda: lowpass_sos(16, 5.0, order=0),
        lambda: bandpass_sos(128, 45.0, 4.0),
    ):
        with pytest.raises(SignalError, match="filter"):
            call()
    with pytest.raises(SignalError, match="window_s"):
        gsr_spec(16, window_s=0.1)
    with pytest.raises(SignalError, match="hop_s"):
        gsr_spec(hop_s=0)
