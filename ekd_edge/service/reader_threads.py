"""Several sensors at once, each read by a thread of its own."""

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

__all__ = ["Follower", "Sensors"]

_WAIT_S = 0.1
_MOST = 256
"""Arrivals that wait to be classified; a reader that finds so many waits itself, and the system's buffer fills."""


class Follower(Protocol):
    """What is done with the blocks of one sensor, by the thread that reads it."""

    def on_block(self, block: SampleBlock, arrived_s: float) -> Sequence[PendingWindows]:
        """A block has arrived, at that time on the clock of `perf_counter`; the windows that are due."""

    def idle_s(self) -> float:
        """For how long no window can be due."""


class Sensors:
    """A context manager around open connections; it closes them.

    connections: with who follows each. One sensor that cannot be read any more, or whose
    samples cannot be used, is told of and left behind while there are others.
    """

    def __init__(self, connections: Sequence[tuple[Connection, Follower]], notify: Callable[[str], None]) -> None:
        self._connections = connections
        self._notify = notify
        self._queue: Queue[Sequence[PendingWindows] | BaseException | None] = Queue(_MOST)
        self._given_up = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Sensors":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._given_up.set()
        while any(thread.is_alive() for thread in self._threads):
            self._waiting()
        for connection, _ in self._connections:
            connection.close()

    def due(self, stop: Stop | None = None) -> Iterator[list[PendingWindows]]:
        """All windows that are due since the last time, until told to stop or until every sensor has ended.

        Raises the EkdError of the last sensor that could not be read any more.
        """
        stopped = as_function(stop)
        for number, (connection, follower) in enumerate(self._connections):
            thread = threading.Thread(target=self._read, args=(connection, follower, stopped), name=f"reader {number}")
            thread.start()
            self._threads.append(thread)
        left = len(self._threads)
        while left:
            due: list[PendingWindows] = []
            ended: list[BaseException | None] = []
            for item in self._waiting():
                if item is None or isinstance(item, BaseException):
                    ended.append(item)
                else:
                    due += item
            if due:
                yield due
            for error in ended:
                left -= 1
                if error is not None:
                    self._failed(error, left)

    def _failed(self, error: BaseException, left: int) -> None:
        if left == 0 or not isinstance(error, EkdError):
            raise error
        self._notify(f"{error}; the other ports go on")

    def _waiting(self) -> list[Sequence[PendingWindows] | BaseException | None]:
        found = []
        try:
            found.append(self._queue.get(timeout=_WAIT_S))
            while len(found) < _MOST:
                found.append(self._queue.get_nowait())
        except Empty:
            pass
        return found

    def _read(self, connection: Connection, follower: Follower, stopped: Callable[[], bool]) -> None:
        ending: BaseException | None = None
        try:
            for block in connection.blocks(lambda: stopped() or self._given_up.is_set(), follower.idle_s):
                if due := follower.on_block(block, perf_counter()):
                    self._queue.put(due)
        except BaseException as fault:  # noqa: BLE001  handed to the thread that asked
            ending = fault
        finally:
            connection.close()
        self._queue.put(ending)
