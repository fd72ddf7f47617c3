"""A simulated sensor at the other end of a serial line, which measures and sends also without a reader."""

import array
import select
import socket
import threading
import time
from fcntl import ioctl
from termios import TIOCOUTQ
from types import TracebackType
from typing import Final

from firmware_bridge.devices.ekd.emulator import FRAME_SAMPLES
from tests.helpers.numbered_sensor import HZ, numbered_device

__all__ = ["WiredSensor"]

_LONGEST_S: Final = 1200
_TAKEN_S: Final = 5.0


class WiredSensor:
    """An ekd device with its own power supply and numbered samples: a context manager that sends from a thread.

    It responds to requests. While the line is cut, as it is at first, sent bytes are lost.

    carried: for each frame of samples so far, whether it reached the line. asked: the number of samples sent before
    each response to a request.
    """

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._wire.setblocking(False)
        self._emulator = numbered_device(_LONGEST_S).emulator
        self._whole = False
        self._line = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wired sensor")
        self.carried: list[bool] = []
        self.asked: list[int] = []

    def __enter__(self) -> "WiredSensor":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def join(self) -> None:
        """Make the line whole."""
        with self._line:
            self._whole = True

    def cut(self) -> None:
        """Cut the line; what was sent before is at the other end when this returns."""
        with self._line:
            self._whole = False
        end = time.monotonic() + _TAKEN_S
        while _waiting(self._wire):
            assert time.monotonic() < end, "the adapter takes nothing"
            time.sleep(0.001)

    def _run(self) -> None:
        began_s = time.monotonic()
        for burst in self._emulator.bursts():
            due_s = began_s + burst.samples / HZ
            while (left_s := due_s - time.monotonic()) > 0:
                self._listen(left_s)
                if self._stop.is_set():
                    return
            with self._line:
                taken = self._send(burst.data)
                if burst.samples:
                    self.carried.append(taken)

    def _send(self, data: bytes) -> bool:
        """Send without waiting; whether the line is whole and its other end took all bytes."""
        try:
            return self._whole and self._wire.send(data) == len(data)
        except BlockingIOError:
            return False

    def _listen(self, timeout_s: float) -> None:
        if select.select([self._wire], [], [], timeout_s)[0]:
            heard = self._wire.recv(4096)
            with self._line:
                if (answer := self._emulator.receive(heard)) and self._send(answer):
                    self.asked.append(FRAME_SAMPLES * len(self.carried))


def _waiting(wire: socket.socket) -> int:
    """Zero once the other end has taken everything."""
    waiting = array.array("i", [0])
    ioctl(wire, TIOCOUTQ, waiting)
    return waiting[0]
