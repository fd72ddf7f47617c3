"""The loop from sample blocks to predictions, the same for live sensors, replays and offline runs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ekd_edge.model.interpreter import Classifier, softmax
from ekd_edge.model.manifest import Manifest
from ekd_edge.pipeline.input_range import InputRangeCounter
from ekd_edge.pipeline.model_checks import check_sensor_signal
from ekd_edge.pipeline.smoothing import Smoother, Smoothing
from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock, continues, joined
from ekd_edge.signal.bridge import bridged, last_sample
from ekd_edge.signal.preprocessor import Preprocessor, WindowBatch, windows_together
from ekd_edge.signal.quality import Quality, assess_all
from ekd_edge.signal.sample_quality import SampleQuality, push_qualities

__all__ = [
    "HeldSamples",
    "PendingWindows",
    "SensorPipeline",
    "predict",
    "predict_blocks",
    "predict_stream",
    "windows_of",
]

_WINDOWS_PER_CALL = 64
"""Upper limit of windows per inference call, so that a day of samples in one block can be interrupted."""

_MAX_HELD_BLOCKS = 256
"""Blocks are collected until a window can be complete: preprocessing runs once a hop instead of once a block."""


@dataclass(frozen=True, slots=True)
class HeldSamples:
    """The held samples of a pipeline that may complete a window, resampled: `windows_of` does the rest.

    pipeline: the sensor's. block: the held samples. resampled: float64, shape (m,). arrived_s: see `PendingWindows`.
    """

    pipeline: "SensorPipeline"
    block: SampleBlock
    resampled: NDArray[np.float64]
    arrived_s: float


@dataclass(frozen=True, slots=True)
class PendingWindows:
    """Preprocessed windows that wait for inference.

    pipeline: the sensor's. qualities: one for each window. arrived_s: when the last samples arrived, by `perf_counter`.
    utc_s: wall-clock time of sensor time 0 of the segment, in seconds since 1970; None where it is unknown.
    """

    pipeline: "SensorPipeline"
    batch: WindowBatch
    qualities: list[Quality]
    arrived_s: float
    utc_s: float | None = None


class SensorPipeline:
    """The state of one sensor between blocks: preprocessing, signal quality, smoothing and the range of the input.

    input_range: counts the samples that an int8 model clips; None for models without an int8 input.

    Args:
        manifest: of the model that classifies the windows.
        smoothing: of probabilities and labels; None for no smoothing.
        source: the sensor's port, copied into each prediction; None where there is only one sensor.
        notify: called with one sentence where too much of the input is clipped; None for no messages.

    Raises:
        SignalError: the model was trained on a signal other than skin conductance.
    """

    def __init__(
        self,
        manifest: Manifest,
        smoothing: Smoothing | None = None,
        source: str | None = None,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        self._smoothing, self._source, self._notify = smoothing or Smoothing(), source, notify
        self._spec = manifest.signal
        self._restart()
        self.use_model(manifest)

    def use_model(self, manifest: Manifest) -> None:
        """Continue with another model: smoothing starts again, and so do the windows where the signal chain differs.

        Raises SignalError, with the state unchanged, where the model was trained on another signal.
        """
        check_sensor_signal(manifest)
        if manifest.signal != self._spec:
            self._spec = manifest.signal
            self._restart()
        self._smoother = Smoother(manifest.targets, manifest.signal.hop_s, self._smoothing)
        self.input_range: InputRangeCounter | None = None
        if manifest.quantization is not None:
            self.input_range = InputRangeCounter(manifest.quantization.input, manifest.signal, self._notify)

    def _restart(self) -> None:
        self._preprocessor = Preprocessor(self._spec)
        self._sample_quality = SampleQuality(self._spec)
        self._held: list[SampleBlock] = []
        self._last: SampleBlock | None = None  # the last sample before the held blocks
        self._missing, self._rate_hz = 0, 1.0

    def push(self, block: SampleBlock, arrived_s: float) -> Iterator[PendingWindows]:
        """The windows that the block completes, a limited number at a time.

        Args:
            block: the sensor's next samples.
            arrived_s: when they arrived, by `perf_counter`.

        Yields:
            Windows for `predict`.

        Raises:
            SignalError: the samples cannot be processed, see `Preprocessor.push_batch`.
        """
        if not self._hold(block):
            return
        batch, bad_fractions = self._preprocess()
        for start in range(0, len(batch), _WINDOWS_PER_CALL):
            part = slice(start, start + _WINDOWS_PER_CALL)
            few = WindowBatch(
                batch.values[part], batch.raw[part], batch.first_index[part], batch.end_s[part], batch.segment
            )
            qualities = assess_all(few.raw, self._spec, bad_fractions[part])
            yield self._pending(few, qualities, block, arrived_s)

    def hold(self, block: SampleBlock, arrived_s: float) -> HeldSamples | None:
        """The first half of `push`, for sensors whose windows are computed together by `windows_of`.

        Args:
            block: the sensor's next samples, of a few seconds at most.
            arrived_s: see `push`.

        Returns:
            Samples for `windows_of`; None where they cannot complete a window.

        Raises:
            SignalError: as `push`.
        """
        if not self._hold(block):
            return None
        held = self._take_held()
        resampled = self._preprocessor.resampled(held)
        return HeldSamples(self, held, resampled, arrived_s)

    def _hold(self, block: SampleBlock) -> bool:
        """Hold a block; return whether the held samples may complete a window."""
        if block.values.shape[-1] == 0:
            return False
        block = bridged(self._held[-1] if self._held else self._last, block, self._spec.bridge_s)
        if self._held and not continues(block, self._held[-1]):
            # No window spans the gap, and the held samples complete none.
            self._preprocess()
        self._held.append(block)
        self._missing -= block.values.shape[-1]
        return self._missing <= 0 or len(self._held) >= _MAX_HELD_BLOCKS

    def _pending(
        self, batch: WindowBatch, qualities: list[Quality], block: SampleBlock, arrived_s: float
    ) -> PendingWindows:
        if block.fault is not None:
            qualities = [Quality(0.0, block.fault)] * len(batch)
        return PendingWindows(self, batch, qualities, arrived_s, _start_utc_s(block))

    @property
    def hop_s(self) -> float:
        """Seconds from one window to the next."""
        return self._spec.hop_s

    @property
    def rate_hz(self) -> float:
        """The sensor's rate; 1 before the first samples were preprocessed."""
        return self._rate_hz

    @property
    def next_window_s(self) -> float | None:
        """Seconds of signal until the next window can be complete; None while that is unknown."""
        return self._missing / self._rate_hz if self._missing > 0 else None

    def predictions(self, pending: PendingWindows, logits: NDArray[np.float32], latency_ms: float) -> list[Prediction]:
        """One Prediction for each window.

        Args:
            pending: windows of this pipeline, in the order in which `push` returned them.
            logits: of these windows, shape (n, targets, classes).
            latency_ms: from the arrival of the samples to the logits.

        Returns:
            The predictions in the order of the windows, smoothed.
        """
        found = []
        batch = pending.batch
        if self.input_range is not None:
            self.input_range.count(batch)
        rows_of = zip(logits.tolist(), pending.qualities, batch.first_index.tolist(), batch.end_s.tolist(), strict=True)
        for rows, quality, first_index, end_s in rows_of:
            probabilities, labels = self._smoother(
                [softmax(row) for row in rows], (batch.segment, end_s), acceptable=quality.acceptable
            )
            utc_s = None if pending.utc_s is None else pending.utc_s + end_s
            found.append(
                Prediction(
                    first_index, end_s, batch.segment, probabilities, labels, quality, latency_ms, self._source, utc_s
                )
            )
        return found

    def _take_held(self) -> SampleBlock:
        block = joined(self._held)
        self._held, self._last = [], last_sample(block)
        return block

    def _preprocess(self) -> tuple[WindowBatch, NDArray[np.float64]]:
        block = self._take_held()
        batch = self._preprocessor.push_batch(block)
        self._sample_quality.push(block)
        self._plan(block)
        return batch, self._sample_quality.bad_fractions(batch)

    def _plan(self, block: SampleBlock) -> None:
        self._missing, self._rate_hz = self._preprocessor.missing, float(block.rate_hz)


def windows_of(held: Sequence[HeldSamples]) -> list[PendingWindows]:
    """The complete windows of several sensors, computed as arrays of [sensors x samples] where their rates allow it.

    Every window and quality has the bits that `SensorPipeline.push` gives for its sensor.

    held: of different pipelines. Returns the pending windows of the sensors that have complete ones.
    """
    batches = windows_together([each.pipeline._preprocessor for each in held], [each.resampled for each in held])
    push_qualities([each.pipeline._sample_quality for each in held], [each.block for each in held])
    complete: dict[int, list[tuple[HeldSamples, WindowBatch]]] = {}
    for each, batch in zip(held, batches, strict=True):
        each.pipeline._plan(each.block)
        if len(batch) > 0:
            complete.setdefault(id(each.pipeline._spec), []).append((each, batch))
    found = []
    for members in complete.values():
        raw = [batch.raw for _, batch in members]
        bad_fractions = [each.pipeline._sample_quality.bad_fractions(batch) for each, batch in members]
        spec = members[0][0].pipeline._spec
        qualities = iter(assess_all(_stacked(raw), spec, _stacked(bad_fractions)))
        for each, batch in members:
            own = list(islice(qualities, len(batch)))
            found.append(each.pipeline._pending(batch, own, each.block, each.arrived_s))
    return found


_T = TypeVar("_T", np.float32, np.float64)


def _stacked(arrays: Sequence[NDArray[_T]]) -> NDArray[_T]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _start_utc_s(block: SampleBlock) -> float | None:
    """Wall-clock time of sample 0 of the block's segment, by the block's anchor and rate."""
    if block.anchor is None:
        return None
    return block.anchor.utc_s - float(block.anchor.index / block.rate_hz)


def predict(pending: Sequence[PendingWindows], classifier: Classifier) -> Iterator[Prediction]:
    """The predictions of all pending windows, in order; windows of several sensors share one inference call."""
    if not pending:
        return
    logits = classifier.predict(_stacked([one.batch.values for one in pending]))
    now = perf_counter()
    start = 0
    for one in pending:
        end = start + len(one.batch)
        yield from one.pipeline.predictions(one, logits[start:end], (now - one.arrived_s) * 1e3)
        start = end


def predict_stream(
    blocks: Iterable[SampleBlock], manifest: Manifest, classifier: Classifier, smoothing: Smoothing | None = None
) -> Iterator[Prediction]:
    """One Prediction for each window of one sensor, in order, as blocks arrive.

    Args:
        blocks: the sensor's samples.
        manifest: of the model.
        classifier: the model.
        smoothing: of probabilities and labels; None for no smoothing.

    Returns:
        An iterator; windows that one block completes share an inference call.

    Raises:
        SignalError: at once where the model's input is not skin conductance; during iteration where the samples cannot
            be processed. Errors of the iteration over `blocks` pass through.
    """
    return predict_blocks(blocks, SensorPipeline(manifest, smoothing), classifier)


def predict_blocks(
    blocks: Iterable[SampleBlock], pipeline: SensorPipeline, classifier: Classifier
) -> Iterator[Prediction]:
    """As `predict_stream`, with a pipeline of the caller's.

    Args:
        blocks: the samples of the pipeline's sensor.
        pipeline: for the model that `classifier` runs.
        classifier: the model.

    Yields:
        One Prediction for each window.

    Raises:
        SignalError: the samples cannot be processed. Errors of the iteration over `blocks` pass through.
    """
    for block in blocks:
        arrived_s = perf_counter()
        for pending in pipeline.push(block, arrived_s):
            yield from predict([pending], classifier)
