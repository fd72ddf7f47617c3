"""Ranges of a model small enough to compute them by hand: y = max(W x + b, 0), then z = V y."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ekd_edge.errors import DataError
from ekd_export.convert.tflite import convert
from ekd_export.quantization.ranges import _largest, activation_ranges

WINDOWS = np.random.default_rng(2).normal(size=(40, 24)).astype(np.float32)


class Small(torch.nn.Module):
    def __init__(self, bias: float = 0.1) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second = torch.nn.Linear(24, 8), torch.nn.Linear(8, 3)
        torch.nn.init.constant_(self.first.bias, bias)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(window)))


@pytest.fixture(scope="module")
def flatbuffer() -> bytes:
    return convert(Small().eval(), 24)


@pytest.fixture(scope="module")
def activations() -> list[np.ndarray]:
    small, windows = Small(), torch.tensor(WINDOWS)
    with torch.no_grad():
        return [values.numpy() for values in (windows, torch.relu(small.first(windows)), small(windows))]


def test_min_max_ranges_hold_every_value_and_no_more(flatbuffer, activations) -> None:
    found = list(activation_ranges(flatbuffer, WINDOWS).values())
    np.testing.assert_allclose(found, [(values.min(), values.max()) for values in activations], rtol=1e-5)


def test_percentile_is_one_of_all_values_of_all_windows(flatbuffer, activations) -> None:
    found = list(activation_ranges(flatbuffer, WINDOWS, percentile=90).values())
    kept = [np.quantile(values, (0.05, 0.95), method="lower") for values in activations]
    np.testing.assert_allclose(found, kept, atol=0.1)
    assert all(low < high for low, high in found)
    inside = [(values >= low) & (values <= high) for values, (low, high) in zip(activations, found, strict=True)]
    assert [float(share.mean()) for share in inside] == pytest.approx([0.9, 0.95, 0.9], abs=0.02)


def test_percentile_leaves_an_outlying_window_out(flatbuffer) -> None:
    planted = WINDOWS.copy()
    planted[7] *= 50
    extremes = activation_ranges(flatbuffer, planted), activation_ranges(flatbuffer, planted, percentile=90)
    widths = np.array([[high - low for low, high in found.values()] for found in extremes])
    usual = [high - low for low, high in activation_ranges(flatbuffer, WINDOWS).values()]
    assert (widths[0] > 4 * np.array(usual)).all()
    assert (widths[1] < usual).all()


def test_nearly_always_zero_layer_keeps_its_extremes() -> None:
    sparse = convert(Small(bias=-1.8).eval(), 24)
    whole, cut = activation_ranges(sparse, WINDOWS), activation_ranges(sparse, WINDOWS, percentile=60)
    name = list(whole)[1]
    assert cut[name] == whole[name]
    assert whole[name][1] > 0


def test_layer_that_is_always_zero_is_named() -> None:
    with pytest.raises(DataError, match=r"^Linear_first is zero in every calibration window"):
        activation_ranges(convert(Small(bias=-1000).eval(), 24), WINDOWS)


def test_layer_with_nan_is_named() -> None:
    broken = Small().eval()
    torch.nn.init.constant_(broken.second.bias, torch.nan)
    with pytest.raises(DataError, match="NaN or infinity on a calibration window"):
        activation_ranges(convert(broken, 24), WINDOWS)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30), min_size=1, max_size=8),
    st.integers(1, 40),
)
def test_largest_of_a_stream_are_those_of_the_whole(parts, count) -> None:
    kept = None
    for part in parts:
        kept = _largest(kept, np.array(part, np.float32), count)
    assert kept is not None
    whole = np.sort(np.array([value for part in parts for value in part], np.float32))
    np.testing.assert_array_equal(np.sort(kept), whole[-count:])
    assert kept[0] == kept.min()
