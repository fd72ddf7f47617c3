"""Smoothing of predictions over time: an exponential mean of probabilities, and hysteresis of labels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ekd_edge.errors import ConfigError
from ekd_edge.model.manifest import Target

__all__ = ["Smoother", "Smoothing"]


@dataclass(frozen=True, slots=True)
class Smoothing:
    """smooth_s: time constant of the exponential mean over probabilities of acceptable windows; 0 for none.

    hysteresis: the current label stays until another label's probability exceeds its own by more than this share,
    0 to below 1.
    """

    smooth_s: float = 0.0
    hysteresis: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.smooth_s) and self.smooth_s >= 0):
            raise ConfigError(f"the smoothing time is {self.smooth_s:g} s: give zero or a positive number of seconds")
        if not 0 <= self.hysteresis < 1:
            raise ConfigError(f"the hysteresis is {self.hysteresis:g}: give a share from 0 to below 1")


class Smoother:
    """Smooths the predictions of one sensor.

    It restarts in a new segment, after a pause longer than smooth_s, and where the time does not grow.
    """

    def __init__(self, targets: Sequence[Target], hop_s: float, smoothing: Smoothing) -> None:
        self._targets = targets
        self._smoothing = smoothing
        self._pause_s = max(smoothing.smooth_s, 2 * hop_s)
        self._at: tuple[int, float] | None = None
        self._means: Sequence[tuple[float, ...]] = []
        self._current: list[int | None] = [None] * len(targets)

    def __call__(
        self, probabilities: Sequence[tuple[float, ...]], at: tuple[int, float], acceptable: bool
    ) -> tuple[Mapping[str, tuple[float, ...]], Mapping[str, str | None]]:
        """Smoothed probabilities and labels of the next window.

        Args:
            probabilities: of the window, one tuple for each target.
            at: the window's segment and its end in seconds.
            acceptable: whether the signal quality is; if not, the window changes no state.

        Returns:
            Probabilities and label by target name. The label is None, and the probabilities are the window's own,
            where the window is not acceptable.
        """
        names = [target.name for target in self._targets]
        if not acceptable:
            return dict(zip(names, probabilities, strict=True)), dict.fromkeys(names)
        smoothed = self._smoothed(probabilities, at)
        labels = {}
        for k, (target, row) in enumerate(zip(self._targets, smoothed, strict=True)):
            best, current = row.index(max(row)), self._current[k]
            if current is None or row[best] - row[current] > self._smoothing.hysteresis:
                self._current[k] = current = best
            labels[target.name] = target.labels[current]
        return dict(zip(names, smoothed, strict=True)), labels

    def _smoothed(
        self, probabilities: Sequence[tuple[float, ...]], at: tuple[int, float]
    ) -> Sequence[tuple[float, ...]]:
        before, self._at = self._at, at
        if before is None or before[0] != at[0] or not 0 < at[1] - before[1] <= self._pause_s:
            self._current = [None] * len(self._targets)
            self._means = probabilities
        elif self._smoothing.smooth_s == 0:
            self._means = probabilities
        else:
            kept = math.exp(-(at[1] - before[1]) / self._smoothing.smooth_s)
            self._means = [
                tuple([kept * mean + (1 - kept) * new for mean, new in zip(means, row, strict=True)])
                for means, row in zip(self._means, probabilities, strict=True)
            ]
        return self._means
