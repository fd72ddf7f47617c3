"""Lost samples of a recording: found by its time column, left as gaps for the device's signal chain."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ekd_edge.signal.blocks import SampleBlock, continues, joined
from ekd_edge.signal.bridge import bridged
from firmware_bridge.devices.csv.layout import JITTER_S

__all__ = ["LONGEST_GAP_S", "lost_before", "stretches", "with_lost"]

LONGEST_GAP_S: Final = 5.0
"""A longer step of the time column is an error of the file."""

_REGULAR: Final = 0.9
"""Share of the steps that are at most 1.5 periods; with fewer, a longer step shows a coarse clock, not lost samples."""


def lost_before(times_s: NDArray[np.float64], rate_hz: Fraction) -> NDArray[np.int64]:
    """The number of samples that were lost before each of n samples, by their times, shape (n,).

    It is the rule of a live sensor's lines. All are 0 for a clock that is too coarse or irregular to show a loss.
    """
    period = float(1 / rate_hz)
    steps = np.diff(times_s, prepend=times_s[:1] - period)
    lost = np.zeros(len(times_s), np.int64)
    if np.quantile(steps, _REGULAR) <= 1.5 * period:
        gaps = steps > max(1.5 * period, period + JITTER_S)
        lost[gaps] = np.rint(steps[gaps] / period).astype(np.int64) - 1
    return lost


def with_lost(rows: NDArray[np.float64], lost: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rows of n samples, shape (..., n), with NaN in place of the lost[i] samples before sample i."""
    if not lost.any():
        return np.array(rows, dtype=np.float64, order="C")
    filled = np.full((*rows.shape[:-1], rows.shape[-1] + int(lost.sum())), np.nan)
    filled[..., np.arange(rows.shape[-1]) + np.cumsum(lost)] = rows
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
