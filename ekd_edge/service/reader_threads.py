"""Reads several sensors at once, each in its own thread."""

import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, Queue
from time import perf_counter
from types import TracebackType
from typing import Protocol

from ekd_edge.errors import EkdError
from ekd_edge.pipeline.stream import PendingWindows
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sources.reconnect import Connection
from firmware_bridge.serial_port.device import Stop, as_function

__all__ = ["BlockHandler", "ReaderThreads"]

_WAIT_S = 0.1
_MAX_QUEUED = 256
"""Entries that wait to be classified. A reader thread waits while the queue is full; the system's serial buffer then
fills."""


class BlockHandler(Protocol):
    """Handles the blocks of one sensor, in the thread that reads it."""

    def on_block(self, block: SampleBlock, arrived_s: float) -> Sequence[PendingWindows]:
        """Take a block that arrived at `arrived_s` on the clock of `perf_counter`; return the complete windows."""

    def idle_s(self) -> float:
        """Seconds for which the reader may pause: no window can be complete before."""


class ReaderThreads:
    """A context manager that reads connections in threads and closes them at the end.

    connections: each with the handler of its blocks. notify: called with one sentence for a sensor that fails while
    others are left; those continue.
    """

    def __init__(self, connections: Sequence[tuple[Connection, BlockHandler]], notify: Callable[[str], None]) -> None:
        self._connections = connections
        self._notify = notify
        self._queue: Queue[Sequence[PendingWindows] | BaseException | None] = Queue(_MAX_QUEUED)
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "ReaderThreads":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        while any(thread.is_alive() for thread in self._threads):
            self._take_queued()  # a reader may wait for room in the queue
        for connection, _ in self._connections:
            connection.close()

    def pending(self, stop: Stop | None = None) -> Iterator[list[PendingWindows]]:
        """Yield the windows that became complete since the last time, until stopped or until every sensor ended.

        Raises the EkdError of the last sensor that failed.
        """
        stopped = as_function(stop)
        for number, (connection, handler) in enumerate(self._connections):
            thread = threading.Thread(target=self._read, args=(connection, handler, stopped), name=f"reader {number}")
            thread.start()
            self._threads.append(thread)
        running = len(self._threads)
        while running:
            windows: list[PendingWindows] = []
            ended: list[BaseException | None] = []
            for item in self._take_queued():
                if item is None or isinstance(item, BaseException):
                    ended.append(item)
                else:
                    windows += item
            if windows:
                yield windows
            for error in ended:
                running -= 1
                if error is not None:
                    self._handle_failure(error, running)

    def _handle_failure(self, error: BaseException, running: int) -> None:
        if running == 0 or not isinstance(error, EkdError):
            raise error
        self._notify(f"{error}; the other ports continue")

    def _take_queued(self) -> list[Sequence[PendingWindows] | BaseException | None]:
        items = []
        try:
            items.append(self._queue.get(timeout=_WAIT_S))
            while len(items) < _MAX_QUEUED:
                items.append(self._queue.get_nowait())
        except Empty:
            pass
        return items

    def _read(self, connection: Connection, handler: BlockHandler, stopped: Callable[[], bool]) -> None:
        ending: BaseException | None = None
        try:
            for block in connection.blocks(lambda: stopped() or self._closing.is_set(), handler.idle_s):
                if windows := handler.on_block(block, perf_counter()):
                    self._queue.put(windows)
        except BaseException as fault:  # noqa: BLE001  raised again by the thread that calls `pending`
            ending = fault
        finally:
            connection.close()
        self._queue.put(ending)
