"""SIGTERM and SIGHUP end a command as Ctrl-C does: open ports, files and processes are closed."""

import math
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType

__all__ = ["Ended", "Terminated", "raised_signals"]

_NUMBERS = (signal.SIGTERM, signal.SIGHUP)
_STATUS_OF_SIGNALS = 128
_CLOSING_S = 5.0


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP arrived; a KeyboardInterrupt, so that code that cleans up after Ctrl-C runs for them too."""


class Ended:
    """The signal that ends the command; None before."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.again_s = -math.inf
        """When a further signal is raised, on the clock of `monotonic`."""

    @property
    def status(self) -> int | None:
        """The exit status for the signal: 143 for SIGTERM, 129 for SIGHUP; None without a signal."""
        return None if self.number is None else _STATUS_OF_SIGNALS + self.number


@contextmanager
def raised_signals() -> Iterator[Ended]:
    """Raise Terminated in the main thread on the first SIGTERM or SIGHUP inside the `with` block.

    Further ones are ignored for five seconds, so that closing is not interrupted. A later one is raised again, because
    code that catches every exception may have lost the first. A signal that is ignored already, as by nohup, or that
    has a handler, stays as it is. Forked processes end by the signal itself. Other threads than the main one cannot
    install handlers: nothing is changed there.
    """
    ended, owner = Ended(), os.getpid()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif monotonic() > ended.again_s:
            ended.number = ended.number or number
            ended.again_s = monotonic() + _CLOSING_S
            raise Terminated(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():
        yield ended
        return
    installed = [number for number in _NUMBERS if signal.getsignal(number) == signal.SIG_DFL]
    for number in installed:
        signal.signal(number, on_signal)
    try:
        yield ended
    finally:
        for number in installed:
            if signal.getsignal(number) is on_signal:
                signal.signal(number, signal.SIG_DFL)
