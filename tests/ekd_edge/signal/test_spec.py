import json
from fractions import Fraction
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.errors import SignalError
from ekd_edge.signal.design import gsr_spec
from ekd_edge.signal.spec import Normalization, NormalizationMode, SignalSpec

coefficients = st.floats(-1e6, 1e6)
sections = st.tuples(coefficients, coefficients, coefficients, st.just(1.0), st.floats(-0.4, 0.4), st.floats(-0.5, 0.9))
normalizations = st.builds(
    Normalization, st.sampled_from(get_args(NormalizationMode)), st.floats(1e-3, 1e5), st.floats(1e-6, 1e6)
)
specs = st.builds(
    SignalSpec,
    rate_hz=st.fractions(min_value="1/100", max_value=100_000, max_denominator=10**9),
    window_samples=st.integers(1, 100_000),
    hop_samples=st.integers(1, 100_000),
    sos=st.lists(sections, max_size=6).map(tuple),
    settle_s=st.floats(0, 1e4),
    normalization=normalizations,
    unit=st.sampled_from(["uS", "uV"]),
    bridge_s=st.sampled_from([0.0, 0.25, 10.0]),
)


@given(specs)
def test_json_round_trip_is_exact(spec):
    assert SignalSpec.from_json(json.loads(json.dumps(spec.to_json(), allow_nan=False))) == spec


@pytest.mark.parametrize(
    "change",
    [
        {"rate_hz": 0},
        {"rate_hz": "a"},
        {"rate_hz": "1/0"},
        {"rate_hz": float("inf")},
        {"window_samples": 0},
        {"window_samples": "512"},
        {"window_samples": 512.5},
        {"hop_samples": None},
        {"settle_s": -1.0},
        {"settle_s": float("nan")},
        {"sos": [[1.0, 0.0, 0.0, 1.0, 0.0]]},
        {"sos": [[1.0, 0.0, 0.0, 2.0, 0.0, 0.0]]},
        {"sos": [[1.0, 0.0, 0.0, 1.0, -2.0, 1.01]]},
        {"sos": [[float("nan"), 0.0, 0.0, 1.0, 0.0, 0.0]]},
        {"normalization": {"mode": "log"}},
        {"normalization": {"mode": "ema", "gain": 0.0}},
        {"normalization": {"mode": "ema", "time_constant_s": -1.0}},
        {"bridge_s": -0.1},
        {"bridge_s": float("nan")},
        {"bridge_s": 10.5},
        {"unknown": 1},
    ],
)
def test_foreign_or_damaged_specification_is_refused(change):
    with pytest.raises(SignalError):
        SignalSpec.from_json(gsr_spec().to_json() | change)


def test_missing_field_is_named():
    fields = gsr_spec().to_json()
    del fields["window_samples"]
    with pytest.raises(SignalError, match="window_samples"):
        SignalSpec.from_json(fields)


def test_specification_without_bridged_gaps_is_that_of_an_earlier_version():
    assert gsr_spec().to_json()["bridge_s"] == gsr_spec().bridge_s > 0
    fields = gsr_spec(bridge_s=0.0).to_json()
    assert "bridge_s" not in fields
    assert SignalSpec.from_json(fields).bridge_s == 0


def test_lengths_are_given_in_seconds():
    spec = gsr_spec(Fraction(16), window_s=32.0, hop_s=4.0)
    assert (spec.window_samples, spec.hop_samples) == (512, 64)
    assert (spec.window_s, spec.hop_s) == (32.0, 4.0)
