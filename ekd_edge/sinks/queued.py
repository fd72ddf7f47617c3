"""A sink behind a bounded queue with its own thread: a slow reader never blocks prediction."""

import threading
from collections import deque
from collections.abc import Callable

from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sinks.line_sink import LineSink
from ekd_edge.sinks.sink import Sink

__all__ = ["QueuedSink"]

_MAX_ITEMS = 1024
_CLOSE_S = 2.0

_Item = Prediction | tuple[SampleBlock, str | None]
"""A prediction, or a block and its source."""


class QueuedSink:
    """Holds items until `flush`, then passes them to another sink.

    Lines that a pipe accepts without blocking are written by the caller of `flush`; everything else by the thread of
    this queue, which costs two changes of thread. If the queue is full, the oldest item is
    dropped. An OSError of the other sink is raised by the next call, because its stream is unusable; any other fault
    is counted and costs one item.

    Args:
        sink: the other sink.
        notify: called with a message each time that dropping starts, and for each new kind of fault.
        max_items: of the queue.
    """

    def __init__(self, sink: Sink, notify: Callable[[str], None], max_items: int = _MAX_ITEMS) -> None:
        self._sink, self._notify, self._max_items = sink, notify, max_items
        self.wants_blocks = sink.wants_blocks
        self._items: deque[_Item] = deque()
        self._ready = threading.Condition()
        self._writing = threading.Lock()
        self._ending = self._flushed = False
        self._error: OSError | None = None
        self._dropping = False
        self.dropped = 0
        """Number of predictions that were dropped."""
        self.faults = 0
        """Number of items that the other sink failed to write."""
        self.fault: str | None = None
        """The latest fault; None where the latest item was written."""
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)
        self._thread.start()

    def observe(self, block: SampleBlock, source: str | None = None) -> None:
        """Pass a block on."""
        self._put((block, source))

    def write(self, prediction: Prediction) -> None:
        """Pass a prediction on."""
        self._put(prediction)

    def flush(self) -> None:
        """Write what the other sink accepts without blocking, and leave the rest to the thread."""
        self._raise()
        if isinstance(self._sink, LineSink) and self._writing.acquire(blocking=False):
            try:
                self._write_without_blocking(self._sink)
            finally:
                self._writing.release()
        if self._items:
            with self._ready:
                self._flushed = True
                self._ready.notify()

    def close(self) -> None:
        """Wait at most two seconds for the other sink to take the remaining items."""
        with self._ready:
            self._ending = True
            self._ready.notify()
        self._thread.join(_CLOSE_S)
        with self._ready:
            # The items that a blocked sink has not taken are lost when the process ends.
            self.dropped += sum(isinstance(item, Prediction) for item in self._items)
            self._items.clear()
        self._raise()

    @property
    def is_blocked(self) -> bool:
        """After `close`: whether the other sink still blocks the thread."""
        return self._ending and self._thread.is_alive()

    def _put(self, item: _Item) -> None:
        self._raise()
        dropping_started = False
        with self._ready:
            if len(self._items) >= self._max_items:
                dropping_started, self._dropping = not self._dropping, True
                self.dropped += isinstance(self._items.popleft(), Prediction)
            self._items.append(item)
            if self._dropping or len(self._items) >= self._max_items // 2:
                self._flushed = True
                self._ready.notify()
        if dropping_started:
            self._notify("the reader of stdout is too slow: the oldest predictions are dropped (and counted)")

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _write_without_blocking(self, sink: LineSink) -> None:
        while self._items:
            item = self._items[0]
            if not isinstance(item, Prediction) or not sink.try_write(item):
                return
            self._items.popleft()

    def _run(self) -> None:
        try:
            while self._wait():
                while self._pass_on():
                    pass
            with self._writing:
                self._sink.close()
        except OSError as error:
            self._error = error

    def _pass_on(self) -> bool:
        """Write the oldest item, or flush the other sink if there is none; return whether there was one."""
        with self._writing:
            item = self._next()
            try:
                if item is None:
                    self._sink.flush()
                elif isinstance(item, Prediction):
                    self._sink.write(item)
                else:
                    self._sink.observe(*item)
            except OSError:
                raise
            except Exception as error:  # noqa: BLE001  the handler of this thread: counted, shown by `ekd-edge status`
                self._count_fault(error)
            else:
                self.fault = None if item is not None else self.fault
        return item is not None

    def _count_fault(self, error: Exception) -> None:
        self.faults += 1
        message = f"a prediction could not be written: {type(error).__name__}: {error}"
        if message != self.fault:
            self.fault = message
            self._notify(message)

    def _wait(self) -> bool:
        """Wait until items are to be written; return whether there are any or more may come."""
        with self._ready:
            while not self._flushed and not self._ending:
                self._ready.wait()
            self._flushed = False
            return not self._ending or bool(self._items)

    def _next(self) -> _Item | None:
        with self._ready:
            if not self._items:
                return None
            if len(self._items) < self._max_items // 2:
                self._dropping = False
            return self._items.popleft()
