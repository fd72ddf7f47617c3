"""An emulated device on a pseudo-terminal, which programs can open as a serial port."""

import errno
import math
import os
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path
from types import TracebackType

from firmware_bridge.emulation.line_faults import misread
from firmware_bridge.emulation.player import Player
from firmware_bridge.errors import EkdError, PortError

__all__ = ["PtyDevice"]

_POLL_S = 0.02
_CONFIGURED_S = 1.0
_FLUSHED_S = 1.0
_TAKEN_S = 5.0
_UNCONFIGURED_BAUD = termios.B134
_BAUDS = {getattr(termios, f"B{baud}"): baud for baud in (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400)}


class PtyDevice:
    """A device on a pseudo-terminal: a context manager that opens the pseudo-terminal `path` and plays in a thread.

    The device starts when a reader has opened and configured the port, and pauses while no program reads. It loses no
    bytes if the reader is slow, and it answers requests. At the end it closes the port when all bytes were read. A
    reader with another baud rate than the device's receives the bytes that a UART would receive. A fault "unplug"
    closes the port when all bytes before it were read. After the device is plugged in again it has another path, and
    the link is updated.

    player: the playback of the emulated device. link: path of a symbolic link to create; an existing symbolic link is
    replaced, and PortError is raised if the path is another file.
    """

    def __init__(self, player: Player, link: Path | None = None) -> None:
        self._player = player
        self._link = link
        self._stop, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="emulated device")
        self._error: EkdError | None = None
        self._master = -1
        self._flushed, self._early = False, b""
        self._began = time.monotonic()
        self.path = ""
        self.sent_bytes = 0

    def __enter__(self) -> "PtyDevice":
        self._open()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until all bytes were sent and read and the port is closed; return False after the timeout.

        Raises the EkdError with which the waveform ended, if any.
        """
        # Thread.join is not used: Python 3.11 marks a running thread as ended when Ctrl-C interrupts join.
        ended = self._done.wait(timeout_s)
        if self._error is not None:
            raise self._error
        return ended

    def unplug(self) -> None:
        """Close the port now, even if some bytes were not sent."""
        self._stop.set()
        self._done.wait()
        self._thread.join()

    def _open(self) -> None:
        self._master, slave = os.openpty()
        self.path = os.ttyname(slave)
        tty.setraw(slave)
        mode = termios.tcgetattr(slave)
        mode[4] = mode[5] = _UNCONFIGURED_BAUD
        termios.tcsetattr(slave, termios.TCSANOW, mode)
        os.close(slave)
        # In packet mode the master is notified when the reader flushes its input.
        ioctl(self._master, termios.TIOCPKT, (1).to_bytes(4, sys.byteorder))
        self._flushed, self._early = False, b""
        os.set_blocking(self._master, False)
        if self._link is not None:
            try:
                _relink(self._link, self.path)
            except PortError:
                self._close()
                raise

    def _close(self) -> None:
        if self._master < 0:
            return
        if self._link is not None and self._link.is_symlink() and str(self._link.readlink()) == self.path:
            self._link.unlink()
        os.close(self._master)
        self._master = -1

    def _run(self) -> None:
        try:
            self._await_reader()
            self._began = time.monotonic()
            while self._play() and (away_s := self._player.unplugged_s) is not None:
                self._drain(_TAKEN_S)
                self._close()
                if math.isinf(away_s) or self._stop.wait(away_s):
                    return
                self._open()
                self._await_reader()
                self._player.plug_in(self._now_s())
        except EkdError as error:
            self._error = error
        finally:
            self._close()
            self._done.set()

    def _now_s(self) -> float:
        return time.monotonic() - self._began

    def _play(self) -> bool:
        """Send and answer until the end or a fault "unplug"; return False if the device was stopped."""
        player = self._player
        if self._early:
            player.receive(self._early, self._now_s())
        while not player.at_end:
            data = player.take(self._now_s())
            if data and not self._write(self._as_read(data)):
                return False
            if player.unplugged_s is not None:
                return True
            self._listen(0 if data else min(max(0.0, player.due_s - self._now_s()), _POLL_S))
            if self._stop.is_set():
                return False
        self._drain()
        return True

    def _await_reader(self) -> None:
        self._wait_for(self._has_reader)
        self._wait_for(self._configured, _CONFIGURED_S)
        # pyserial flushes its input right after it configures the port, which would discard earlier bytes.
        self._wait_for(self._has_flushed, _FLUSHED_S)

    def _wait_for(self, ready: Callable[[], bool], timeout_s: float = float("inf")) -> None:
        end = time.monotonic() + timeout_s
        while not ready() and time.monotonic() < end and not self._stop.wait(_POLL_S):
            pass

    def _events(self, wanted: int, timeout_s: float) -> int:
        poll = select.poll()
        poll.register(self._master, wanted)
        return sum(event for _, event in poll.poll(timeout_s * 1e3))

    def _has_reader(self) -> bool:
        return not self._events(0, 0) & select.POLLHUP

    def _configured(self) -> bool:
        return bool(termios.tcgetattr(self._master)[5] != _UNCONFIGURED_BAUD)

    def _has_flushed(self) -> bool:
        self._early += self._receive(0)
        return self._flushed

    def _as_read(self, data: bytes) -> bytes:
        """The bytes that a UART at the reader's baud rate receives."""
        baud = self._player.emulator.baud
        return misread(data, baud, _BAUDS.get(termios.tcgetattr(self._master)[5], baud))

    def _write(self, data: bytes) -> bool:
        """Send all data, waiting for the reader; return False if the device was stopped."""
        left = memoryview(data)
        while left:
            if self._stop.is_set():
                return False
            if not self._has_reader():
                self._stop.wait(_POLL_S)
                continue
            if self._events(select.POLLOUT, _POLL_S) & select.POLLOUT:
                try:
                    sent = os.write(self._master, left)
                except BlockingIOError:
                    continue
                self.sent_bytes += sent
                left = left[sent:]
        return True

    def _listen(self, timeout_s: float) -> None:
        """Wait for bytes from the host and pass them to the device."""
        if received := self._receive(timeout_s):
            self._player.receive(received, self._now_s())

    def _receive(self, timeout_s: float) -> bytes:
        events = self._events(select.POLLIN, timeout_s)
        if events & select.POLLIN:
            try:
                packet = os.read(self._master, 4096)
            except OSError as error:
                if error.errno not in (errno.EIO, errno.EAGAIN):
                    raise
                return b""
            if not packet:
                return b""
            self._flushed |= bool(packet[0] & termios.TIOCPKT_FLUSHREAD)
            return packet[1:]
        if events & select.POLLHUP:
            self._stop.wait(timeout_s)
        return b""

    def _drain(self, timeout_s: float = float("inf")) -> None:
        """Wait until the reader has read all bytes or closed the port, or this device is stopped."""
        empty, end = 0, time.monotonic() + timeout_s
        while empty < 5 and time.monotonic() < end and self._has_reader() and not self._stop.wait(_POLL_S / 2):
            slave = os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            try:
                waiting = int.from_bytes(ioctl(slave, termios.FIONREAD, bytes(4)), "little")
            finally:
                os.close(slave)
            empty = empty + 1 if waiting == 0 else 0


def _relink(link: Path, target: str) -> None:
    if link.exists() and not link.is_symlink():
        raise PortError(f"{link} exists and is not a link: choose another path for the link")
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    except OSError as error:
        raise PortError(f"cannot create the link {link}: {error.strerror}; choose another path for the link") from error
