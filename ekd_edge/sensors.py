"""Several sensors at once, each read by a thread of its own."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, Queue
from time import perf_counter
from types import TracebackType

from ekd_edge.connection import Connection
from ekd_edge.errors import EkdError
from ekd_edge.signal.blocks import SampleBlock
from firmware_bridge.device import Stop, as_function

__all__ = ["Arrival", "Sensors"]

_WAIT_S = 0.1
_MOST = 256
"""Blocks that wait to be processed; a reader that finds so many waits itself, and the system's buffer fills."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A block of the sensor `number`, and when it arrived, on the clock of `perf_counter`."""

    number: int
    block: SampleBlock
    arrived_s: float


class Sensors:
    """A context manager around open connections; it closes them.

    One sensor that cannot be read any more is told of and left behind while there are others.
    """

    def __init__(self, connections: Sequence[Connection], notify: Callable[[str], None]) -> None:
        self._connections = connections
        self._notify = notify
        self._queue: Queue[Arrival | tuple[int, BaseException | None]] = Queue(_MOST)
        self._given_up = [threading.Event() for _ in connections]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Sensors":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for given_up in self._given_up:
            given_up.set()
        while any(thread.is_alive() for thread in self._threads):
            self._waiting()
        for connection in self._connections:
            connection.close()

    def arrivals(self, stop: Stop | None = None) -> Iterator[list[Arrival]]:
        """All that has arrived since the last time, never empty, until told to stop or until every sensor has ended.

        Raises the EkdError of the last sensor that could not be read any more.
        """
        stopped = as_function(stop)
        for number, connection in enumerate(self._connections):
            thread = threading.Thread(target=self._read, args=(number, connection, stopped), name=f"reader {number}")
            thread.start()
            self._threads.append(thread)
        left = len(self._threads)
        while left:
            arrived: list[Arrival] = []
            for item in self._waiting():
                if isinstance(item, Arrival):
                    if not self._given_up[item.number].is_set():
                        arrived.append(item)
                    continue
                left -= 1
                if arrived:
                    yield arrived
                    arrived = []
                self._ended(item[0], item[1], left)
            if arrived:
                yield arrived

    def give_up(self, number: int, error: EkdError) -> None:
        """Read that sensor no more: its samples cannot be used. Raises the error where it is the only one."""
        if len(self._connections) == 1:
            raise error
        self._given_up[number].set()
        self._notify(f"{error}; the other ports go on")

    def _ended(self, number: int, error: BaseException | None, left: int) -> None:
        if error is None:
            return
        if left == 0 or not isinstance(error, EkdError):
            raise error
        self._notify(f"{error}; the other ports go on")

    def _waiting(self) -> list[Arrival | tuple[int, BaseException | None]]:
        found = []
        try:
            found.append(self._queue.get(timeout=_WAIT_S))
            while len(found) < _MOST:
                found.append(self._queue.get_nowait())
        except Empty:
            pass
        return found

    def _read(self, number: int, connection: Connection, stopped: Callable[[], bool]) -> None:
        given_up = self._given_up[number]
        error: BaseException | None = None
        try:
            for block in connection.blocks(lambda: stopped() or given_up.is_set()):
                self._queue.put(Arrival(number, block, perf_counter()))
        except BaseException as fault:  # noqa: BLE001  handed to the thread that asked
            error = fault
        self._queue.put((number, error))
