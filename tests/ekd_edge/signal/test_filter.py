from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import sosfilt, sosfilt_zi

from ekd_edge.signal.design import bandpass_sos, lowpass_sos
from ekd_edge.signal.filter import CausalFilter, filter_together

DESIGNS = [lowpass_sos(128, 5.0), lowpass_sos(16, 5.0, order=3), bandpass_sos(128, 4.0, 45.0), ()]


@pytest.mark.parametrize("sos", DESIGNS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 700), max_size=40))
def test_output_does_not_depend_on_block_sizes(sos, seed, cuts):
    x = np.random.default_rng(seed).lognormal(size=(2, 700))
    for signal in (x, x[0]):
        whole = CausalFilter(sos).push(signal)
        pieces = CausalFilter(sos)
        edges = [0, *sorted(cuts), 700]
        assert np.array_equal(
            np.concatenate([pieces.push(signal[..., a:b]) for a, b in pairwise(edges)], axis=-1), whole
        )


@pytest.mark.parametrize("sos", DESIGNS[:3])
def test_filter_equals_sosfilt_in_equilibrium_with_the_first_sample(sos):
    x = np.random.default_rng(0).lognormal(size=1000)
    expected, _ = sosfilt(np.array(sos), x, zi=sosfilt_zi(np.array(sos)) * x[0])
    np.testing.assert_allclose(CausalFilter(sos).push(x), expected, rtol=1e-9, atol=1e-9)


def test_constant_passes_without_a_transient():
    np.testing.assert_allclose(CausalFilter(DESIGNS[0]).push(np.full(500, 12.5)), 12.5, rtol=1e-9)


def test_channels_are_independent():
    x = np.random.default_rng(1).normal(size=(3, 400))
    together = CausalFilter(DESIGNS[2]).push(x)
    for row, channel in zip(together, x, strict=True):
        assert np.array_equal(row, CausalFilter(DESIGNS[2]).push(channel))


def test_reset_discards_the_state():
    x = np.random.default_rng(2).normal(size=100)
    causal = CausalFilter(DESIGNS[0])
    first = causal.push(x)
    causal.reset()
    assert np.array_equal(causal.push(x), first)


@pytest.mark.parametrize("sos", DESIGNS)
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    steps=st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=12),
    count=st.sampled_from([1, 2, 7, 19, 20, 45]),
)
def test_filters_together_have_the_bits_of_each_alone(sos, seed, steps, count):
    """Filters that are reset, begin or run on, pushed together or each separately, in blocks of any size."""
    random = np.random.default_rng(seed)
    together, alone = ([CausalFilter(sos) for _ in range(count)] for _ in range(2))
    for n, joint in steps:
        for i in np.flatnonzero(random.random(count) < 0.2):
            together[i].reset()
            alone[i].reset()
        rows = random.lognormal(size=(count, n))
        expected = [causal.push(row) for causal, row in zip(alone, rows, strict=True)]
        found = (
            filter_together(together, rows)
            if joint
            else np.array([causal.push(row) for causal, row in zip(together, rows, strict=True)])
        )
        assert np.array_equal(found, np.array(expected).reshape(count, n))


def test_filters_together_must_have_one_design():
    filters = [CausalFilter(DESIGNS[0]), CausalFilter(DESIGNS[1])]
    with pytest.raises(ValueError, match="different sections"):
        filter_together(filters, np.ones((2, 5)))
    with pytest.raises(ValueError, match="2 filters for 3 rows"):
        filter_together(filters, np.ones((3, 5)))
    assert filter_together([], np.ones((0, 5))).shape == (0, 5)
