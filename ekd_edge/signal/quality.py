"""Signal quality of a window: whether its values are plausible skin conductance."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ekd_edge.signal.blocks import Window
from ekd_edge.signal.spec import SignalSpec

__all__ = ["ACCEPTABLE", "HIGHEST_US", "LOWEST_US", "STEEPEST_US_PER_S", "Quality", "assess", "assess_all"]

LOWEST_US: Final = 0.05
HIGHEST_US: Final = 60.0
"""Bounds of plausible skin conductance in microsiemens; beyond them the electrodes are off or shorted."""

STEEPEST_US_PER_S: Final = 10.0
"""Upper limit of the slope of skin conductance; a steeper change is a moved contact.

The bounds and the slope are those of Kleckner et al. 2018 (IEEE Trans. Biomed. Eng. 65(7), 1460-1467). They also
discard 5 s around such a change; here one such change makes the whole window unacceptable.
"""

ACCEPTABLE: Final = 0.8
"""The lowest score of a window whose label is shown. In the second window after a fault began, at least one of the four
latest hops has the fault, so the score is below this value."""

_FLAT: Final = 1e-6  # of the level: the rounding error of a constant in float32
_ROWS: Final = 1024
_SLOPE_S: Final = Fraction(1, 4)


@dataclass(frozen=True, slots=True)
class Quality:
    """score: from 0 (no signal) to 1 (no fault). reason: the fault, where the score is below 1."""

    score: float
    reason: str | None = None

    @property
    def acceptable(self) -> bool:
        """Whether the quality is sufficient for a label."""
        return self.score >= ACCEPTABLE


_GOOD: Final = Quality(1.0)
_FLAT_LINE: Final = Quality(0.0, "flat line: the reading does not change")
_JUMP: Final = Quality(0.0, f"jumps by more than {STEEPEST_US_PER_S:g} uS a second: movement or a loose contact")
_FAULTS: Final = (
    "saturated: the reading is at an end of the converter's range",
    "stuck: the reading has stopped changing",
    "the device reports that an electrode is off",
)


def assess(window: Window, spec: SignalSpec) -> Quality:
    """The quality of a window of skin conductance, from its values only."""
    return assess_all(window.raw[np.newaxis], spec)[0]


def assess_all(
    raw: NDArray[np.float32], spec: SignalSpec, bad_fractions: NDArray[np.float64] | None = None
) -> list[Quality]:
    """The quality of each of k windows.

    The score is the fraction of plausible samples, of the whole window or of its latest samples, whichever is less.
    Samples that were lost and interpolated are not plausible. The score is 0 for a flat line or a jump. Only a window
    without any change counts as flat: 4 s of a dry wrist at rest may span no more than 0.002 uS.

    Args:
        raw: microsiemens, shape (k, window_samples).
        spec: of the windows.
        bad_fractions: of `SampleQuality.bad_fractions`, shape (k, 4); None to assess only the values.

    Returns:
        One Quality for each window.
    """
    lag = max(1, round(_SLOPE_S * spec.rate_hz))
    largest = STEEPEST_US_PER_S * lag / float(spec.rate_hz)
    qualities = []
    for i in range(0, len(raw), _ROWS):
        rows = raw[i : i + _ROWS]
        low, high = rows.min(axis=-1), rows.max(axis=-1)
        valid = (rows >= LOWEST_US) & (rows <= HIGHEST_US)
        plausible = np.minimum(valid.mean(axis=-1), valid[:, -spec.recent_samples :].mean(axis=-1))
        flat = high - low <= _FLAT * high
        jumps = high - low > largest
        if jumps.any():
            changes = np.abs(rows[jumps, lag:] - rows[jumps, :-lag])
            jumps[jumps] = (changes > largest).any(axis=-1)
        for row in zip(low.tolist(), plausible.tolist(), flat.tolist(), jumps.tolist(), strict=True):
            qualities.append(_quality(*row))
    if bad_fractions is not None:
        for k in np.flatnonzero(bad_fractions.any(axis=-1)).tolist():
            worst = int(bad_fractions[k].argmax())
            score = 1.0 - float(bad_fractions[k, worst])
            if qualities[k].acceptable and score < qualities[k].score:
                qualities[k] = Quality(score, _FAULTS[worst] if worst < len(_FAULTS) else _lost(1.0 - score))
    return qualities


def _lost(share: float) -> str:
    percent = 100 * share
    text = f"{percent:.0f}" if percent >= 10 else f"{percent:.2g}"
    return f"samples were lost: up to {text} % of the window are interpolated"


def _quality(low: float, plausible: float, flat: bool, jumps: bool) -> Quality:
    if plausible < ACCEPTABLE:
        return Quality(plausible, "electrodes off or dry" if low < LOWEST_US else "electrodes shorted or saturated")
    if jumps:
        return _JUMP
    if plausible < 1.0:
        return Quality(plausible, "electrodes off or dry" if low < LOWEST_US else "electrodes shorted or saturated")
    return _FLAT_LINE if flat else _GOOD
