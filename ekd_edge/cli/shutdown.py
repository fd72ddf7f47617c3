"""Clean stops: on SIGINT, on SIGTERM and at a deadline."""

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType

__all__ = ["Stopping", "stop_on_signals"]


class Stopping:
    """Whether and why to stop; code that waits for bytes calls `check`."""

    def __init__(self) -> None:
        self.interrupted = False
        self.event = threading.Event()
        self.deadline = math.inf

    def check(self) -> bool:
        """Whether to stop now."""
        return self.event.is_set() or monotonic() >= self.deadline


@contextmanager
def stop_on_signals() -> Iterator[Stopping]:
    """Turn the first SIGINT or SIGTERM into a clean stop; a second one raises KeyboardInterrupt.

    Outside the main thread no handler is installed: Python allows them there only.
    """
    stop = Stopping()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if stop.event.is_set():
            raise KeyboardInterrupt
        stop.interrupted = number == signal.SIGINT
        stop.event.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
