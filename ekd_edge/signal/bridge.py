"""Short gaps of a stream, filled by linear interpolation between the received samples on both sides.

The preprocessor and the assessment of signal quality both fill their blocks with `bridged`, so that they agree on
which samples were lost. Counts and recordings see the blocks as they were received.
"""

import math
from dataclasses import replace
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ekd_edge.signal.blocks import SampleBlock

__all__ = ["bridged", "last_sample", "longest_bridge"]

_ROUNDING: Final = 1e-9
"""Samples; the product of a length in seconds and a rate, such as 0.3 s and 10 Hz, may be just below a whole number."""


def longest_bridge(bridge_s: float, rate_hz: Fraction) -> int:
    """The largest number of lost samples that are filled, at a stream's rate."""
    return math.floor(bridge_s * float(rate_hz) + _ROUNDING)


def bridged(last: SampleBlock | None, block: SampleBlock, bridge_s: float) -> SampleBlock:
    """The block, preceded by the samples that were lost before it where they are few enough.

    Where `first_index` jumps by m, m samples are lost between the last sample x0 and the next one x1. The k-th of them
    is x0 + (x1 - x0) k / (m + 1), for values and readings. All else remains a gap: more samples than `longest_bridge`,
    a step back, another segment, rate, unit or number of channels.

    Args:
        last: samples before the block, at least one; None for the start of a stream.
        block: the next samples.
        bridge_s: the longest gap that is filled, in seconds.

    Returns:
        A block that `last` is followed by without a gap, with `bridged` set; `block` itself where nothing is filled.
    """
    if last is None or block.values.shape[-1] == 0:
        return block
    missing = block.first_index - last.first_index - last.values.shape[-1]
    if missing <= 0 or missing > longest_bridge(bridge_s, block.rate_hz) or not _same_signal(last, block):
        return block
    readings = None
    if block.readings is not None and last.readings is not None:
        readings = _filled(last.readings, block.readings, missing)
    marks = np.zeros(missing + block.values.shape[-1], np.bool_)
    marks[:missing] = True
    if block.bridged is not None:
        marks[missing:] = block.bridged
    return replace(
        block,
        values=_filled(last.values, block.values, missing),
        first_index=block.first_index - missing,
        readings=readings,
        bridged=marks,
    )


def last_sample(block: SampleBlock) -> SampleBlock:
    """The last sample of a block that has one: what `bridged` needs of it, without its arrays."""
    return SampleBlock(
        block.values[..., -1:].copy(),
        block.first_index + block.values.shape[-1] - 1,
        block.rate_hz,
        block.segment,
        None if block.readings is None else block.readings[-1:].copy(),
        block.unit,
    )


def _same_signal(last: SampleBlock, block: SampleBlock) -> bool:
    return (
        (last.segment, last.rate_hz, last.unit) == (block.segment, block.rate_hz, block.unit)
        and last.values.shape[:-1] == block.values.shape[:-1]
        and (last.readings is None) == (block.readings is None)
    )


def _filled(before: NDArray[np.float64], after: NDArray[np.float64], missing: int) -> NDArray[np.float64]:
    """`after`, shape (..., n), preceded by the `missing` samples between it and the last one of `before`."""
    x0, x1 = before[..., -1:], after[..., :1]
    between = x0 + (x1 - x0) * np.arange(1, missing + 1, dtype=np.float64) / (missing + 1)
    return np.concatenate((between, after), axis=-1)
