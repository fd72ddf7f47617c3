from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekd_edge.errors import SignalError
from ekd_edge.signal.resample import ZERO_CROSSINGS, Resampler

PAIRS = [
    (Fraction(1000), Fraction(128)),
    (Fraction(19), Fraction(16)),
    (Fraction(100), Fraction(128)),
    (Fraction(4), Fraction(16)),
    (Fraction(4), Fraction(128)),
    (Fraction(1000), Fraction(16)),
    (Fraction(1), Fraction(128)),
    (Fraction(1937, 100), Fraction(128)),
    (Fraction(128.0043), Fraction(128)),
    (Fraction(128), Fraction(1001, 10)),
]


def in_pieces(resampler, x, cuts):
    edges = [0, *sorted(cuts), x.shape[-1]]
    return np.concatenate([resampler.push(x[..., a:b]) for a, b in pairwise(edges)], axis=-1)


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 3000), max_size=40))
def test_output_does_not_depend_on_block_sizes(rate_in, rate_out, seed, cuts):
    x = np.random.default_rng(seed).lognormal(size=3000)
    whole = Resampler(rate_in, rate_out).push(x)
    assert np.array_equal(in_pieces(Resampler(rate_in, rate_out), x, cuts), whole)


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_single_samples_give_the_bits_of_one_pass(rate_in, rate_out):
    x = np.random.default_rng(1).lognormal(size=20_000)
    whole = Resampler(rate_in, rate_out).push(x)
    singly = in_pieces(Resampler(rate_in, rate_out), x[:2500], range(2500))
    assert np.array_equal(singly, whole[: len(singly)])
    assert np.array_equal(in_pieces(Resampler(rate_in, rate_out), x, range(0, 20_000, 37)), whole)


@given(
    rate_in=st.fractions(min_value="0.5", max_value=2000, max_denominator=1000),
    rate_out=st.fractions(min_value=4, max_value=256, max_denominator=10),
    cuts=st.lists(st.integers(0, 500), max_size=20),
)
@settings(max_examples=60, deadline=None)
def test_output_bits_do_not_depend_on_block_sizes_at_any_rates(rate_in, rate_out, cuts):
    x = np.random.default_rng(2).normal(size=(2, 500))
    whole = Resampler(rate_in, rate_out).push(x)
    assert np.array_equal(in_pieces(Resampler(rate_in, rate_out), x, cuts), whole)


def test_channels_are_independent():
    x = np.random.default_rng(3).normal(size=(3, 5000))
    together = Resampler(Fraction(256), Fraction(128)).push(x)
    for row, channel in zip(together, x, strict=True):
        assert np.array_equal(row, Resampler(Fraction(256), Fraction(128)).push(channel))
    fortran = Resampler(Fraction(256), Fraction(128)).push(np.asfortranarray(x))
    assert np.array_equal(fortran, together)


def test_equal_rates_pass_the_samples_through():
    x = np.random.default_rng(4).normal(size=100)
    assert np.array_equal(Resampler(Fraction(128), Fraction(128)).push(x), x)


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_passband_sine_keeps_its_instants(rate_in, rate_out):
    """The error is below 1e-3 up to 0.3 of the lower rate, after an hour as at the start."""
    lower = min(rate_in, rate_out)
    frequency = float(lower) * 0.3
    count = min(3_600 * int(rate_in), 400_000)
    time_in = np.arange(count) / float(rate_in)
    y = Resampler(rate_in, rate_out).push(np.sin(2 * np.pi * frequency * time_in))
    time_out = np.arange(len(y)) / float(rate_out)
    inner = time_out > 2 * ZERO_CROSSINGS / float(lower)
    error = y[inner] - np.sin(2 * np.pi * frequency * time_out[inner])
    assert np.abs(error).max() < 1e-3


@pytest.mark.parametrize("rate_out", [16, 128])
@pytest.mark.parametrize("above", [0.68, 0.9, 1.3, 2.45])
def test_aliases_are_rejected_by_60_db(rate_out, above):
    """Tones beyond 0.66 of the output rate, which would fold into its lower third."""
    time = np.arange(60_000) / 1000
    y = Resampler(Fraction(1000), Fraction(rate_out)).push(np.sin(2 * np.pi * above * rate_out * time))
    assert np.abs(y[2 * ZERO_CROSSINGS :]).max() < 1e-3


def test_images_of_an_interpolated_signal_are_rejected_by_60_db():
    time = np.arange(4000) / 4
    y = Resampler(Fraction(4), Fraction(128)).push(np.sin(2 * np.pi * 1.0 * time))[2048:]
    spectrum = np.abs(np.fft.rfft(y[: 128 * 100] * np.hanning(128 * 100)))
    frequency = np.fft.rfftfreq(128 * 100, 1 / 128)
    assert spectrum[frequency > 2.7].max() < 1e-3 * spectrum.max()


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_constant_is_unchanged(rate_in, rate_out):
    y = Resampler(rate_in, rate_out).push(np.full(5000, 7.3))
    np.testing.assert_allclose(y, 7.3, rtol=1e-13)


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_output_appears_as_soon_as_its_input_is_complete(rate_in, rate_out):
    resampler = Resampler(rate_in, rate_out)
    produced = 0
    reach = ZERO_CROSSINGS / min(rate_in, rate_out)
    for newest in range(600):
        produced += len(resampler.push(np.ones(1)))
        if produced:
            waiting = newest / rate_in - (produced - 1) / rate_out
            assert reach - 1 / rate_in < waiting <= reach + 1 / rate_out + 2 / rate_in
    assert resampler.latency_s == pytest.approx(float(reach), abs=1 / float(rate_in))


def test_positions_do_not_drift_over_weeks():
    """Output k of a sensor at 19.37 Hz is as exact after three years of samples as at the start."""
    resampler = Resampler(Fraction(1937, 100), Fraction(16))
    x = np.random.default_rng(5).normal(size=4000)
    expected = resampler.push(x)
    later = Resampler(Fraction(1937, 100), Fraction(16))
    later.push(x[:0])
    later._history = np.repeat(x[:1], resampler._half - 1)
    periods = 1_000_000
    later._next_output = 1600 * periods
    later._history_start = 1937 * periods - (resampler._half - 1)
    assert np.array_equal(later.push(x), expected)


@pytest.mark.parametrize(("rate_in", "rate_out"), [(0, 128), (-1, 128), (128, 0), (1_000_000, 16), (1, 10_000)])
def test_impossible_rates_are_refused(rate_in, rate_out):
    with pytest.raises(SignalError, match="cannot resample"):
        Resampler(Fraction(rate_in), Fraction(rate_out))


def test_reset_discards_the_state():
    x = np.random.default_rng(6).normal(size=300)
    resampler = Resampler(Fraction(100), Fraction(128))
    first = resampler.push(x)
    resampler.reset()
    assert np.array_equal(resampler.push(x), first)
