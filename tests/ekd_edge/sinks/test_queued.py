"""A sink that is slow, stuck or broken, behind its queue."""

import threading
import time
from fractions import Fraction

import numpy as np
import pytest

from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.quality import Quality
from ekd_edge.sinks.queued import QueuedSink

BLOCK = SampleBlock(np.zeros(8), 0, Fraction(128))


def prediction(number: int) -> Prediction:
    return Prediction(number, float(number), 0, {"a": (0.5, 0.5)}, {"a": "low"}, Quality(1.0), 0.1)


class Gate:
    """A sink that takes nothing while it is shut."""

    wants_blocks = True

    def __init__(self, error: OSError | None = None) -> None:
        self.taken: list[int] = []
        self.blocks = 0
        self.open = threading.Event()
        self.closed = False
        self._error = error

    def observe(self, block: SampleBlock) -> None:
        self.open.wait()
        self.blocks += 1

    def write(self, prediction: Prediction) -> None:
        self.open.wait()
        if self._error is not None:
            raise self._error
        self.taken.append(prediction.first_index)

    def close(self) -> None:
        self.closed = True


def test_everything_is_handed_on_in_order() -> None:
    gate, told = Gate(), []
    gate.open.set()
    sink = QueuedSink(gate, told.append)
    for number in range(500):
        sink.observe(BLOCK)
        sink.write(prediction(number))
    sink.close()
    assert gate.taken == list(range(500))
    assert (gate.blocks, gate.closed, sink.dropped, told) == (500, True, 0, [])


def test_a_stuck_sink_loses_its_oldest_and_delays_nobody() -> None:
    gate, told = Gate(), []
    sink = QueuedSink(gate, told.append, max_items=50)
    began = time.monotonic()
    for number in range(1000):
        sink.write(prediction(number))
    assert time.monotonic() - began < 1
    assert len(told) == 1
    gate.open.set()
    sink.close()
    assert gate.taken[-50:] == list(range(950, 1000))
    assert len(gate.taken) + sink.dropped == 1000
    assert gate.closed


def test_one_that_stays_stuck_does_not_hold_up_the_end() -> None:
    gate = Gate()
    sink = QueuedSink(gate, lambda _told: None, max_items=50)
    for number in range(40):
        sink.write(prediction(number))
    began = time.monotonic()
    sink.close()
    assert time.monotonic() - began < 4
    assert sink.dropped >= 39
    gate.open.set()


def test_what_the_sink_raises_reaches_the_caller() -> None:
    gate = Gate(BrokenPipeError())
    gate.open.set()
    sink = QueuedSink(gate, lambda _told: None)
    sink.write(prediction(0))
    time.sleep(0.5)
    with pytest.raises(BrokenPipeError):
        sink.write(prediction(1))


def test_and_at_the_end_too() -> None:
    gate = Gate(OSError(28, "No space left on device"))
    gate.open.set()
    sink = QueuedSink(gate, lambda _told: None)
    sink.write(prediction(0))
    with pytest.raises(OSError, match="No space"):
        sink.close()
