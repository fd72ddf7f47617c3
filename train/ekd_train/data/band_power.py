"""Band power of EEG: the teacher's input if the rate of the windows is too low for EEG itself."""

from dataclasses import replace
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError
from ekd_edge.signal.spec import Normalization, SignalSpec

__all__ = ["BANDS", "EegFeatures", "band_power", "band_power_spec"]

EegFeatures = Literal["raw", "bandpower"]
"""Rows of the teacher's EEG input: "raw" has one row per channel, "bandpower" one row per band and channel."""

BANDS: dict[str, tuple[float, float]] = {"alpha": (8.0, 13.0), "beta": (13.0, 30.0)}
"""The bands in Hz. The rows are all channels of the first band, then all channels of the next."""

_SMOOTHING_S = 0.5
_FLOOR_UV2 = 1e-3


def band_power(
    eeg: NDArray[np.float64], rate_hz: Fraction, bands: dict[str, tuple[float, float]] | None = None
) -> NDArray[np.float64]:
    """Compute the causal band power of EEG.

    A Butterworth band-pass of four sections is squared and smoothed by a first-order low-pass of 0.5 s, whose output
    is never negative.

    Args:
        eeg: (channels, n) in uV.
        rate_hz: sampling rate.
        bands: band edges in Hz by name, by default `BANDS`.

    Returns:
        float64 (bands * channels, n) in uV^2 at the same rate.

    Raises:
        DataError: if the rate is too low for the highest band.
    """
    from scipy.signal import butter, lfilter, sosfilt

    rate = float(rate_hz)
    edges = BANDS if bands is None else bands
    if rate <= 2.0 * max(high for _, high in edges.values()):
        raise DataError(f"a rate of {rate:g} Hz is too low for EEG band power up to 30 Hz: record it at 64 Hz or more")
    if eeg.shape[-1] == 0:
        return np.empty((len(edges) * len(eeg), 0))
    keep = float(np.exp(-1.0 / (_SMOOTHING_S * rate)))
    rows = []
    for low, high in edges.values():
        wave = sosfilt(butter(4, (low, high), "bandpass", fs=rate, output="sos"), eeg, axis=-1)
        rows.append(lfilter([1.0 - keep], [1.0, -keep], np.square(wave), axis=-1))
    return np.asarray(np.concatenate(rows) + _FLOOR_UV2, dtype=np.float64)


def band_power_spec(spec: SignalSpec) -> SignalSpec:
    """Return the specification of band-power rows: the timing of `spec`, no filter, running log normalization."""
    normalization = Normalization("log-ema", time_constant_s=90.0, gain=1.0)
    return replace(spec, sos=(), normalization=normalization, unit="uV2")
