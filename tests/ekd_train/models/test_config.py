"""Derived sizes of a network configuration, and its errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.errors import ConfigError
from ekd_train.models.config import NetworkConfig
from ekd_train.models.student import Student


def test_defaults_equal_the_published_sizes():
    config = NetworkConfig()
    assert (config.tokens, config.positions, config.student_feature, config.teacher_feature) == (61, 64, 3904, 7808)


@given(window=st.integers(1, 4096), kernel=st.integers(1, 64), stride=st.integers(1, 80))
def test_every_token_has_a_position(window, kernel, stride):
    if window < kernel:
        with pytest.raises(ConfigError, match="shorter than network"):
            NetworkConfig(window_samples=window, kernel=kernel, stride=stride)
    else:
        config = NetworkConfig(window_samples=window, kernel=kernel, stride=stride)
        assert 1 <= config.tokens <= config.positions
        assert (config.tokens - 1) * stride + kernel <= window


@pytest.mark.parametrize(
    "wrong",
    [
        {"heads": 0},
        {"depth": 1},
        {"classes": 1},
        {"targets": ()},
        {"targets": ("arousal", "arousal")},
        {"targets": ("a.b",)},
        {"fusion": "late"},
        {"gate": "sigmoid"},
        {"head_dropout": 1.0},
        {"student": "tiny"},
        {"student_filters": -1},
        {"student_mix": 4},
    ],
)
def test_impossible_network_is_refused(wrong):
    with pytest.raises(ConfigError):
        NetworkConfig(**wrong)


def test_target_named_like_a_module_attribute_is_refused():
    with pytest.raises(ConfigError, match="choose another name"):
        Student(NetworkConfig(targets=("forward",)))
