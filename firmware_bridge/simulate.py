"""A simulated sensor: readings in, the bytes of a device out, on a real pseudo-terminal if wanted."""

import errno
import os
import select
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fcntl import ioctl
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import EkdError, PortError
from firmware_bridge.frame import DELIMITER, Data, Decoder, Hello, RequestHello, Status, encode

__all__ = ["Burst", "PtyDevice", "frame_bursts", "line_bursts", "linear_hello", "pace", "to_counts"]

FRAME_SAMPLES = 8
_Reading = TypeVar("_Reading", np.float64, np.uint16)
_FLAT_OUT_BYTES = 1 << 15
_POLL_S = 0.02
_CONFIGURED_S = 1.0
_UNCONFIGURED_BAUD = termios.B134


@dataclass(frozen=True, slots=True)
class Burst:
    """Bytes that a device sends once it has taken `samples` samples since its start."""

    samples: int
    data: bytes


def linear_hello(
    rate_hz: Fraction,
    adc_bits: int = 16,
    full_scale_us: float = 50.0,
    offset_us: float = 0.0,
    boot_nonce: int = 1,
) -> Hello:
    """The HELLO of a device with a linear front end: uS = count / 2**adc_bits * full_scale_us + offset_us."""
    gain = float(np.float32(full_scale_us / 2**adc_bits))
    return Hello(
        b"ekd-sim\0",
        boot_nonce,
        rate_hz.numerator,
        rate_hz.denominator,
        adc_bits,
        5000,
        0,
        (gain, float(np.float32(offset_us))),
    )


def to_counts(values_us: NDArray[np.float64], hello: Hello) -> NDArray[np.uint16]:
    """The ADC counts that a linear front end gives for conductances in uS, clipped to its range."""
    gain, offset = hello.calibration
    counts: NDArray[np.float64] = np.rint((values_us - offset) / gain)
    return np.clip(counts, 0, 2**hello.adc_bits - 1).astype(np.uint16)


def frame_bursts(counts: Iterable[NDArray[np.uint16]], hello: Hello) -> Iterator[Burst]:
    """Frames for ADC counts in pieces of any size: DATA of 8 samples, HELLO and STATUS every second."""
    greeting = encode(hello)
    yield Burst(0, DELIMITER + greeting)
    per_second = max(1, round(hello.rate_hz))
    index, saturated, greeted = 0, 0, 0
    top = 2**hello.adc_bits - 1
    for seq, piece in enumerate(_pieces(counts, FRAME_SAMPLES)):
        data = encode(Data(seq & 0xFFFF, index & 0xFFFFFFFF, tuple(piece)))
        index += len(piece)
        saturated += sum(count in (0, top) for count in piece)
        if index - greeted >= per_second:
            greeted = index
            data += greeting + encode(Status(0, saturated & 0xFFFFFFFF, False))
        yield Burst(index, data)


def line_bursts(
    values: Iterable[NDArray[np.float64]],
    rate_hz: Fraction,
    unit: str = "uS",
    adc_bits: int | None = None,
    millis: bool = False,
) -> Iterator[Burst]:
    """CSV lines for readings that come in pieces of any size, after comments that state rate and unit.

    millis: put the time in whole milliseconds before each reading.
    """
    about = [f"# rate_hz: {rate_hz}", f"# unit: {unit}", *([f"# adc_bits: {adc_bits}"] if adc_bits else [])]
    yield Burst(0, "".join(f"{line}\r\n" for line in about).encode())
    index = 0
    for piece in _pieces(values, max(1, round(rate_hz / 100))):
        lines = []
        for value in piece:
            text = f"{value:.10g}"
            lines.append(f"{index * 1000 // rate_hz},{text}\r\n" if millis else f"{text}\r\n")
            index += 1
        yield Burst(index, "".join(lines).encode())


def _pieces(blocks: Iterable[NDArray[_Reading]], size: int) -> Iterator[list[Any]]:
    """The readings in lists of `size`; the last one may be shorter."""
    rest: list[Any] = []
    for block in blocks:
        rest += block.tolist()
        whole = len(rest) - len(rest) % size
        for start in range(0, whole, size):
            yield rest[start : start + size]
        rest = rest[whole:]
    if rest:
        yield rest


def pace(
    bursts: Iterable[Burst], rate_hz: Fraction, speed: float = 1.0, paced_s: float | None = None
) -> Iterator[tuple[float, bytes]]:
    """(seconds after the start when the bytes are due, bytes); several flat-out bursts are joined.

    speed: times real time, 0 for flat out. paced_s: after so many seconds of signal, go on flat out.
    """
    per_sample = 0.0 if speed == 0 else 1.0 / (float(rate_hz) * speed)
    last = float("inf") if paced_s is None else paced_s * float(rate_hz)
    joined = bytearray()
    end_s = 0.0
    for burst in bursts:
        if per_sample and burst.samples <= last:
            end_s = burst.samples * per_sample
            yield end_s, burst.data
            continue
        joined += burst.data
        if len(joined) >= _FLAT_OUT_BYTES:
            yield end_s, bytes(joined)
            joined.clear()
    if joined:
        yield end_s, bytes(joined)


class PtyDevice:
    """A device on a pseudo-terminal: a context manager that opens the node `path` and sends from a thread.

    It starts when a reader has opened and set up the node, waits while nobody reads, blocks rather than lose
    bytes where the reader is slow, answers REQUEST_HELLO, and closes the node at the end once all was read.

    timed: what to send and when, see `pace`. hello: the answer to REQUEST_HELLO. link: a symbolic link to
    make to the node; it is replaced where it is a link already, else PortError is raised.
    """

    def __init__(
        self, timed: Iterable[tuple[float, bytes]], hello: Hello | None = None, link: Path | None = None
    ) -> None:
        self._timed = timed
        self._greeting = b"" if hello is None else encode(hello)
        self._link = link
        self._stop, self._done = threading.Event(), threading.Event()
        self._requests = Decoder()
        self._thread = threading.Thread(target=self._run, name="simulated sensor")
        self._error: EkdError | None = None
        self.path = ""
        self.sent_bytes = 0

    def __enter__(self) -> "PtyDevice":
        self._master, slave = os.openpty()
        self.path = os.ttyname(slave)
        tty.setraw(slave)
        mode = termios.tcgetattr(slave)
        mode[4] = mode[5] = _UNCONFIGURED_BAUD
        termios.tcsetattr(slave, termios.TCSANOW, mode)
        os.close(slave)
        os.set_blocking(self._master, False)
        if self._link is not None:
            try:
                _relink(self._link, self.path)
            except PortError:
                os.close(self._master)
                raise
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until everything was sent and read and the node is closed; False where that takes longer.

        Raises the EkdError that ended the readings, if one did.
        """
        # Not Thread.join: when Ctrl-C interrupts that, Python 3.11 takes the running thread for ended.
        ended = self._done.wait(timeout_s)
        if self._error is not None:
            raise self._error
        return ended

    def unplug(self) -> None:
        """Close the node now, whatever is left to send."""
        self._stop.set()
        self._done.wait()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._wait_for(self._read_by_someone)
            self._wait_for(self._configured, _CONFIGURED_S)
            # pyserial flushes its input right after it has configured the port.
            self._stop.wait(0.05)
            start = time.monotonic()
            for due_s, data in self._timed:
                while (left_s := start + due_s - time.monotonic()) > 0 and not self._stop.is_set():
                    if not self._write(self._answer(min(left_s, _POLL_S))):
                        return
                if not self._write(self._answer(0) + data):
                    return
            self._drain()
        except EkdError as error:
            self._error = error
        finally:
            if self._link is not None and self._link.is_symlink() and str(self._link.readlink()) == self.path:
                self._link.unlink()
            os.close(self._master)
            self._done.set()

    def _wait_for(self, ready: Callable[[], bool], timeout_s: float = float("inf")) -> None:
        end = time.monotonic() + timeout_s
        while not ready() and time.monotonic() < end and not self._stop.wait(_POLL_S):
            pass

    def _events(self, wanted: int, timeout_s: float) -> int:
        poll = select.poll()
        poll.register(self._master, wanted)
        return sum(event for _, event in poll.poll(timeout_s * 1e3))

    def _read_by_someone(self) -> bool:
        return not self._events(0, 0) & select.POLLHUP

    def _configured(self) -> bool:
        return bool(termios.tcgetattr(self._master)[5] != _UNCONFIGURED_BAUD)

    def _write(self, data: bytes) -> bool:
        """Send all of it, however long the reader takes; False once told to stop."""
        left = memoryview(data)
        while left:
            if self._stop.is_set():
                return False
            if not self._read_by_someone():
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

    def _answer(self, timeout_s: float) -> bytes:
        """Spend that time listening to the host; the HELLO to send if it asked for one."""
        events = self._events(select.POLLIN, timeout_s)
        if events & select.POLLIN and not events & select.POLLHUP:
            try:
                heard = os.read(self._master, 4096)
            except OSError as error:
                if error.errno not in (errno.EIO, errno.EAGAIN):
                    raise
                return b""
            if any(isinstance(frame, RequestHello) for frame in self._requests.feed(heard)):
                return self._greeting
        elif events & select.POLLHUP:
            self._stop.wait(timeout_s)
        return b""

    def _drain(self) -> None:
        """Wait until the reader has taken everything, has left, or this device is told to stop."""
        empty = 0
        while empty < 5 and self._read_by_someone() and not self._stop.wait(_POLL_S / 2):
            slave = os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            try:
                waiting = int.from_bytes(ioctl(slave, termios.FIONREAD, bytes(4)), "little")
            finally:
                os.close(slave)
            empty = empty + 1 if waiting == 0 else 0


def _relink(link: Path, target: str) -> None:
    if link.exists() and not link.is_symlink():
        raise PortError(f"{link} exists and is no link: choose another name for --link")
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    except OSError as error:
        raise PortError(f"cannot make the link {link}: {error.strerror}; choose another place for --link") from error
