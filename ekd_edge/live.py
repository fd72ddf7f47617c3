"""Sample blocks in, predictions out: the one loop behind a live sensor, a replay and an offline run."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter

from ekd_edge.classify import Classifier, softmax
from ekd_edge.errors import SignalError
from ekd_edge.manifest import Manifest
from ekd_edge.quality import Quality, assess_all
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.preprocessor import Preprocessor, WindowBatch

__all__ = ["Prediction", "check_sensor_signal", "run"]

_AT_ONCE = 64  # windows a call: a day pushed in one block can still be stopped at any moment


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the student says about one window.

    first_index, time_s, segment: of the window, see `ekd_edge.signal.blocks.Window` (time_s is its end).
    probabilities: for each target, one probability a label, in the order of the manifest's labels.
    labels: for each target, the most probable label, or None where the signal's quality is not acceptable.
    quality: of the window's signal, and what is wrong with it.
    latency_ms: from the arrival of the block that completed the window to this prediction.
    """

    first_index: int
    time_s: float
    segment: int
    probabilities: Mapping[str, tuple[float, ...]]
    labels: Mapping[str, str | None]
    quality: Quality
    latency_ms: float

    @property
    def withheld(self) -> bool:
        """Whether the labels are withheld because of the signal's quality."""
        return not self.quality.acceptable


def check_sensor_signal(manifest: Manifest, name: str = "this model") -> None:
    """Raise SignalError unless the model reads what a skin-conductance sensor gives: microsiemens."""
    if manifest.signal.unit != "uS":
        raise SignalError(
            f"{name} was made for a signal in {manifest.signal.unit}, not for skin conductance in uS: "
            "choose a model that ekd-export made from a GSR student"
        )


def run(
    blocks: Iterable[SampleBlock], preprocessor: Preprocessor, classifier: Classifier, manifest: Manifest
) -> Iterator[Prediction]:
    """One Prediction a window, in order, as blocks arrive; windows that are due together are classified together.

    Raises SignalError where the samples cannot be processed, and whatever the iteration over blocks raises.
    """
    check_sensor_signal(manifest)
    for block in blocks:
        arrived = perf_counter()
        batch = preprocessor.push_batch(block)
        for start in range(0, len(batch), _AT_ONCE):
            yield from _predict(batch, slice(start, start + _AT_ONCE), classifier, manifest, arrived)


def _predict(
    batch: WindowBatch, part: slice, classifier: Classifier, manifest: Manifest, arrived: float
) -> list[Prediction]:
    logits = classifier.predict(batch.values[part]).tolist()
    qualities = assess_all(batch.raw[part])
    latency_ms = (perf_counter() - arrived) * 1e3
    predictions = []
    first_indexes, ends_s = batch.first_index[part].tolist(), batch.end_s[part].tolist()
    for rows, quality, first_index, end_s in zip(logits, qualities, first_indexes, ends_s, strict=True):
        probabilities = {}
        labels: dict[str, str | None] = {}
        for target, row in zip(manifest.targets, rows, strict=True):
            chances = softmax(row)
            probabilities[target.name] = chances
            labels[target.name] = target.labels[chances.index(max(chances))] if quality.acceptable else None
        predictions.append(Prediction(first_index, end_s, batch.segment, probabilities, labels, quality, latency_ms))
    return predictions
