"""A live sensor for Python programs: read by its own thread, iterated at the program's pace without losing samples."""

import threading
from collections import deque
from collections.abc import Iterator

from ekd_edge.errors import PortError
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sources.closable import Closable
from ekd_edge.sources.reconnect import Connection, ConnectionState
from firmware_bridge.devices.stream import StreamCounts
from firmware_bridge.serial_port.device import Stop, as_function

__all__ = ["LiveSensor"]

_MAX_BLOCKS = 8192
"""About eight minutes at 128 Hz in blocks of eight samples."""
_POLL_S = 0.1


class LiveSensor(Closable):
    """An open sensor: a context manager, and an iterable of sample blocks. Made by `ekd_edge.open_sensor`.

    A thread reads the port from the beginning, so that no sample is lost while the program is busy. If the program
    falls behind by `_MAX_BLOCKS` blocks, iteration ends with PortError after the blocks that were received.

    A second iteration continues where the first one stopped.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._simulated = connection.port.startswith("sim:")
        self._blocks: deque[SampleBlock] = deque()
        self._changed = threading.Condition()
        self._closed = self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name=f"sensor {connection.port}", daemon=True)
        self._thread.start()

    @property
    def port(self) -> str:
        """The port as it was named."""
        return self._connection.port

    @property
    def state(self) -> ConnectionState:
        """The state of the connection."""
        return self._connection.state

    @property
    def counts(self) -> StreamCounts:
        """Samples received, dropped and rejected so far."""
        return self._connection.counts

    def __iter__(self) -> Iterator[SampleBlock]:
        return self.blocks()

    def blocks(self, stop: Stop | None = None) -> Iterator[SampleBlock]:
        """Blocks in microsiemens, in order, until `stop` is set or a simulated sensor ends.

        Raises:
            EkdError: the port, its bytes or its readings cannot be used any more, as `Connection.blocks` says; the
                blocks that arrived before are delivered first.
            PortError: the sensor was unplugged, was closed, or the program was too slow for it.
        """
        stopped = as_function(stop)
        while not stopped():
            with self._changed:
                if self._closed:
                    raise PortError(f"{self.port} is closed: open it with ekd_edge.open_sensor before reading it")
                if not self._blocks and not self._ended:
                    self._changed.wait(_POLL_S)
                block = self._blocks.popleft() if self._blocks else None
                self._changed.notify_all()
            if block is not None:
                yield block
            elif self._ended and not self._blocks:
                if self._error is not None:
                    raise self._error
                return

    def close(self) -> None:
        """Stop reading and close the port."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self._connection.close()

    def _read(self) -> None:
        try:
            for block in self._connection.blocks(lambda: self._closed):
                self._put(block)
        except BaseException as error:  # noqa: BLE001  raised again by `blocks`, in the program's thread
            self._error = error
        finally:
            self._connection.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, block: SampleBlock) -> None:
        with self._changed:
            # A simulated sensor can wait for its reader; a real one cannot.
            while self._simulated and len(self._blocks) >= _MAX_BLOCKS and not self._closed:
                self._changed.wait(_POLL_S)
            if len(self._blocks) >= _MAX_BLOCKS and not self._closed:
                raise PortError(
                    f"the program reads {self.port} too slowly ({_MAX_BLOCKS} blocks wait): do less for each prediction"
                )
            self._blocks.append(block)
            self._changed.notify_all()
