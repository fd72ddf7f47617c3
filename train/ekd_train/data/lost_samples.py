"""Lost samples of a recording: found by its time column, left as gaps for the device's signal chain."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ekd_edge.signal.blocks import SampleBlock, continues, joined
from ekd_edge.signal.bridge import bridged

__all__ = ["stretches", "with_lost"]


def with_lost(rows: NDArray[np.float64], index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rows of n samples, shape (..., n), at the positions `index`, which grow, with NaN at the positions between."""
    length = int(index[-1]) + 1
    if length == rows.shape[-1]:
        return np.array(rows, dtype=np.float64, order="C")
    filled = np.full((*rows.shape[:-1], length), np.nan)
    filled[..., index] = rows
    return filled


def stretches(block: SampleBlock, lost: NDArray[np.bool_] | None, bridge_s: float) -> Iterator[SampleBlock]:
    """The samples between long gaps, with the short gaps filled as on a device.

    Args:
        block: all samples of a recording, those at lost positions without meaning.
        lost: which samples were lost, shape (n,); None for none.
        bridge_s: the longest gap that is filled, in seconds.

    Yields:
        At least one block; none continues the one before.
    """
    if lost is None or not lost.any():
        yield block
        return
    held: list[SampleBlock] = []
    edges = [0, *(np.flatnonzero(np.diff(lost)) + 1).tolist(), len(lost)]
    for first, end in pairwise(edges):
        if first == end or lost[first]:
            continue
        readings = None if block.readings is None else block.readings[first:end]
        received = replace(
            block, values=block.values[..., first:end], first_index=block.first_index + first, readings=readings
        )
        part = bridged(held[-1] if held else None, received, bridge_s)
        if held and not continues(part, held[-1]):
            yield joined(held)
            held = []
        held.append(part)
    none = SampleBlock(block.values[..., :0], block.first_index, block.rate_hz)
    yield joined(held) if held else none
