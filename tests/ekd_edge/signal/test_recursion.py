import subprocess
import sys
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from ekd_edge.signal import recursion
from ekd_edge.signal.design import bandpass_sos, gsr_spec
from ekd_edge.signal.filter import CausalFilter
from ekd_edge.signal.normalize import Normalizer
from ekd_edge.signal.spec import Normalization
from firmware_bridge.synthesis import simulated_blocks

exact_scipy = pytest.mark.skipif(
    recursion._exact_lfilter() is None, reason="this scipy was compiled to fused operations"
)

# Each pair is inside of the triangle of stability |a2| < 1, |a1| < 1 + a2.
feedback = st.tuples(st.floats(-0.999, 0.999), st.floats(-0.999, 0.999)).map(lambda p: (p[0] * (1 + p[1]), p[1]))
ahead = st.tuples(*[st.floats(-3, 3)] * 3)
cascades = st.lists(st.tuples(ahead, feedback).map(lambda p: (*p[0], *p[1])), min_size=1, max_size=5)


def by_lfilter(sections, states, rows):
    after = []
    zi = np.array(states)
    for i, (b0, b1, b2, a1, a2) in enumerate(sections):
        rows, z = lfilter([b0, b1, b2], [1.0, a1, a2], rows, axis=-1, zi=zi[:, 2 * i : 2 * i + 2])
        after.append(z)
    return rows, np.concatenate(after, axis=1)


def same_bits(one, other):
    return np.array_equal(np.array(one).view(np.int64), np.array(other).view(np.int64))


@exact_scipy
@settings(max_examples=150, deadline=None)
@given(
    sections=cascades,
    rows=st.sampled_from([1, 2, 5, 19, 20, 33]),
    cuts=st.lists(st.integers(1, 89), max_size=8),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-6, 1.0, 1e12]),
)
def test_filter_has_the_bits_of_lfilter(sections, rows, cuts, seed, scale):
    random = np.random.default_rng(seed)
    x = scale * random.normal(size=(rows, 90))
    states = (scale * random.normal(size=(rows, 2 * len(sections)))).tolist()
    expected, expected_states = by_lfilter(sections, states, x)
    pieces = [recursion.filter_rows(sections, states, x[:, a:b]) for a, b in pairwise(sorted({0, 90, *cuts}))]
    assert same_bits(np.concatenate(pieces, axis=1), expected)
    assert same_bits(states, expected_states)


@exact_scipy
@settings(max_examples=100, deadline=None)
@given(
    decay=st.floats(0.2, 1 - 1e-7),
    rows=st.sampled_from([1, 3, 19, 20, 40]),
    cuts=st.lists(st.integers(1, 89), max_size=8),
    seed=st.integers(0, 2**32 - 1),
)
def test_sums_have_the_bits_of_lfilter(decay, rows, cuts, seed):
    random = np.random.default_rng(seed)
    x, states = random.normal(size=(rows, 90)), random.normal(size=rows).tolist()
    expected, after = lfilter([1 - decay], [1.0, -decay], x, axis=-1, zi=np.array(states)[:, None])
    pieces = [recursion.sum_rows(decay, states, x[:, a:b]) for a, b in pairwise(sorted({0, 90, *cuts}))]
    assert same_bits(np.concatenate(pieces, axis=1), expected)
    assert same_bits(states, after[:, 0])


@exact_scipy
@pytest.mark.parametrize("rows", [1, 32])
def test_long_arrays_have_the_same_bits_with_and_without_scipy(rows, monkeypatch):
    sections = CausalFilter(bandpass_sos(128, 4.0, 45.0))._sections
    x = np.random.default_rng(0).normal(size=(rows, 2**14 // rows))
    found = []
    for available in (lfilter, None):
        monkeypatch.setattr(recursion, "_exact_lfilter", lambda available=available: available)
        states, sums = [[0.5] * (2 * len(sections)) for _ in x], [0.25] * rows
        filtered = recursion.filter_rows(sections, states, x)
        found.append((filtered, states, recursion.sum_rows(0.999, sums, x), sums))
    for one, other in zip(*found, strict=True):
        assert same_bits(one, other)


def test_scipy_of_other_bits_is_not_used(monkeypatch):
    def fused_lfilter(b, a, x, axis, zi):
        y, z = lfilter(b, a, x, axis=axis, zi=zi)
        return np.nextafter(y, np.inf), z

    monkeypatch.setattr("scipy.signal.lfilter", fused_lfilter)
    assert recursion._exact_lfilter.__wrapped__() is None


def test_scipy_is_imported_after_many_long_calls_only(monkeypatch):
    used = []
    monkeypatch.setattr(recursion, "_exact_lfilter", lambda: used.append(1))
    monkeypatch.setattr(recursion, "_long_samples", 0)
    monkeypatch.delitem(sys.modules, "scipy.signal")
    short, long = np.zeros((1, 2**12 - 1)), np.zeros((1, 2**14))
    for _ in range(2**10):
        recursion._lfilter_for(short)
    for _ in range(2**6 - 1):
        recursion._lfilter_for(long)
    assert not used
    recursion._lfilter_for(long)
    assert used


@exact_scipy
@pytest.mark.parametrize("mode", ["log-ema", "ema-zscore"])
def test_an_hour_at_128_hz_has_the_bits_of_lfilter(mode, monkeypatch):
    """In blocks of 16 samples as of a live sensor, in blocks of a second, and at once by scipy."""
    hour = np.concatenate(list(islice(simulated_blocks(128, seed=3, block_samples=3200), 144)))
    spec = gsr_spec(128, normalization=Normalization(mode, 240.0))
    found = []
    for block, available in ((16, None), (128, None), (len(hour), lfilter)):
        monkeypatch.setattr(recursion, "_exact_lfilter", lambda available=available: available)
        causal, normalizer = CausalFilter(spec.sos), Normalizer(spec.normalization, spec.rate_hz)
        blocks = [normalizer.push(causal.push(hour[i : i + block])) for i in range(0, len(hour), block)]
        found.append(np.concatenate(blocks))
    assert same_bits(found[0], found[2])
    assert same_bits(found[1], found[2])
    filtered, _ = by_lfilter(causal._sections, [[u * hour[0] for u in causal._unit_state]], hour[None])
    assert same_bits(CausalFilter(spec.sos).push(hour), filtered[0])


def test_chain_works_without_scipy():
    program = """
import sys
import numpy as np

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "scipy":
            raise ImportError(f"{name} is refused", name=name)

sys.meta_path.insert(0, Refused())
from ekd_edge.signal import recursion
from ekd_edge.signal.filter import CausalFilter

recursion._SAMPLES_BEFORE_IMPORT = 0
sos = [(0.1, 0.2, 0.1, 1.0, -1.5, 0.6)] * 2
assert abs(CausalFilter(sos).push(np.ones(2**15))[-1] - (0.4 / 0.1) ** 2) < 1e-9
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
