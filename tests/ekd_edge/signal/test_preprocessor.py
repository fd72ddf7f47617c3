import subprocess
import sys
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekd_edge.errors import SignalError
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.design import bandpass_sos, eeg_spec, gsr_spec
from ekd_edge.signal.preprocessor import Preprocessor
from ekd_edge.signal.spec import Normalization, NormalizationMode

FULL = gsr_spec()
SLOW = gsr_spec(16, window_s=2.0, hop_s=0.5)


def conductance(n, seed=0, channels=None):
    shape = (n,) if channels is None else (channels, n)
    walk = np.random.default_rng(seed).normal(size=shape).cumsum(axis=-1)
    return 5.0 * np.exp(0.01 * walk)


def blocks_of(x, rate, cuts=(), first_index=0, segment=0):
    edges = [0, *sorted(cuts), x.shape[-1]]
    return [SampleBlock(x[..., a:b], first_index + a, Fraction(rate), segment) for a, b in pairwise(edges)]


def assert_same(windows, others):
    assert len(windows) == len(others)
    for one, other in zip(windows, others, strict=True):
        assert np.array_equal(one.values, other.values)
        assert np.array_equal(one.raw, other.raw)
        assert one.first_index == other.first_index
        assert one.end_s == other.end_s
        assert one.segment == other.segment


@pytest.mark.parametrize(
    ("rate", "spec"),
    [
        (128, FULL),
        (1000, FULL),
        (19, SLOW),
        (100, FULL),
        (4, SLOW),
        (1000, SLOW),
        (Fraction(1937, 100), FULL),
        (Fraction(128.0043), FULL),
    ],
)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 30_000), max_size=60))
def test_windows_do_not_depend_on_block_sizes(rate, spec, seed, cuts):
    n = min(30_000, int(20 * rate))
    x = conductance(n, seed)
    cuts = [cut % n for cut in cuts]
    whole = Preprocessor(spec).push(*blocks_of(x, rate))
    assert len(whole) >= 10
    assert_same(list(Preprocessor(spec).windows(blocks_of(x, rate, cuts))), whole)


@pytest.mark.parametrize("mode", get_args(NormalizationMode))
@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(0, 2000), max_size=60))
def test_windows_of_several_channels_do_not_depend_on_block_sizes(mode, cuts):
    spec = eeg_spec(16, window_s=2.0, hop_s=0.5, normalization=Normalization(mode, 1.5))
    x = conductance(2000, channels=3)
    whole = Preprocessor(spec).push(*blocks_of(x, 100))
    assert whole[0].values.shape == (3, 32)
    assert_same(list(Preprocessor(spec).windows(blocks_of(x, 100, cuts))), whole)


def test_single_samples_and_large_blocks_give_the_bits_of_one_pass():
    x = conductance(70_000)
    whole = Preprocessor(FULL).push(*blocks_of(x, 128))
    assert_same(list(Preprocessor(FULL).windows(blocks_of(x, 128, range(0, 70_000, 31)))), whole)
    start = Preprocessor(FULL).push(*blocks_of(x[:1500], 128))
    assert_same(list(Preprocessor(FULL).windows(blocks_of(x[:1500], 128, range(1500)))), start)
    assert_same(start, whole[: len(start)])


def test_many_channels_in_one_block_give_the_bits_of_single_channels_and_small_blocks():
    spec = eeg_spec(sos=bandpass_sos(128, 4, 45))
    x = conductance(5_000, channels=28)  # beyond the inner step, which is shorter for more channels
    whole = Preprocessor(spec).push(*blocks_of(x, 128))
    assert_same(list(Preprocessor(spec).windows(blocks_of(x, 128, range(0, 5_000, 77)))), whole)
    one_channel = Preprocessor(spec).push(*blocks_of(x[9], 128))
    for window, single in zip(whole, one_channel, strict=True):
        assert np.array_equal(window.values[9], single.values)


def test_batch_has_the_windows_of_a_push():
    (block,) = blocks_of(conductance(4000), 128)
    batch = Preprocessor(FULL).push_batch(block)
    assert len(batch) == 26
    assert batch.values.shape == batch.raw.shape == (26, 512)
    assert batch.values.dtype == batch.raw.dtype == np.float32
    assert_same(list(batch), Preprocessor(FULL).push(block))


def test_windows_cannot_be_written_to():
    for mode in ("log-ema", "window"):
        (block,) = blocks_of(conductance(2000), 128)
        window = Preprocessor(gsr_spec(normalization=Normalization(mode))).push(block)[0]
        for array in (window.values, window.raw):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0


def test_first_window_begins_after_the_settle_time_and_windows_step_by_the_hop():
    windows = Preprocessor(FULL).push(*blocks_of(conductance(128 * 20), 128, first_index=1280))
    assert [w.first_index for w in windows] == [1280 + 256 + 128 * i for i in range(15)]
    assert [w.end_s for w in windows] == [16.0 + i for i in range(15)]


def test_raw_is_the_sensors_signal_in_its_own_unit():
    x = conductance(128 * 10)
    for window in Preprocessor(FULL).push(*blocks_of(x, 128)):
        expected = x[window.first_index : window.first_index + 512].astype(np.float32)
        assert np.array_equal(window.raw, expected)


def test_indices_and_times_follow_the_sensors_clock_at_any_rate():
    rate = Fraction(1937, 100)
    windows = Preprocessor(SLOW).push(*blocks_of(conductance(2000), rate, first_index=500))
    for i, window in enumerate(windows):
        begin_s = Fraction(500) / rate + 2 + Fraction(i, 2)
        assert window.first_index == int(begin_s * rate)
        assert window.end_s == pytest.approx(float(begin_s + 2), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    runs=st.lists(st.tuples(st.integers(1, 900), st.integers(-40, 300)), min_size=1, max_size=6),
    rate=st.sampled_from([16, 19, 100]),
)
def test_windows_do_not_span_a_gap_and_settling_restarts_after_it(runs, rate):
    unbridged = replace(SLOW, bridge_s=0.0)
    preprocessor = Preprocessor(unbridged)
    index = 100
    for n, jump in runs:
        windows = preprocessor.push(SampleBlock(conductance(n), index, Fraction(rate)))
        alone = Preprocessor(unbridged).push(SampleBlock(conductance(n), index, Fraction(rate)))
        if jump != 0:
            assert [w.first_index for w in windows] == [w.first_index for w in alone]
            assert [w.end_s for w in windows] == [w.end_s for w in alone]
            for window, same in zip(windows, alone, strict=True):
                assert np.array_equal(window.raw, same.raw)
                assert window.first_index >= index + int(2 * rate)
                assert window.end_s * rate <= index + n
        # The next run never continues this one.
        index += n + (jump or 1)


def test_short_gap_keeps_the_running_mean_and_a_long_one_does_not():
    before, after = np.full(16 * 60, 2.0), np.full(16 * 20, 8.0)
    rate = Fraction(16)
    for gap_s, kept in ((30, True), (250, False), (-30, True)):
        preprocessor = Preprocessor(SLOW)
        preprocessor.push(SampleBlock(before, 10_000, rate))
        first = preprocessor.push(SampleBlock(after, 10_000 + len(before) + 16 * gap_s, rate))[0]
        assert (first.values.max() > 5) == kept


def test_new_segment_resets_the_state():
    x = conductance(600)
    preprocessor = Preprocessor(SLOW)
    preprocessor.push(SampleBlock(3 * x, 0, Fraction(16)))
    second = SampleBlock(x, 600, Fraction(16), segment=1)
    assert_same(preprocessor.push(second), Preprocessor(SLOW).push(second))


def test_new_rate_resets_the_state():
    x = conductance(600)
    preprocessor = Preprocessor(SLOW)
    preprocessor.push(SampleBlock(3 * x, 0, Fraction(16)))
    second = SampleBlock(x, 600, Fraction(19))
    assert_same(preprocessor.push(second), Preprocessor(SLOW).push(second))


def test_empty_blocks_change_nothing():
    x = conductance(600)
    preprocessor = Preprocessor(SLOW)
    windows = []
    for block in blocks_of(x, 16, range(0, 600, 50)):
        windows += preprocessor.push(block)
        assert preprocessor.push(SampleBlock(np.empty(0), 99_999, Fraction(16), segment=4)) == []
    assert_same(windows, Preprocessor(SLOW).push(SampleBlock(x, 0, Fraction(16))))
    assert len(Preprocessor(SLOW).push_batch(SampleBlock(np.empty((2, 0)), 0, Fraction(16)))) == 0


def test_reset_discards_the_whole_state():
    x = conductance(600)
    preprocessor = Preprocessor(SLOW)
    first = preprocessor.push(SampleBlock(x, 0, Fraction(16)))
    preprocessor.reset()
    assert_same(preprocessor.push(SampleBlock(x, 0, Fraction(16))), first)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_non_finite_values_are_refused_and_keep_the_state(bad):
    x = conductance(600)
    broken = x[300:].copy()
    broken[7] = bad
    preprocessor = Preprocessor(SLOW)
    windows = preprocessor.push(SampleBlock(x[:300], 0, Fraction(16)))
    with pytest.raises(SignalError, match="sample 307 is"):
        preprocessor.push(SampleBlock(broken, 300, Fraction(16)))
    windows += preprocessor.push(SampleBlock(x[300:], 300, Fraction(16)))
    assert_same(windows, Preprocessor(SLOW).push(SampleBlock(x, 0, Fraction(16))))


def test_impossible_blocks_are_refused():
    preprocessor = Preprocessor(SLOW)
    preprocessor.push(SampleBlock(np.ones((2, 10)), 0, Fraction(16)))
    with pytest.raises(SignalError, match="channels"):
        preprocessor.push(SampleBlock(np.ones(10), 10, Fraction(16)))
    with pytest.raises(SignalError, match="shape"):
        preprocessor.push(SampleBlock(np.ones((2, 2, 2)), 10, Fraction(16)))
    with pytest.raises(SignalError, match="cannot resample"):
        Preprocessor(SLOW).push(SampleBlock(np.ones(10), 0, Fraction(0)))


def test_long_recording_in_one_block_needs_little_more_than_itself():
    x = conductance(2_000_000)
    block = SampleBlock(x, 0, Fraction(128))
    Preprocessor(FULL).push_batch(SampleBlock(x[:1000], 0, Fraction(128)))
    tracemalloc.start()
    try:
        batch = Preprocessor(FULL).push_batch(block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(batch) == 15_620
    assert peak < 3.5 * x.nbytes


def test_import_of_the_chain_does_not_load_scipy_signal():
    code = (
        "import sys; import ekd_edge.signal.preprocessor, ekd_edge.signal.design, ekd_edge.signal.quality; "
        "sys.exit('scipy.signal' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@settings(deadline=None)
@given(
    st.sampled_from([Fraction(128), Fraction(16), Fraction(4), Fraction(39, 2), Fraction(1000, 3)]),
    st.lists(st.integers(1, 400), min_size=1, max_size=12),
)
def test_missing_samples_are_exactly_those_that_complete_a_window(rate: Fraction, sizes: list[int]) -> None:
    preprocessor = Preprocessor(gsr_spec(16, window_s=4, hop_s=1))
    first, missing = 0, 0
    for size in [1, *sizes]:
        if missing > 1:
            size = min(size, missing - 1)
        block = SampleBlock(np.ones(size), first, rate)
        completed = len(preprocessor.push_batch(block))
        assert completed == 0 or size >= missing
        first, missing = first + size, preprocessor.missing
        assert missing > 0
    assert len(preprocessor.push_batch(SampleBlock(np.ones(missing), first, rate))) == 1
