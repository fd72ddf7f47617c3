"""Labels that do not flicker: probabilities smoothed over time, and labels that give way only to a clear winner."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ekd_edge.errors import ConfigError
from ekd_edge.model.manifest import Target

__all__ = ["Smoother", "Smoothing"]


@dataclass(frozen=True, slots=True)
class Smoothing:
    """smooth_s: time constant of an exponential mean over probabilities of believed windows; 0 for none.

    hysteresis: by how much a label's probability must exceed that of the label shown before it takes its place; 0 to 1.
    """

    smooth_s: float = 0.0
    hysteresis: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.smooth_s) and self.smooth_s >= 0):
            raise ConfigError("the smoothing time must be zero or a positive number of seconds")
        if not 0 <= self.hysteresis < 1:
            raise ConfigError("the hysteresis must be a share of 0 or more, below 1")


class Smoother:
    """Follows the predictions of one sensor. A new segment, or a pause longer than smooth_s, begins anew."""

    def __init__(self, targets: Sequence[Target], hop_s: float, smoothing: Smoothing) -> None:
        self._targets = targets
        self._smoothing = smoothing
        self._pause_s = max(smoothing.smooth_s, 2 * hop_s)
        self._at: tuple[int, float] | None = None
        self._means: Sequence[tuple[float, ...]] = []
        self._shown: list[int | None] = [None] * len(targets)

    def __call__(
        self, chances: Sequence[tuple[float, ...]], at: tuple[int, float], believed: bool
    ) -> tuple[Mapping[str, tuple[float, ...]], Mapping[str, str | None]]:
        """The probabilities and labels to show for a window; what is not believed is shown as it is, unlabeled.

        chances: of the window, one tuple a target. at: the window's segment and end in seconds.
        """
        names = [target.name for target in self._targets]
        if not believed:
            return dict(zip(names, chances, strict=True)), dict.fromkeys(names)
        smoothed = self._smoothed(chances, at)
        labels = {}
        for k, (target, shares) in enumerate(zip(self._targets, smoothed, strict=True)):
            best, shown = shares.index(max(shares)), self._shown[k]
            if shown is None or shares[best] - shares[shown] > self._smoothing.hysteresis:
                self._shown[k] = shown = best
            labels[target.name] = target.labels[shown]
        return dict(zip(names, smoothed, strict=True)), labels

    def _smoothed(self, chances: Sequence[tuple[float, ...]], at: tuple[int, float]) -> Sequence[tuple[float, ...]]:
        before, self._at = self._at, at
        if before is None or before[0] != at[0] or at[1] - before[1] > self._pause_s:
            self._shown = [None] * len(self._targets)
            self._means = chances
        elif self._smoothing.smooth_s == 0:
            self._means = chances
        else:
            kept = math.exp(-(at[1] - before[1]) / self._smoothing.smooth_s)
            self._means = [
                tuple([kept * mean + (1 - kept) * chance for mean, chance in zip(means, row, strict=True)])
                for means, row in zip(self._means, chances, strict=True)
            ]
        return self._means
