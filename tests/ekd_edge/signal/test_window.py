from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ekd_edge.signal.window import Windower


@settings(max_examples=150, deadline=None)
@given(
    window=st.integers(1, 40),
    hop=st.integers(1, 60),
    settle=st.integers(0, 50),
    cuts=st.lists(st.integers(0, 300), max_size=60),
    channels=st.sampled_from([None, 3]),
)
def test_windows_are_slices_of_the_stream_for_any_block_sizes(window, hop, settle, cuts, channels):
    shape = (300,) if channels is None else (channels, 300)
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    starts = list(range(settle, 300 - window + 1, hop))
    windower = Windower(window, hop, settle)
    found, found_starts = [], []
    for a, b in pairwise([0, *sorted(cuts), 300]):
        epochs = windower.push(x[..., a:b])
        assert epochs.data.shape == (len(epochs.starts), *shape[:-1], window)
        found.extend(epochs.data)
        found_starts.extend(epochs.starts.tolist())
    assert found_starts == starts
    for start, data in zip(starts, found, strict=True):
        assert np.array_equal(data, x[..., start : start + window])


def test_memory_is_bounded_by_a_window_and_a_hop():
    windower = Windower(50, 200, 1000)
    for _ in range(10_000):
        windower.push(np.zeros(3, np.float32))
        assert sum(piece.shape[-1] for piece in windower._pieces) <= 250
