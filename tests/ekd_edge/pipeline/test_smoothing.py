import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.errors import ConfigError
from ekd_edge.model.manifest import Target
from ekd_edge.pipeline.smoothing import Smoother, Smoothing

TARGETS = (Target("arousal", ("low", "high")),)


def follow(shares, how, times=None, acceptable=None):
    steady = Smoother(TARGETS, 1.0, how)
    times = times or [(0, float(k)) for k in range(len(shares))]
    acceptable = acceptable or [True] * len(shares)
    return [steady([(1 - share, share)], at, ok) for share, at, ok in zip(shares, times, acceptable, strict=True)]


def labels(found):
    return [shown["arousal"] for _, shown in found]


def high(found):
    return [round(chances["arousal"][1], 6) for chances, _ in found]


def test_smoothing_is_off_by_default():
    shares = [0.4, 0.6, 0.45, 0.9]
    found = follow(shares, Smoothing())
    assert high(found) == shares
    assert labels(found) == ["low", "high", "low", "high"]


def test_smoothing_is_an_exponential_mean():
    found = follow([0.0, 1.0, 1.0], Smoothing(smooth_s=1.0))
    assert high(found) == [0.0, round(1 - 2.718281828**-1, 6), round(1 - 2.718281828**-2, 6)]
    assert labels(found) == ["low", "high", "high"]


def test_hysteresis_keeps_the_label_until_another_is_clearly_more_probable():
    found = follow([0.4, 0.54, 0.56, 0.46, 0.44], Smoothing(hysteresis=0.1))
    assert labels(found) == ["low", "low", "high", "high", "low"]


def test_unacceptable_windows_have_no_label_and_change_no_state():
    found = follow([0.0, 1.0, 0.2], Smoothing(smooth_s=10), acceptable=[True, False, True])
    assert labels(found) == ["low", None, "low"]
    assert high(found)[1] == 1.0
    assert high(found)[2] < 0.05


@pytest.mark.parametrize("at", [(1, 1.0), (0, 30.0), (0, 0.0), (0, -5.0), (0, -86400.0), (0, float("nan"))])
def test_segment_a_pause_and_time_that_does_not_grow_restart_smoothing(at):
    found = follow([0.4, 0.54], Smoothing(smooth_s=10, hysteresis=0.1), times=[(0, 0.0), at])
    assert high(found)[1] == 0.54
    assert labels(found) == ["low", "high"]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.one_of(st.floats(-1e6, 1e6), st.floats()),
            st.lists(st.floats(0, 1), min_size=3, max_size=3),
        ),
        max_size=30,
    ),
    st.one_of(st.just(0.0), st.floats(0, 1e5)),
)
def test_smoothed_probabilities_stay_probabilities_for_any_times(windows, smooth_s):
    smoother = Smoother((Target("valence", ("low", "middle", "high")),), 1.0, Smoothing(smooth_s=smooth_s))
    for segment, end_s, weights in windows:
        total = sum(weights) or 1.0
        row = tuple(weight / total for weight in weights) if sum(weights) else (1.0, 0.0, 0.0)
        smoothed, _ = smoother([row], (segment, end_s), acceptable=True)
        assert all(-1e-12 <= probability <= 1 + 1e-12 for probability in smoothed["valence"])
        assert sum(smoothed["valence"]) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    "how", [{"smooth_s": -1}, {"smooth_s": float("nan")}, {"hysteresis": 1.0}, {"hysteresis": -0.1}]
)
def test_invalid_smoothing_is_refused(how):
    with pytest.raises(ConfigError):
        Smoothing(**how)
