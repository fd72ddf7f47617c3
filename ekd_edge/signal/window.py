"""Windows of fixed length and step from a stream, identical for any division of the stream into blocks."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

__all__ = ["Epochs", "Windower"]


@dataclass(frozen=True, slots=True)
class Epochs:
    """Windows from one block of a stream.

    data: float32, shape (k, ..., window), a view of the stream wherever windows overlap.
    starts: int64, shape (k,): index in the stream of each window's first sample.
    """

    data: NDArray[np.float32]
    starts: NDArray[np.int64]


class Windower:
    """Windows of `window` samples every `hop` samples along the last axis, the first at sample `settle`."""

    def __init__(self, window: int, hop: int, settle: int) -> None:
        self._window, self._hop, self._settle = window, hop, settle
        self.reset()

    def reset(self) -> None:
        """Discard the state: the next sample has index 0."""
        self._pieces: list[NDArray[np.float32]] = []  # all samples since the start of the next window
        self._end = 0  # index after the last sample received
        self._next = self._settle  # start of the next window

    @property
    def missing(self) -> int:
        """Number of further samples that the next window needs."""
        return max(0, self._next + self._window - self._end)

    def push(self, x: NDArray[np.float32]) -> Epochs:
        """The windows that x, shape (..., n), completes; memory is bounded, and a push copies no old samples."""
        n = x.shape[-1]
        self._end += n
        wanted = self._end - self._next
        if wanted > 0 and n > 0:
            self._pieces.append(x[..., max(0, n - wanted) :])
        if wanted < self._window:
            return Epochs(np.empty((0, *x.shape[:-1], self._window), np.float32), np.empty(0, np.int64))
        stream = self._pieces[0] if len(self._pieces) == 1 else np.concatenate(self._pieces, axis=-1)
        if wanted < self._window + self._hop:
            views = stream[np.newaxis, ..., : self._window]  # one window: a tenth of the time of a sliding view
        else:
            views = np.moveaxis(sliding_window_view(stream, self._window, axis=-1)[..., :: self._hop, :], -2, 0)
        starts = self._next + self._hop * np.arange(len(views), dtype=np.int64)
        self._next += self._hop * len(views)
        remaining = max(0, self._end - self._next)
        self._pieces = [stream[..., stream.shape[-1] - remaining :].copy()] if remaining else []
        return Epochs(views, starts)
