import math
from fractions import Fraction
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekd_edge.errors import SignalError
from ekd_edge.signal.blocks import Baseline
from ekd_edge.signal.normalize import LOG_FLOOR, VARIANCE_FLOOR, Normalizer, normalize_together
from ekd_edge.signal.spec import Normalization, NormalizationMode

RATE = Fraction(16)
MODES = get_args(NormalizationMode)


def running_mean(y, decay):
    total, weight, means = 0.0, 0.0, []
    for value in y:
        total = decay * total + (1 - decay) * value
        weight = decay * weight + (1 - decay)
        means.append(total / weight)
    return np.array(means)


def by_formula(mode, x, time_constant_s, gain):
    decay = math.exp(-1 / (time_constant_s * float(RATE)))
    if mode == "log-ema":
        level = np.log(np.maximum(x, LOG_FLOOR))
        return gain * (level - running_mean(level, decay))
    deviation = x - running_mean(x, decay)
    if mode == "ema":
        return gain * deviation
    if mode == "ema-zscore":
        return gain * deviation / np.sqrt(running_mean(deviation**2, decay) + VARIANCE_FLOOR)
    return gain * x if mode == "none" else x


@pytest.mark.parametrize("time_constant_s", [0.2, 90.0])
@pytest.mark.parametrize("mode", MODES)
def test_each_mode_computes_its_formula(mode, time_constant_s):
    x = np.random.default_rng(0).lognormal(size=500)
    x[:5] = [0.0, -1.0, 1e-9, 60.0, 5.0]
    y = Normalizer(Normalization(mode, time_constant_s, 3.0), RATE).push(x)
    np.testing.assert_allclose(y, by_formula(mode, x, time_constant_s, 3.0), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 900), max_size=40),
    time_constant_s=st.sampled_from([0.05, 0.7, 90.0]),
)
def test_output_does_not_depend_on_block_sizes(mode, seed, cuts, time_constant_s):
    """With short time constants the weights settle midway, so that both branches run."""
    x = np.random.default_rng(seed).lognormal(size=(2, 900))
    for signal in (x, x[0]):
        normalization = Normalization(mode, time_constant_s, 8.0)
        whole = Normalizer(normalization, RATE).push(signal)
        pieces = Normalizer(normalization, RATE)
        edges = [0, *sorted(cuts), 900]
        assert np.array_equal(
            np.concatenate([pieces.push(signal[..., a:b]) for a, b in pairwise(edges)], axis=-1), whole
        )


def test_first_sample_is_its_own_mean_at_any_level():
    for level in (0.3, 5.0, 20.0):
        y = Normalizer(Normalization(), RATE).push(np.full(100, level))
        np.testing.assert_allclose(y, 0.0, atol=1e-12)


@pytest.mark.parametrize("count", [1, 5, 3000])
def test_window_mode_centers_each_window_separately(count):
    windows = np.random.default_rng(1).lognormal(size=(count, 64)).astype(np.float32)
    finished = Normalizer(Normalization("window", gain=2.0), RATE).finish(windows)
    exact = windows.astype(np.float64)
    np.testing.assert_allclose(finished, 2 * (exact - exact.mean(axis=1, keepdims=True)), atol=1e-5)
    alone = [Normalizer(Normalization("window", gain=2.0), RATE).finish(row[None])[0] for row in windows[:9]]
    assert np.array_equal(np.stack(alone), finished[:9])


@pytest.mark.parametrize("mode", MODES)
@given(seed=st.integers(0, 2**32 - 1), limit=st.floats(0.5, 20), scale=st.sampled_from([0.01, 1.0, 1e6]))
def test_algebraic_bound_computes_its_formula_and_is_never_exceeded(mode, seed, limit, scale):
    x = scale * np.random.default_rng(seed).lognormal(sigma=2, size=200)
    free, bounded = (Normalizer(Normalization(mode, 90.0, 8.0, bound, limit), RATE) for bound in ("none", "algebraic"))
    y, z = (each.finish(each.push(x)[None].astype(np.float32)).astype(np.float64) for each in (free, bounded))
    assert np.abs(z).max() <= np.float32(limit)
    np.testing.assert_allclose(z, y / np.sqrt(1 + (y / limit) ** 2), rtol=1e-5, atol=1e-6)


def test_unbounded_normalization_has_the_json_of_earlier_versions():
    assert Normalization().to_json() == {"mode": "log-ema", "time_constant_s": 240.0, "gain": 8.0}
    bounded = Normalization(bound="algebraic", limit=6.0)
    assert bounded.to_json() == {**Normalization().to_json(), "bound": "algebraic", "limit": 6.0}


def test_unknown_bound_is_refused_with_the_known_ones():
    with pytest.raises(SignalError, match="does not know the bound 'cubic': choose one of none, algebraic, or update"):
        Normalization(bound="cubic")
    with pytest.raises(SignalError, match="limit must be a positive number"):
        Normalization(bound="algebraic", limit=0.0)


@pytest.mark.parametrize("mode", MODES)
def test_reset_discards_the_state(mode):
    x = np.random.default_rng(2).lognormal(size=100)
    normalizer = Normalizer(Normalization(mode), RATE)
    first = normalizer.push(x)
    normalizer.reset()
    assert np.array_equal(normalizer.push(x), first)


@pytest.mark.parametrize("bound", ["none", "algebraic"])
@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    steps=st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=12),
    count=st.sampled_from([1, 2, 7, 13, 20, 45]),
    time_constant_s=st.sampled_from([0.05, 0.7, 90.0]),
)
def test_normalizers_together_have_the_bits_of_each_alone(mode, bound, seed, steps, count, time_constant_s):
    """Normalizers that are reset, begin at a baseline or run on; with short time constants some weights settle."""
    random = np.random.default_rng(seed)
    normalization = Normalization(mode, time_constant_s, 8.0, bound)
    together, alone = ([Normalizer(normalization, RATE) for _ in range(count)] for _ in range(2))
    for n, joint in steps:
        for i in np.flatnonzero(random.random(count) < 0.2):
            mean, variance = random.lognormal(size=2)
            baseline = Baseline(float(mean), float(variance), 60.0) if random.random() < 0.5 else None
            together[i].reset(baseline)
            alone[i].reset(baseline)
        rows = random.lognormal(size=(count, n))
        expected = [each.push(row) for each, row in zip(alone, rows, strict=True)]
        found = (
            normalize_together(together, rows)
            if joint
            else np.array([each.push(row) for each, row in zip(together, rows, strict=True)])
        )
        assert np.array_equal(found, np.array(expected).reshape(count, n))


def test_normalizers_together_must_have_one_design():
    pair = [Normalizer(Normalization(), RATE), Normalizer(Normalization("ema"), RATE)]
    with pytest.raises(ValueError, match="different normalizations or rates"):
        normalize_together(pair, np.ones((2, 5)))
    with pytest.raises(ValueError, match="2 normalizers for 1 rows"):
        normalize_together(pair, np.ones((1, 5)))
    assert normalize_together([], np.ones((0, 5))).shape == (0, 5)
