"""Clean stops and reloads: on SIGINT, SIGTERM and SIGHUP, and at a deadline."""

import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType

__all__ = ["Flag", "Stopping", "stop_on_signals"]

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STATUS = {signal.SIGINT: 130, signal.SIGTERM: 0, signal.SIGHUP: 129}


class Flag:
    """A flag that a signal handler may set. A threading.Event has a lock, which the handler would wait for in vain."""

    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        """Whether the flag is set."""
        return self._set

    def set(self) -> None:
        """Set the flag."""
        self._set = True

    def clear(self) -> None:
        """Clear the flag."""
        self._set = False


class Stopping:
    """Whether and why to stop, and whether to reload; code that waits for bytes calls `check`.

    event: set by the first signal that ends the command. number: that signal, or None. deadline: on the clock of
    `monotonic`. reload: set by a SIGHUP of a service; the code that reloads clears it. on_change: called by the signal
    handler after each signal, to wake a waiting loop; it must only do what a signal handler may do.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.event = Flag()
        self.reload = Flag()
        self.deadline = math.inf
        self.on_change: Callable[[], None] | None = None

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the command."""
        return self.number == signal.SIGINT

    @property
    def status(self) -> int:
        """The exit status: 0 without a signal and on SIGTERM, 130 on Ctrl-C, 129 where the terminal was closed."""
        return 0 if self.number is None else _STATUS[signal.Signals(self.number)]

    def check(self) -> bool:
        """Whether to stop now."""
        return self.event.is_set() or monotonic() >= self.deadline


@contextmanager
def stop_on_signals(*, reloads: bool = False) -> Iterator[Stopping]:
    """Turn the first SIGINT or SIGTERM into a clean stop; a second Ctrl-C raises KeyboardInterrupt.

    SIGHUP asks to reload if `reloads` is True. It ends the command if `reloads` is False, or if it arrives because
    the command's terminal was closed. It stays ignored if it was ignored before, as by nohup.

    Outside the main thread no handler is installed: Python allows them there only.
    """
    stop = Stopping()
    had_terminal = _has_terminal()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP and reloads and (not had_terminal or _has_terminal()):
            stop.reload.set()
        elif not stop.event.is_set():
            stop.number = number
            stop.event.set()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        if stop.on_change is not None:
            stop.on_change()

    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    numbers = [number for number in _NUMBERS if number != signal.SIGHUP or not ignored]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _has_terminal() -> bool:
    """Whether the process has a controlling terminal, which the kernel takes away before it sends SIGHUP."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
