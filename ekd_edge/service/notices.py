"""Messages to the user behind a bounded queue: a terminal or pipe that blocks never delays the sensors."""

import threading
from collections import deque
from collections.abc import Callable

__all__ = ["Notices"]

_MAX_MESSAGES = 1000


class Notices:
    """A job of a `Worker` that shows messages, in order; of too many that wait, the oldest are dropped.

    show: prints one message; called in the worker's thread, and may be replaced. `on_message` is called after each new
    message, by any thread: it wakes the worker.
    """

    name = "messages"

    def __init__(self, show: Callable[[str], None]) -> None:
        self.show = show
        self._all_shown = threading.Event()
        self._messages: deque[str] = deque(maxlen=_MAX_MESSAGES)
        self.on_message: Callable[[], None] | None = None

    def __call__(self, message: str) -> None:
        """Show a message soon; returns at once."""
        self._all_shown.clear()
        self._messages.append(message)
        if self.on_message is not None:
            self.on_message()

    def run(self) -> None:
        """Show the messages that wait. Raises the first error of `show`, after the other messages."""
        fault: Exception | None = None
        while self._messages:
            try:
                self.show(self._messages.popleft())
            except Exception as error:  # noqa: BLE001  raised below
                fault = fault or error
        self._all_shown.set()
        if fault is not None:
            raise fault

    def wait(self, seconds: float) -> bool:
        """Wait until the messages so far are shown, at most these seconds; return whether they are."""
        return self._all_shown.wait(seconds)

    def finish(self) -> None:
        """Show the last messages."""
        self.run()
