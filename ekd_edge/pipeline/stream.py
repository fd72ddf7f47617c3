"""Sample blocks in, predictions out: the one loop behind live sensors, a replay and an offline run."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import SignalError
from ekd_edge.model.interpreter import Classifier, softmax
from ekd_edge.model.manifest import Manifest
from ekd_edge.pipeline.smoothing import Smoother, Smoothing
from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock, continues, joined
from ekd_edge.signal.preprocessor import Preprocessor, WindowBatch
from ekd_edge.signal.quality import Quality, assess_all
from ekd_edge.signal.sample_quality import SampleQuality

__all__ = ["PendingWindows", "SensorPipeline", "check_sensor_signal", "predict", "predict_stream"]

_WINDOWS_PER_CALL = 64  # windows a call: a day pushed in one block can still be stopped at any moment
_MAX_HELD_BLOCKS = (
    256  # blocks that are kept until a window can be complete: the chain is run once a hop, not once a block
)


@dataclass(frozen=True, slots=True)
class PendingWindows:
    """Windows to be classified, with what is known of them. arrived_s: on the clock of `perf_counter`."""

    pipeline: "SensorPipeline"
    batch: WindowBatch
    qualities: list[Quality]
    arrived_s: float


class SensorPipeline:
    """What is kept of one sensor between blocks: its chain, what is to be doubted, its smoothed probabilities.

    Raises SignalError where the model reads another signal than skin conductance.
    """

    def __init__(
        self,
        manifest: Manifest,
        smoothing: Smoothing | None = None,
        source: str | None = None,
        preprocessor: Preprocessor | None = None,
    ) -> None:
        check_sensor_signal(manifest)
        self._spec = manifest.signal
        self._preprocessor = preprocessor or Preprocessor(manifest.signal)
        self._sample_quality = SampleQuality(manifest.signal)
        self._source = source
        self._held: list[SampleBlock] = []
        self._missing, self._rate_hz = 0, 1.0
        self._smoother = Smoother(manifest.targets, manifest.signal.hop_s, smoothing or Smoothing())

    def push(self, block: SampleBlock, arrived_s: float) -> Iterator[PendingWindows]:
        """The windows that the block completes, a limited number at a time. Raises SignalError, see `Preprocessor`."""
        if self._held and not continues(block, self._held[-1]):
            # No window spans the two, and what is held completes none.
            self._work(joined(self._held))
            self._held = []
        self._held.append(block)
        self._missing -= block.values.shape[-1]
        if self._missing > 0 and len(self._held) < _MAX_HELD_BLOCKS:
            return
        batch, bad_fractions = self._work(joined(self._held))
        self._held = []
        if len(batch) == 0:
            return
        for start in range(0, len(batch), _WINDOWS_PER_CALL):
            part = slice(start, start + _WINDOWS_PER_CALL)
            few = WindowBatch(
                batch.values[part], batch.raw[part], batch.first_index[part], batch.end_s[part], batch.segment
            )
            yield PendingWindows(self, few, assess_all(few.raw, self._spec, bad_fractions[part]), arrived_s)

    @property
    def next_window_s(self) -> float:
        """Seconds of signal until the next window can be complete; 0 where that is not known."""
        return self._missing / self._rate_hz

    def _work(self, block: SampleBlock) -> tuple[WindowBatch, NDArray[np.float64]]:
        batch = self._preprocessor.push_batch(block)
        self._missing, self._rate_hz = self._preprocessor.missing, float(block.rate_hz)
        self._sample_quality.push(block)
        return batch, self._sample_quality.bad_fractions(batch)

    def predictions(self, due: PendingWindows, logits: NDArray[np.float32], latency_ms: float) -> list[Prediction]:
        """One Prediction a window that was due."""
        found = []
        batch = due.batch
        rows_of = zip(logits.tolist(), due.qualities, batch.first_index.tolist(), batch.end_s.tolist(), strict=True)
        for rows, quality, first_index, end_s in rows_of:
            chances, labels = self._smoother(
                [softmax(row) for row in rows], (batch.segment, end_s), believed=quality.acceptable
            )
            found.append(
                Prediction(first_index, end_s, batch.segment, chances, labels, quality, latency_ms, self._source)
            )
        return found


def check_sensor_signal(manifest: Manifest, name: str = "this model") -> None:
    """Raise SignalError unless the model reads what a skin-conductance sensor gives: microsiemens."""
    if manifest.signal.unit != "uS":
        raise SignalError(
            f"{name} was made for a signal in {manifest.signal.unit}, not for skin conductance in uS: "
            "choose a model that ekd-export made from a GSR student"
        )


def predict(due: Sequence[PendingWindows], classifier: Classifier) -> Iterator[Prediction]:
    """The predictions of all windows that are due, in order; windows of several sensors are classified together."""
    if not due:
        return
    values = due[0].batch.values if len(due) == 1 else np.concatenate([one.batch.values for one in due])
    logits = classifier.predict(values)
    now = perf_counter()
    start = 0
    for one in due:
        end = start + len(one.batch)
        yield from one.pipeline.predictions(one, logits[start:end], (now - one.arrived_s) * 1e3)
        start = end


def predict_stream(
    blocks: Iterable[SampleBlock],
    preprocessor: Preprocessor,
    classifier: Classifier,
    manifest: Manifest,
    smoothing: Smoothing | None = None,
) -> Iterator[Prediction]:
    """One Prediction a window, in order, as blocks arrive; windows that are due together are classified together.

    Raises SignalError where the samples cannot be processed, and whatever the iteration over blocks raises.
    """
    pipeline = SensorPipeline(manifest, smoothing, preprocessor=preprocessor)
    for block in blocks:
        arrived_s = perf_counter()
        for due in pipeline.push(block, arrived_s):
            yield from predict([due], classifier)
