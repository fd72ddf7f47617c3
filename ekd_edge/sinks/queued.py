"""A sink behind a bounded queue: however slow it is, nothing waits for it."""

import threading
from collections import deque
from collections.abc import Callable

from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sinks.sink import Sink

__all__ = ["QueuedSink"]

_MOST = 1024
_CLOSE_S = 2.0


class QueuedSink:
    """Hands everything to another sink from a thread of its own. Where that one is stuck, the oldest that waits is
    dropped and counted.

    What the other sink raises is raised by the next call. notify: told once each time that dropping begins.
    """

    def __init__(self, sink: Sink, notify: Callable[[str], None], most: int = _MOST) -> None:
        self._sink, self._notify, self._most = sink, notify, most
        self.wants_blocks = sink.wants_blocks
        self._items: deque[SampleBlock | Prediction] = deque()
        self._ready = threading.Condition()
        self._ending = False
        self._error: OSError | None = None
        self._dropping = False
        self.dropped = 0
        """Predictions that were never handed on."""
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)
        self._thread.start()

    def observe(self, block: SampleBlock) -> None:
        """Hand a block on."""
        self._put(block)

    def write(self, prediction: Prediction) -> None:
        """Hand a prediction on."""
        self._put(prediction)

    def close(self) -> None:
        """Wait for the other sink to take what is left, for two seconds at most."""
        with self._ready:
            self._ending = True
            self._ready.notify()
        self._thread.join(_CLOSE_S)
        with self._ready:
            # What a stuck sink has not taken by now is lost when the process ends.
            self.dropped += sum(isinstance(item, Prediction) for item in self._items)
            self._items.clear()
        self._raise()

    def _put(self, item: SampleBlock | Prediction) -> None:
        self._raise()
        began = False
        with self._ready:
            if len(self._items) >= self._most:
                began, self._dropping = not self._dropping, True
                self.dropped += isinstance(self._items.popleft(), Prediction)
            self._items.append(item)
            self._ready.notify()
        if began:
            self._notify("nobody takes the predictions that are printed: the oldest are dropped and counted")

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
                    self._sink.observe(item)
            self._sink.close()
        except OSError as error:
            self._error = error

    def _next(self) -> SampleBlock | Prediction | None:
        with self._ready:
            while not self._items and not self._ending:
                self._ready.wait()
            if not self._items:
                return None
            if len(self._items) < self._most // 2:
                self._dropping = False
            return self._items.popleft()
