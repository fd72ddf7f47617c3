"""The prediction of a student for one window of skin conductance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ekd_edge.signal.quality import Quality

__all__ = ["Prediction"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction for one window.

    first_index, time_s, segment: of the window, see `ekd_edge.signal.blocks.Window` (time_s is its end).
    probabilities: for each target, one probability for each label, in the order of the manifest's labels.
    labels: for each target, the most probable label, or None where the signal quality is not acceptable.
    quality: of the window's signal, with the reason where it is reduced.
    latency_ms: from the arrival of the block that completed the window to this prediction.
    source: the sensor's port; None where there is only one sensor.
    utc_s: wall-clock time of the window's end, in seconds since 1970; None where the samples have none.
    """

    first_index: int
    time_s: float
    segment: int
    probabilities: Mapping[str, tuple[float, ...]]
    labels: Mapping[str, str | None]
    quality: Quality
    latency_ms: float
    source: str | None = None
    utc_s: float | None = None

    @property
    def withheld(self) -> bool:
        """Whether the labels are withheld because of the signal quality."""
        return not self.quality.acceptable

    def label_probability(self, target: str, labels: Sequence[str]) -> float:
        """The probability of the target's own label, which hysteresis can keep although another is more probable.

        labels: all of the target, in the order of the manifest. Raises ValueError where the label is withheld.
        """
        label = self.labels[target]
        if label is None:
            raise ValueError(f"the label of {target} is withheld")
        return self.probabilities[target][labels.index(label)]
