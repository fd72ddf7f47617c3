"""What every place that predictions go to has in common."""

from typing import Protocol

from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock

__all__ = ["Sink"]


class Sink(Protocol):
    """Gets every prediction, and every sample block where it `wants_blocks`, in order.

    Each method may raise OSError, BrokenPipeError among them, where what it writes to does.
    """

    @property
    def wants_blocks(self) -> bool:
        """Whether it has a use for sample blocks."""

    def observe(self, block: SampleBlock) -> None:
        """A block has arrived; its predictions, if any, follow."""

    def write(self, prediction: Prediction) -> None:
        """A prediction was made."""

    def close(self) -> None:
        """Nothing more comes: finish the line and flush."""
