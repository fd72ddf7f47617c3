"""A queued sink whose inner sink is slow, blocked or broken."""

import os
import threading
import time
from fractions import Fraction

import numpy as np
import pytest

from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.quality import Quality
from ekd_edge.sinks.line_sink import LineSink
from ekd_edge.sinks.queued import QueuedSink
from tests.helpers.load import LOAD_S

BLOCK = SampleBlock(np.zeros(8), 0, Fraction(128))


def prediction(number: int) -> Prediction:
    return Prediction(number, float(number), 0, {"a": (0.5, 0.5)}, {"a": "low"}, Quality(1.0), 0.1)


class Gate:
    """A sink that blocks until `open` is set."""

    wants_blocks = True

    def __init__(self, error: Exception | None = None) -> None:
        self.taken: list[int] = []
        self.blocks = 0
        self.sources: list[str | None] = []
        self.open = threading.Event()
        self.flushed_after: list[int] = []
        self.closed = False
        self.tried = 0
        self._error = error

    def observe(self, block: SampleBlock, source: str | None) -> None:
        self.open.wait()
        self.blocks += 1
        self.sources.append(source)

    def write(self, prediction: Prediction) -> None:
        self.open.wait()
        self.tried += 1
        if self._error is not None:
            raise self._error
        self.taken.append(prediction.first_index)

    def flush(self) -> None:
        self.flushed_after.append(len(self.taken))

    def close(self) -> None:
        self.closed = True


def test_items_are_passed_on_in_order() -> None:
    gate, messages = Gate(), []
    gate.open.set()
    sink = QueuedSink(gate, messages.append)
    for number in range(500):
        sink.observe(BLOCK, f"port {number}")
        sink.write(prediction(number))
    sink.close()
    assert gate.taken == list(range(500))
    assert gate.sources == [f"port {number}" for number in range(500)]
    assert (gate.blocks, gate.closed, sink.dropped, messages) == (500, True, 0, [])


def test_blocked_sink_drops_the_oldest_and_delays_no_caller() -> None:
    gate, messages = Gate(), []
    sink = QueuedSink(gate, messages.append, max_items=50)
    began = time.monotonic()
    for number in range(1000):
        sink.write(prediction(number))
    assert time.monotonic() - began < 1 + LOAD_S
    assert len(messages) == 1
    gate.open.set()
    sink.close()
    assert gate.taken[-50:] == list(range(950, 1000))
    assert len(gate.taken) + sink.dropped == 1000
    assert gate.closed


def test_blocked_sink_does_not_delay_close() -> None:
    gate = Gate()
    sink = QueuedSink(gate, lambda _message: None, max_items=50)
    for number in range(40):
        sink.write(prediction(number))
    began = time.monotonic()
    sink.close()
    assert time.monotonic() - began < 4 + LOAD_S
    assert sink.dropped >= 39
    gate.open.set()


def test_sink_is_flushed_when_nothing_waits() -> None:
    gate = Gate()
    sink = QueuedSink(gate, lambda _message: None)
    for number in range(40):
        sink.write(prediction(number))
    gate.open.set()
    sink.close()
    assert gate.flushed_after[-1] == 40
    assert len(gate.flushed_after) < 40


def test_error_of_the_sink_reaches_the_caller() -> None:
    gate = Gate(BrokenPipeError())
    gate.open.set()
    sink = QueuedSink(gate, lambda _message: None)
    sink.write(prediction(0))
    sink.flush()
    while not gate.tried:
        time.sleep(0.01)
    with pytest.raises(BrokenPipeError):
        sink.close()


def test_error_of_the_sink_at_the_end_reaches_close() -> None:
    gate = Gate(OSError(28, "No space left on device"))
    gate.open.set()
    sink = QueuedSink(gate, lambda _message: None)
    sink.write(prediction(0))
    with pytest.raises(OSError, match="No space"):
        sink.close()


def test_fault_that_is_no_os_error_costs_one_item_and_is_counted() -> None:
    gate, messages = Gate(ValueError("a defect")), []
    gate.open.set()
    sink = QueuedSink(gate, messages.append)
    for number in range(3):
        sink.write(prediction(number))
    sink.close()
    assert (gate.tried, sink.faults, sink.fault) == (3, 3, "a prediction could not be written: ValueError: a defect")
    assert messages == ["a prediction could not be written: ValueError: a defect"]
    assert gate.closed


def test_line_for_a_pipe_is_written_by_flush_itself() -> None:
    reader, writer = os.pipe()
    with open(writer, "w") as stream:  # noqa: PTH123  a descriptor
        sink = QueuedSink(LineSink(stream, lambda one: str(one.first_index)), print)
        for number in range(3):
            sink.write(prediction(number))
        sink.flush()
        os.set_blocking(reader, False)
        assert os.read(reader, 100) == b"0\n1\n2\n"
        sink.close()
    os.close(reader)


def test_full_pipe_leaves_the_lines_to_the_thread_in_order() -> None:
    reader, writer = os.pipe()
    with open(writer, "w") as stream:  # noqa: PTH123  a descriptor
        sink = QueuedSink(LineSink(stream, lambda one: f"{one.first_index:0999d}"), print)
        for number in range(200):
            sink.write(prediction(number))
            sink.flush()
        got = b""
        while got.count(b"\n") < 200:
            got += os.read(reader, 1 << 16)
        sink.close()
    os.close(reader)
    assert [int(line) for line in got.split()] == list(range(200))


def test_line_that_exceeds_the_buffer_of_a_pipe_is_written_whole() -> None:
    reader, writer = os.pipe()
    with open(writer, "w") as stream:  # noqa: PTH123  a descriptor
        sink = QueuedSink(LineSink(stream, lambda _one: "é" * 70_000), print)
        sink.write(prediction(0))
        sink.flush()
        got = b""
        while not got.endswith(b"\n"):
            got += os.read(reader, 1 << 16)
        sink.close()
    os.close(reader)
    assert got.decode() == "é" * 70_000 + "\n"
