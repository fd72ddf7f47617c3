"""How far a window's signal can be skin conductance at all."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ekd_edge.signal.blocks import Window

__all__ = ["ACCEPTABLE", "HIGHEST_US", "LOWEST_US", "Quality", "assess", "assess_all"]

LOWEST_US: Final = 0.05
HIGHEST_US: Final = 60.0
"""Bounds of plausible skin conductance in microsiemens; beyond them the electrodes are off or shorted.

Kleckner et al. 2018 (IEEE Trans. Biomed. Eng. 65(7), 1460-1467) call electrodermal activity in it valid.
"""

ACCEPTABLE: Final = 0.5
"""The score from which a window's prediction may be trusted."""

_FLAT: Final = 1e-6  # of the level: what rounding to float32 leaves of a constant
_ROWS: Final = 1024


@dataclass(frozen=True, slots=True)
class Quality:
    """A score from 0 (no signal) to 1 (nothing to complain of), and what is wrong where it is below 1."""

    score: float
    reason: str | None = None

    @property
    def acceptable(self) -> bool:
        """Whether a prediction from this window may be trusted."""
        return self.score >= ACCEPTABLE


_GOOD: Final = Quality(1.0)
_FLAT_LINE: Final = Quality(0.0, "flat line: the reading does not change")


def assess(window: Window) -> Quality:
    """The quality of a window of skin conductance: the share of plausible samples, or 0 for a flat line."""
    return assess_all(window.raw[np.newaxis])[0]


def assess_all(raw: NDArray[np.float32]) -> list[Quality]:
    """The quality of each of k windows, as `assess` finds it; raw: microsiemens, shape (k, window_samples).

    Only a reading that does not change at all counts as flat: 4 s of a dry wrist at rest may span no more
    than 0.002 uS. A quiet person on a coarse converter without noise looks the same as a stuck sensor.
    """
    qualities = []
    for i in range(0, len(raw), _ROWS):
        rows = raw[i : i + _ROWS]
        low, high = rows.min(axis=-1), rows.max(axis=-1)
        plausible = ((rows >= LOWEST_US) & (rows <= HIGHEST_US)).mean(axis=-1)
        flat = high - low <= _FLAT * high
        for row in zip(low.tolist(), plausible.tolist(), flat.tolist(), strict=True):
            qualities.append(_quality(*row))
    return qualities


def _quality(low: float, plausible: float, flat: bool) -> Quality:
    if plausible < 1.0:
        return Quality(plausible, "electrodes off or dry" if low < LOWEST_US else "electrodes shorted or saturated")
    return _FLAT_LINE if flat else _GOOD
