"""The interface of all sinks, the destinations of predictions."""

from typing import Protocol

from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock

__all__ = ["Sink"]


class Sink(Protocol):
    """Receives every prediction, and every sample block if it `wants_blocks`, in order.

    Each method may raise the OSError of the stream that it writes to, such as BrokenPipeError.
    """

    @property
    def wants_blocks(self) -> bool:
        """Whether `observe` is to be called."""

    def observe(self, block: SampleBlock, source: str | None) -> None:
        """A block of the sensor `source` has arrived; its predictions follow. source: as in `Prediction`."""

    def write(self, prediction: Prediction) -> None:
        """A prediction was made."""

    def flush(self) -> None:
        """Show what was written; called when nothing more waits to be written."""

    def close(self) -> None:
        """End the output and flush it."""
