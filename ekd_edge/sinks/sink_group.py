"""All sinks of a run behind one door, and what becomes of a stream that takes no more."""

import os
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TextIO

from ekd_edge.errors import EkdError
from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sinks.sink import Sink

__all__ = ["ReaderGoneError", "SinkGroup"]


class ReaderGoneError(Exception):
    """Nobody reads the output any more: a reason to stop, not a fault."""


class SinkGroup:
    """A context manager that feeds each sink and counts; leaving it closes them.

    Raises ReaderGoneError where the reader of a pipe has left, EkdError where a sink's stream takes no more: both
    are thus told apart from what goes wrong with the sensor. `stream` is where the sinks write; it is pointed at
    nothing then, for Python would try to write what is left, and complain once more, at exit.
    """

    def __init__(self, sinks: Sequence[Sink], stream: TextIO) -> None:
        self._sinks = sinks
        self._watching = [sink for sink in sinks if sink.wants_blocks]
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
            raise self._gives_up(fault) from fault

    def observing(self, blocks: Iterable[SampleBlock]) -> Iterator[SampleBlock]:
        """The blocks, shown to each sink as they pass."""
        for block in blocks:
            self.observe(block)
            self.samples += block.values.shape[-1]
            yield block

    def observe(self, block: SampleBlock) -> None:
        """Show a block to each sink that watches; from any thread where all sinks are `QueuedSink`."""
        try:
            for sink in self._watching:
                sink.observe(block)
        except OSError as fault:
            raise self._gives_up(fault) from fault

    def write(self, prediction: Prediction) -> None:
        """Hand a prediction to each sink."""
        try:
            for sink in self._sinks:
                sink.write(prediction)
        except OSError as fault:
            raise self._gives_up(fault) from fault
        self.predicted += 1
        self.withheld += prediction.withheld

    def _gives_up(self, fault: OSError) -> Exception:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if isinstance(fault, BrokenPipeError):
            return ReaderGoneError()
        return EkdError(f"cannot write predictions: {fault.strerror}; free some space or write elsewhere")
