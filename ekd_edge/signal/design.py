"""Design of signal specifications: filter coefficients, computed once for training.

The device designs no filters: it reads the coefficients from the model file.
"""

import itertools
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import SignalError
from ekd_edge.signal.spec import Normalization, SignalSpec
from firmware_bridge.dependencies import require_packages

__all__ = ["BRIDGE_S", "Section", "bandpass_sos", "eeg_spec", "gsr_spec", "lowpass_sos"]

BRIDGE_S: Final = 0.5
"""The longest gap in seconds that is interpolated by default; `benchmarks/bench_lossy.py` compares lengths."""

Section = tuple[float, float, float, float, float, float]
"""One second-order section: b0 b1 b2 1 a1 a2."""

_HIGHEST_CUTOFF = 0.45
"""Highest cutoff, as a fraction of the rate, that a low-pass is designed for."""


def lowpass_sos(rate_hz: Fraction | float, cutoff_hz: float, order: int = 4) -> tuple[Section, ...]:
    """A Butterworth low-pass; -3 dB at cutoff_hz.

    Raises SignalError unless 0 < cutoff_hz < rate_hz / 2 and order is at least 1, ConfigError where scipy is missing.
    """
    _check_band(rate_hz, order, cutoff_hz)
    require_packages("the design of a filter", "scipy")
    from scipy.signal import butter  # the import takes a second; only training needs it

    return _sections(butter(order, cutoff_hz, "lowpass", output="sos", fs=float(rate_hz)))


def bandpass_sos(rate_hz: Fraction | float, low_hz: float, high_hz: float, order: int = 4) -> tuple[Section, ...]:
    """A Butterworth band-pass of `order` sections; -3 dB at low_hz and high_hz.

    Raises SignalError unless 0 < low_hz < high_hz < rate_hz / 2 and order is at least 1, ConfigError where scipy is
    missing.
    """
    _check_band(rate_hz, order, low_hz, high_hz)
    require_packages("the design of a filter", "scipy")
    from scipy.signal import butter  # the import takes a second; only training needs it

    return _sections(butter(order, (low_hz, high_hz), "bandpass", output="sos", fs=float(rate_hz)))


def gsr_spec(
    rate_hz: Fraction | float = 128,
    window_s: float = 4.0,
    hop_s: float = 1.0,
    cutoff_hz: float = 5.0,
    normalization: Normalization | None = None,
    settle_s: float = 2.0,
    bridge_s: float = BRIDGE_S,
) -> SignalSpec:
    """Skin conductance in uS: low-pass of fourth order (BioSPPy's choice for EDA), then `Normalization()`.

    At low rates the cutoff is at most 0.45 of the rate. Raises SignalError where window or hop are not a
    whole number of samples.
    """
    rate = _rate(rate_hz)
    return SignalSpec(
        rate_hz=rate,
        window_samples=_samples("window_s", window_s, rate),
        hop_samples=_samples("hop_s", hop_s, rate),
        sos=lowpass_sos(rate, min(cutoff_hz, _HIGHEST_CUTOFF * float(rate))),
        settle_s=settle_s,
        normalization=Normalization() if normalization is None else normalization,
        unit="uS",
        bridge_s=bridge_s,
    )


def eeg_spec(
    rate_hz: Fraction | float = 128,
    window_s: float = 4.0,
    hop_s: float = 1.0,
    sos: tuple[Section, ...] = (),
    normalization: Normalization | None = None,
    settle_s: float = 2.0,
    bridge_s: float = BRIDGE_S,
) -> SignalSpec:
    """EEG in uV, band-passed before or by `sos`; each channel is normalized by a causal z-score of 90 s.

    With the same rate, window, hop, settle time and bridged gaps as a `gsr_spec`, its windows are aligned with those of
    the GSR.
    """
    rate = _rate(rate_hz)
    return SignalSpec(
        rate_hz=rate,
        window_samples=_samples("window_s", window_s, rate),
        hop_samples=_samples("hop_s", hop_s, rate),
        sos=sos,
        settle_s=settle_s,
        normalization=Normalization("ema-zscore", time_constant_s=90.0, gain=1.0)
        if normalization is None
        else normalization,
        unit="uV",
        bridge_s=bridge_s,
    )


def _rate(rate_hz: Fraction | float) -> Fraction:
    try:
        rate = Fraction(rate_hz).limit_denominator(1_000_000)
    except (ValueError, OverflowError) as error:
        raise SignalError(f"rate_hz is {rate_hz}: give a positive number of Hz") from error
    if rate <= 0:
        raise SignalError(f"rate_hz is {rate_hz}: give a positive number of Hz")
    return rate


def _samples(name: str, seconds: float, rate: Fraction) -> int:
    samples = float(seconds * rate)
    if not (np.isfinite(samples) and samples > 0.5 and abs(samples - round(samples)) < 1e-6):
        raise SignalError(f"{name} = {seconds:g} s is {samples:g} samples at {float(rate):g} Hz: choose a whole number")
    return round(samples)


def _check_band(rate_hz: Fraction | float, order: int, *edges_hz: float) -> None:
    marks = (0.0, *edges_hz, float(rate_hz) / 2)
    if not all(a < b for a, b in itertools.pairwise(marks)):
        edges = " and ".join(f"{edge:g}" for edge in edges_hz)
        raise SignalError(f"a filter of {edges} Hz is not possible at {float(rate_hz):g} Hz: choose others")
    if order < 1:
        raise SignalError("a filter needs order 1 or more")


def _sections(sos: NDArray[np.float64]) -> tuple[Section, ...]:
    return tuple((float(a), float(b), float(c), 1.0, float(e), float(f)) for a, b, c, _, e, f in sos)
