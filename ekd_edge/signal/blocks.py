"""The data types of the signal chain: sample blocks, windows and baselines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.units import Unit

__all__ = ["Baseline", "BaselineLookup", "SampleBlock", "TimeAnchor", "Window", "bridge_marks", "continues", "joined"]


@dataclass(frozen=True, slots=True)
class Baseline:
    """Statistics of a wearer at rest, from which the running normalization starts.

    mean, variance: of the filtered signal, or of its logarithm where the normalization uses the logarithm.
    seconds: length of the signal that they were measured on.
    """

    mean: float
    variance: float
    seconds: float


BaselineLookup = Callable[[str], Baseline | None]
"""The wearer's baseline by the sensor's identity, see `ekd_edge.sources.sensor.Sensor.identity`."""


@dataclass(frozen=True, slots=True)
class TimeAnchor:
    """The wall-clock time of one sample; that of sample i is utc_s + (i - index) / rate.

    index: of the sample, in the sensor's own count. utc_s: seconds since 1970.
    """

    index: int
    utc_s: float


@dataclass(frozen=True, slots=True)
class SampleBlock:
    """Consecutive samples of one sensor.

    values: float64, shape (n,) for GSR in microsiemens, or (channels, n) for a multi-channel recording.
    first_index: index of values[..., 0] in the sensor's own count; a jump between blocks is a gap.
    rate_hz: the sensor's true rate, exact.
    segment: rises by one when the sensor's count restarts (reset, reconnection): no window spans two segments.
    readings, unit: the device's readings from which the values were computed, float64, shape (n,); else None.
    lead_off: whether the device reports that an electrode is off.
    baseline: start of the normalization where this block starts a segment; None for no baseline.
    anchor: wall-clock time of the samples; None where it is unknown, as in a file without clock times.
    fault: a fault of the whole stream, such as a rate that cannot be right; the labels of its windows are withheld.
    bridged: which samples are interpolated (`ekd_edge.signal.bridge`), bool, shape (n,); None for none.
    """

    values: NDArray[np.float64]
    first_index: int
    rate_hz: Fraction
    segment: int = 0
    readings: NDArray[np.float64] | None = None
    unit: Unit | None = None
    lead_off: bool = False
    baseline: Baseline | None = None
    anchor: TimeAnchor | None = None
    fault: str | None = None
    bridged: NDArray[np.bool_] | None = None


def continues(block: SampleBlock, last: SampleBlock) -> bool:
    """Whether a block follows another without a gap and with the same metadata."""
    return (
        block.first_index == last.first_index + last.values.shape[-1]
        and (block.segment, block.rate_hz, block.lead_off) == (last.segment, last.rate_hz, last.lead_off)
        and (block.unit, block.baseline, block.readings is None) == (last.unit, last.baseline, last.readings is None)
        and (block.anchor, block.fault) == (last.anchor, last.fault)
    )


def joined(blocks: Sequence[SampleBlock]) -> SampleBlock:
    """Concatenates blocks, each of which `continues` the one before."""
    first = blocks[0]
    if len(blocks) == 1:
        return first
    values = np.concatenate([block.values for block in blocks], axis=-1)
    readings = None
    if first.readings is not None:
        readings = np.concatenate([block.readings for block in blocks if block.readings is not None])
    bridged = None
    if any(block.bridged is not None for block in blocks):
        bridged = np.concatenate([bridge_marks(block) for block in blocks])
    return replace(first, values=values, readings=readings, bridged=bridged)


def bridge_marks(block: SampleBlock) -> NDArray[np.bool_]:
    """Which samples of a block are interpolated, shape (n,)."""
    return np.zeros(block.values.shape[-1], np.bool_) if block.bridged is None else block.bridged


@dataclass(frozen=True, slots=True)
class Window:
    """One window, ready for the classifier.

    values: float32, shape (window_samples,) or (channels, window_samples): resampled, filtered, normalized.
    raw: float32, same shape: resampled only, in the sensor's unit (microsiemens for GSR).
    first_index: index, in the sensor's own count, of the sample at (or just before) the window's start.
    end_s: end of the window on the sensor's own clock, in seconds since sample 0 of its segment.
    segment: the window's segment.
    """

    values: NDArray[np.float32]
    raw: NDArray[np.float32]
    first_index: int
    end_s: float
    segment: int = 0
