"""All sinks of a run as one, with the handling of a broken pipe and of a full disk."""

import os
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TextIO

from ekd_edge.errors import EkdError
from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sinks.sink import Sink
from firmware_bridge.errors import cannot_write

__all__ = ["ReaderGoneError", "SinkGroup"]


class ReaderGoneError(Exception):
    """The reader of stdout closed the pipe: a reason to stop, not an error."""


class SinkGroup:
    """A context manager that writes to each sink, counts predictions, and closes the sinks at the end.

    Raises ReaderGoneError on a broken pipe and EkdError where a stream cannot be written, which separates both from
    errors of the sensor. `stream` is the stream of the sinks; after such an error it is redirected to /dev/null,
    because Python would otherwise write the buffered rest at exit and fail again.
    """

    def __init__(self, sinks: Sequence[Sink], stream: TextIO) -> None:
        self._sinks = sinks
        self._observers = [sink for sink in sinks if sink.wants_blocks]
        self._stream = stream
        self.samples = 0
        self.predicted = 0
        self.withheld = 0

    def __enter__(self) -> "SinkGroup":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for sink in self._sinks:
                sink.close()
        except OSError as fault:
            raise self._discard_output(fault) from fault

    def observing(self, blocks: Iterable[SampleBlock]) -> Iterator[SampleBlock]:
        """Pass blocks through, and show each to the sinks."""
        for block in blocks:
            self.observe(block)
            self.samples += block.values.shape[-1]
            yield block

    def observe(self, block: SampleBlock, source: str | None = None) -> None:
        """Show a block of the sensor `source` to each sink that wants blocks.

        Safe from any thread if all sinks are `QueuedSink`.
        """
        try:
            for sink in self._observers:
                sink.observe(block, source)
        except OSError as fault:
            raise self._discard_output(fault) from fault

    def write(self, prediction: Prediction) -> None:
        """Write a prediction to each sink."""
        try:
            for sink in self._sinks:
                sink.write(prediction)
        except OSError as fault:
            raise self._discard_output(fault) from fault
        self.predicted += 1
        self.withheld += prediction.withheld

    def flush(self) -> None:
        """Show what was written; called once for all blocks and predictions of a moment."""
        try:
            for sink in self._sinks:
                sink.flush()
        except OSError as fault:
            raise self._discard_output(fault) from fault

    def _discard_output(self, fault: OSError) -> Exception:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if isinstance(fault, BrokenPipeError):
            return ReaderGoneError()
        return EkdError(cannot_write("predictions", fault))
