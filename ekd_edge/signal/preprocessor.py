"""Preprocessing from samples to network input, the same for training, replay and live prediction."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import SignalError
from ekd_edge.signal.blocks import SampleBlock, Window
from ekd_edge.signal.bridge import bridged, last_sample
from ekd_edge.signal.filter import CausalFilter, filter_together
from ekd_edge.signal.normalize import Normalizer, normalize_together
from ekd_edge.signal.resample import Resampler
from ekd_edge.signal.spec import SignalSpec
from ekd_edge.signal.window import Windower

__all__ = ["Preprocessor", "WindowBatch", "windows_together"]

_STEP: Final = 2**15  # samples processed at once: bounds the memory for a day of samples in one block

_LARGEST: Final = 1e30  # above the range of every unit, within that of float32


@dataclass(frozen=True, slots=True)
class WindowBatch:
    """Consecutive windows of one segment, as arrays; `Window` describes the fields.

    values, raw: float32, shape (k, window_samples) or (k, channels, window_samples); read-only, and mostly
        overlapping views of one stream: copy windows before keeping them.
    first_index: int64, shape (k,). end_s: float64, shape (k,).
    """

    values: NDArray[np.float32]
    raw: NDArray[np.float32]
    first_index: NDArray[np.int64]
    end_s: NDArray[np.float64]
    segment: int = 0

    def __len__(self) -> int:
        return len(self.first_index)

    def __iter__(self) -> Iterator[Window]:
        rows = zip(self.values, self.raw, self.first_index.tolist(), self.end_s.tolist(), strict=True)
        for values, raw, first_index, end_s in rows:
            yield Window(values, raw, first_index, end_s, self.segment)


class Preprocessor:
    """Resampling, filtering, normalization and windowing as a `SignalSpec` defines them.

    Blocks may have any size: the windows are bit-identical for any division of a recording into blocks. The sensor's
    rate is taken from the blocks. A new segment or another rate resets everything. A gap of `first_index` of at most
    `SignalSpec.bridge_s` is interpolated, and the whole state continues over it (`ekd_edge.signal.bridge`). A longer
    gap, or a step back, restarts resampling, filtering, windowing and settle time, so that no window spans it; the
    running mean of the normalization is kept if the gap is shorter than its time constant.
    """

    def __init__(self, spec: SignalSpec) -> None:
        self.spec = spec
        self._filter = CausalFilter(spec.sos)
        self._normalizer = Normalizer(spec.normalization, spec.rate_hz)
        settle = math.ceil(Fraction(spec.settle_s) * spec.rate_hz)
        self._windower = Windower(spec.window_samples, spec.hop_samples, settle)
        self.reset()

    def reset(self) -> None:
        """Discard the whole state, the sensor's rate included."""
        self._resampler: Resampler | None = None
        self._rate_hz = Fraction(0)
        self._segment = 0
        self._channels: tuple[int, ...] = ()
        self._origin = 0  # sensor index at which the resampled stream begins
        self._last: SampleBlock | None = None  # the last sample
        self._restart(0)
        self._normalizer.reset()

    @property
    def missing(self) -> int:
        """Number of further samples that the next window needs, without a gap; 0 before the first block."""
        return 0 if self._resampler is None else self._resampler.needed(self._windower.missing)

    def push(self, block: SampleBlock) -> list[Window]:
        """The windows that the block completes; see `push_batch`."""
        return list(self.push_batch(block))

    def windows(self, blocks: Iterable[SampleBlock]) -> Iterator[Window]:
        """The windows of a stream of blocks, as they complete."""
        for block in blocks:
            yield from self.push_batch(block)

    def push_batch(self, block: SampleBlock) -> WindowBatch:
        """The windows that the block completes, as arrays; an empty block completes none.

        Raises SignalError, with the state unchanged, for values that are not finite, a shape other than (n,) or
        (channels, n), a number of channels other than the segment's, or a rate that `Resampler` refuses.
        """
        x = self._received(block)
        if x.shape[-1] == 0:
            return self._windows(np.empty((2, *x.shape), np.float32))
        resampler = self._resampler
        assert resampler is not None
        pieces = []
        for i in range(0, x.shape[-1], _STEP):
            resampled = resampler.push(x[..., i : i + _STEP])
            piece = np.empty((2, *resampled.shape), np.float32)
            piece[0] = self._normalizer.push(self._filter.push(resampled))
            piece[1] = resampled
            pieces.append(piece)
        return self._windows(pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=-1))

    def resampled(self, block: SampleBlock) -> NDArray[np.float64]:
        """The first half of `push_batch` for a block of one channel: the samples at the rate of the specification.

        `windows_together` does the second half, for several sensors at once; nothing else may be pushed in between.
        Returns an array of shape (m,). Raises SignalError as `push_batch`.
        """
        x = self._received(block)
        return x if self._resampler is None or x.shape[-1] == 0 else self._resampler.push(x)

    def _received(self, block: SampleBlock) -> NDArray[np.float64]:
        """The samples of a block with a short gap before it filled, after the checks of `push_batch`."""
        x = np.asarray(block.values, dtype=np.float64)
        if x.ndim not in (1, 2):
            raise SignalError(f"samples have shape {x.shape}: give (n,) or (channels, n)")
        if x.shape[-1] == 0:
            return x
        _check(block.first_index, x)
        block = bridged(self._last, block, self.spec.bridge_s)
        x = np.asarray(block.values, dtype=np.float64)
        self._admit(block, x)
        return x

    def _windows(self, samples: NDArray[np.float32]) -> WindowBatch:
        """The windows that normalized and resampled samples, shape (2, ..., m), complete."""
        epochs = self._windower.push(samples)
        batch = WindowBatch(
            self._normalizer.finish(epochs.data[:, 0]),
            epochs.data[:, 1],
            self._sensor_index(epochs.starts),
            self._end_s(epochs.starts),
            self._segment,
        )
        for array in (batch.values, batch.raw, batch.first_index, batch.end_s):
            array.setflags(write=False)
        return batch

    def _admit(self, block: SampleBlock, x: NDArray[np.float64]) -> None:
        """Restart where a block does not continue the block before."""
        resampler = self._resampler if self._segment == block.segment else None
        if resampler is not None and x.shape[:-1] != self._channels:
            raise SignalError(
                f"samples of shape {x.shape} follow others of {self._channels or 'one'} channels: "
                "start a new segment where the channels change"
            )
        if resampler is None or self._rate_hz != block.rate_hz:
            resampler = Resampler(block.rate_hz, self.spec.rate_hz)
            self.reset()
            self._resampler = resampler
            self._rate_hz, self._segment, self._channels = block.rate_hz, block.segment, x.shape[:-1]
            self._restart(block.first_index)
            self._normalizer.reset(block.baseline)
        elif self._last is not None and block.first_index != self._last.first_index + 1:
            missing_s = abs(block.first_index - self._last.first_index - 1) / self._rate_hz
            if missing_s >= self.spec.normalization.time_constant_s:
                self._normalizer.reset(block.baseline)
            self._restart(block.first_index)
        self._last = last_sample(block)

    def _restart(self, first_index: int) -> None:
        self._origin = first_index
        if self._resampler is not None:
            self._resampler.reset()
        self._filter.reset()
        self._windower.reset()

    def _sensor_index(self, starts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Index of the sensor's sample at, or just before, each resampled sample."""
        if len(starts) == 0:
            return starts
        step, per = (self._rate_hz / self.spec.rate_hz).as_integer_ratio()
        return np.array([self._origin + k * step // per for k in starts.tolist()], dtype=np.int64)

    def _end_s(self, starts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Seconds since sample 0 of the segment at which each window ends."""
        if len(starts) == 0:
            return np.empty(0)
        rate = self.spec.rate_hz
        origin_s = float(self._origin / self._rate_hz)
        counts = (starts + self.spec.window_samples).astype(np.float64)
        return origin_s + counts * float(rate.denominator) / float(rate.numerator)


def windows_together(
    preprocessors: Sequence[Preprocessor], resampled: Sequence[NDArray[np.float64]]
) -> list[WindowBatch]:
    """Filter, normalize and divide into windows the samples of several sensors, as arrays of [sensors x samples].

    The windows have the same bits as by `Preprocessor.push_batch` for each sensor.

    Args:
        preprocessors: k different ones.
        resampled: what `Preprocessor.resampled` of each has returned, shapes (m,).

    Returns:
        The windows of each sensor, in the order of the preprocessors.
    """
    found: dict[int, WindowBatch] = {}
    groups: dict[tuple[int, int], list[int]] = {}
    for k, (preprocessor, samples) in enumerate(zip(preprocessors, resampled, strict=True)):
        groups.setdefault((id(preprocessor.spec), len(samples)), []).append(k)
    for members in groups.values():
        rows = np.stack([resampled[k] for k in members])
        pieces = np.empty((2, *rows.shape), np.float32)
        filtered = filter_together([preprocessors[k]._filter for k in members], rows)
        pieces[0] = normalize_together([preprocessors[k]._normalizer for k in members], filtered)
        pieces[1] = rows
        for row, k in enumerate(members):
            found[k] = preprocessors[k]._windows(pieces[:, row])
    return [found[k] for k in range(len(preprocessors))]


def _check(first_index: int, x: NDArray[np.float64]) -> None:
    """Raise SignalError for a sample that is not finite, or too large for any unit."""
    if not np.abs(x).max() <= _LARGEST:
        position = int(np.argmin((np.abs(x) <= _LARGEST).reshape(-1, x.shape[-1]).all(axis=0)))
        worst = np.abs(x[..., position]).max()
        raise SignalError(
            f"sample {first_index + position} is {worst:g}: "
            "drop or fill missing values before they reach the signal chain"
        )
