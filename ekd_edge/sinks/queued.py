"""A sink behind a bounded queue with its own thread: a slow reader never blocks prediction."""

import threading
from collections import deque
from collections.abc import Callable

from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sinks.sink import Sink

__all__ = ["QueuedSink"]

_MAX_ITEMS = 1024
_CLOSE_S = 2.0

_Item = Prediction | tuple[SampleBlock, str | None]
"""A prediction, or a block and its source."""


class QueuedSink:
    """Passes everything to another sink in its own thread. If the queue is full, the oldest item is dropped.

    An error of the other sink is raised by the next call.

    Args:
        sink: the other sink.
        notify: called with a message each time that dropping starts.
        max_items: of the queue.
    """

    def __init__(self, sink: Sink, notify: Callable[[str], None], max_items: int = _MAX_ITEMS) -> None:
        self._sink, self._notify, self._max_items = sink, notify, max_items
        self.wants_blocks = sink.wants_blocks
        self._items: deque[_Item] = deque()
        self._ready = threading.Condition()
        self._ending = False
        self._error: OSError | None = None
        self._dropping = False
        self.dropped = 0
        """Number of predictions that were dropped."""
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)
        self._thread.start()

    def observe(self, block: SampleBlock, source: str | None = None) -> None:
        """Pass a block on."""
        self._put((block, source))

    def write(self, prediction: Prediction) -> None:
        """Pass a prediction on."""
        self._put(prediction)

    def flush(self) -> None:
        """Do nothing: the other sink is flushed whenever nothing more waits for it."""

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

    def _put(self, item: _Item) -> None:
        self._raise()
        dropping_started = False
        with self._ready:
            if len(self._items) >= self._max_items:
                dropping_started, self._dropping = not self._dropping, True
                self.dropped += isinstance(self._items.popleft(), Prediction)
            self._items.append(item)
            self._ready.notify()
        if dropping_started:
            self._notify("the reader of stdout is too slow: the oldest predictions are dropped (and counted)")

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        try:
            while (item := self._next()) is not None:
                if isinstance(item, Prediction):
                    self._sink.write(item)
                else:
                    self._sink.observe(*item)
                if not self._items:
                    self._sink.flush()
            self._sink.close()
        except OSError as error:
            self._error = error

    def _next(self) -> _Item | None:
        with self._ready:
            while not self._items and not self._ending:
                self._ready.wait()
            if not self._items:
                return None
            if len(self._items) < self._max_items // 2:
                self._dropping = False
            return self._items.popleft()
