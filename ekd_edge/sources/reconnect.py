"""A port that is reopened automatically after the sensor was unplugged, renamed or reset."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep, time

from ekd_edge.errors import EkdError, FormatError, PortError, SignalError
from ekd_edge.signal.blocks import BaselineLookup, SampleBlock
from ekd_edge.sources.closable import Closable
from ekd_edge.sources.opening import Opening
from ekd_edge.sources.placement import Placement
from ekd_edge.sources.sensor import Sensor, SensorOptions, Stop, open_sensor
from firmware_bridge.devices.stream import StreamCounts
from firmware_bridge.serial_port.device import as_function
from firmware_bridge.serial_port.ports import find_port

__all__ = ["Backoff", "Connection", "ConnectionState", "ReconnectPolicy"]


_NODE_POLL_S, _OPENING_POLL_S = 0.25, 0.05
_MIN_BACKOFF_S, _MAX_BACKOFF_S = 0.5, 60.0
_MAX_SILENCE_S = 60.0
"""A port that sends no samples for longer is reopened, which resets many devices."""
_WAIT_S = 0.1


@dataclass(frozen=True, slots=True)
class ReconnectPolicy:
    """reconnect: reopen the port after the device was unplugged. wait: start even if the device is not there yet."""

    reconnect: bool = True
    wait: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """The state of a connection.

    connected, about: whether the port is open, and to which device. since_s: of the last change, in seconds since 1970.
    openings: how often the port was opened. rate_hz, clock_ppm: of the samples and the device's clock; None while
    unknown. message: the last notification. problem: a lasting fault, such as a rate that does not fit the arrival of
    the samples, or why the port was reopened until samples come from it again; None where there is no fault.
    """

    connected: bool
    about: str
    since_s: float
    openings: int
    rate_hz: float | None
    clock_ppm: float | None
    message: str
    problem: str | None = None


class Backoff:
    """Exponential backoff with jitter: pauses double up to a minute, each shortened at random by up to a half."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._next_s = _MIN_BACKOFF_S

    def pause_s(self) -> float:
        """Seconds to wait before the next attempt."""
        pause_s, self._next_s = self._next_s, min(2 * self._next_s, _MAX_BACKOFF_S)
        return pause_s * (0.5 + 0.5 * self._chance())

    def reset(self) -> None:
        """Start again with the shortest pause, after an attempt that succeeded."""
        self._next_s = _MIN_BACKOFF_S


class Connection(Closable):
    """The blocks of one port through unplugging, renaming and resets: a context manager.

    `step` never waits: it is called when bytes have arrived, and at `next_s`. Each opening of the port starts a new
    segment. While a device is missing, its node is checked four times a second: the port is reopened as soon as the
    device is back, however long the pause between attempts is. Opening and closing, which can block, run in a thread.
    An error before the first sample is the user's mistake and is raised, unless the policy says to wait.

    Args:
        port: a device node, "auto", usb:VID:PID[:SERIAL] or a pyserial URL, see `find_port`.
        options: of the sensor.
        notify: called with a message at each change of state, and with those of `Device.blocks`.
        policy: whether to wait and to reconnect.
        baseline_lookup: the wearer's baseline by the sensor's identity.

    Raises:
        EkdError: the port cannot be opened, unless the policy says to wait for it.
    """

    def __init__(
        self,
        port: str,
        options: SensorOptions,
        notify: Callable[[str], None],
        policy: ReconnectPolicy | None = None,
        baseline_lookup: BaselineLookup | None = None,
    ) -> None:
        self._port, self._options, self._notify = port, options, notify
        self._policy = policy or ReconnectPolicy()
        self.baseline_lookup = baseline_lookup
        self._sensor: Sensor | None = None
        self._opening: Opening | None = None
        self._placement = Placement(0)
        self._backoff = Backoff()
        self._retry_s = -math.inf
        self._node_before: tuple[int, int, int] | None = None
        self._past = StreamCounts()
        self._message = ""
        self._lost: str | None = None
        self._since_s = time()
        self.openings = 0
        if not self._policy.wait:
            self._use(open_sensor(find_port(port), options))

    def close(self) -> None:
        """Close the port."""
        if (sensor := self._forget()) is not None:
            sensor.close()
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.abandon()

    @property
    def port(self) -> str:
        """The port as it was named."""
        return self._port

    @property
    def descriptor(self) -> int | None:
        """The open port's file descriptor, for a selector; None while it is closed, and for a port without one."""
        return None if self._sensor is None else self._sensor.descriptor

    @property
    def connected(self) -> bool:
        """Whether the port is open."""
        return self._sensor is not None

    @property
    def ended(self) -> bool:
        """Whether a simulated sensor has delivered its last samples."""
        return self._sensor is not None and self._sensor.ended

    @property
    def received_bytes(self) -> int:
        """Bytes received since the port was opened."""
        return 0 if self._sensor is None else self._sensor.received_bytes

    @property
    def next_s(self) -> float:
        """When `step` must be called again while the port is closed, on the clock of `monotonic`."""
        return monotonic() + (_OPENING_POLL_S if self._opening is not None else _NODE_POLL_S)

    @property
    def state(self) -> ConnectionState:
        """The present state; safe from any thread."""
        sensor, placement = self._sensor, self._placement
        if sensor is None:
            return ConnectionState(False, "", self._since_s, self.openings, None, None, self._message)
        ppm = None if placement.clock is None else placement.clock.ppm
        rate_hz = None if placement.rate_hz is None else float(placement.rate_hz)
        problem = sensor.problem or self._lost
        return ConnectionState(True, sensor.about, self._since_s, self.openings, rate_hz, ppm, self._message, problem)

    @property
    def counts(self) -> StreamCounts:
        """Counts of samples over all openings; safe from any thread."""
        past, sensor = self._past, self._sensor
        now = StreamCounts() if sensor is None else sensor.counts
        return StreamCounts(
            past.samples + now.samples,
            past.dropped + now.dropped,
            past.rejected + now.rejected,
            past.discarded_bytes + now.discarded_bytes,
            now.status,
        )

    def blocks(self, stop: Stop | None = None) -> Iterator[SampleBlock]:
        """Blocks in microsiemens as they arrive, until `stop` is set or a simulated sensor ends.

        stop: an Event, or a function that returns whether to stop. Raises as `step`.
        """
        stopped = as_function(stop)
        while not stopped() and not self.ended:
            blocks = self.step()
            yield from blocks
            if not blocks:
                self._pause()

    def step(self) -> list[SampleBlock]:
        """The blocks of the bytes that have arrived, without waiting; none while the device is missing.

        Raises:
            EkdError: the port cannot be used at all.
            PortError: the device was unplugged and the policy says not to reconnect.
        """
        if self._sensor is None and not self._reopen():
            return []
        assert self._sensor is not None
        try:
            blocks = self._sensor.step(self._notify, _MAX_SILENCE_S)
        except (PortError, FormatError, SignalError) as error:
            self._lose(error)
            return []
        return [self._placed(block) for block in blocks]

    def _placed(self, block: SampleBlock) -> SampleBlock:
        sensor = self._sensor
        assert sensor is not None
        if not self._placement.began:
            self._backoff.reset()
            self._since_s, self._lost = time(), None
            self._notify_once(f"reading {sensor.about} at {float(block.rate_hz):.6g} Hz")
            if self.baseline_lookup is not None:
                self._placement.baseline = self.baseline_lookup(sensor.identity)
        placed = self._placement(block, sensor.clock, sensor.time_of)
        if self._placement.corrected:
            self._notify_once(
                f"{sensor.about} sends {float(placed.rate_hz):.5g} samples a second, not {float(block.rate_hz):.6g}"
            )
        return placed if sensor.problem is None else replace(placed, fault=sensor.problem)

    def _use(self, sensor: Sensor) -> None:
        self._sensor = sensor
        self._placement = Placement(self._placement.next_segment)
        self.openings += 1

    def _forget(self) -> Sensor | None:
        """Count the samples of the open sensor and return it, to be closed."""
        sensor = self._sensor
        if sensor is not None:
            self._past, self._sensor = replace(self.counts, status=None), None
        return sensor

    def _lose(self, error: EkdError) -> None:
        """Close the port and wait for the device, or raise the error where the policy says so."""
        first = self._placement.next_segment == 0
        sensor = self._forget()
        assert sensor is not None
        self._since_s = time()
        if not self._policy.reconnect or (first and not self._policy.wait):
            sensor.close()
            self._message = str(error)
            raise error
        self._lost = str(error)
        self._notify_once(f"{error}; waiting for it")
        self._opening = Opening(sensor.close, name=f"closing {self._port}")
        self._wait_for_node()

    def _reopen(self) -> bool:
        """Take the steps towards an open port; return whether it is open."""
        if self._opening is not None:
            if not self._opening.done:
                return False
            opening, self._opening = self._opening, None
            try:
                sensor = opening.result()
            except PortError as error:
                self._notify_once(f"{error}; waiting for it")
                self._wait_for_node()
                return False
            if sensor is not None:
                self._use(sensor)
                return True
        now_s, node = monotonic(), self._node()
        if now_s < self._retry_s and (node is None or node == self._node_before):
            return False
        self._opening = Opening(lambda: open_sensor(find_port(self._port), self._options), name=f"opening {self._port}")
        return False

    def _wait_for_node(self) -> None:
        """Make the next attempt when the pause is over or the device node has changed."""
        self._node_before = self._node()
        self._retry_s = monotonic() + self._backoff.pause_s()

    def _pause(self) -> None:
        if self._sensor is not None:
            self._sensor.wait(_WAIT_S)
        else:
            sleep(_OPENING_POLL_S)

    def _node(self) -> tuple[int, int, int] | None:
        """Identity of the device node, which changes when the device is plugged in again; None while it is missing."""
        try:
            path = find_port(self._port)
            if "://" in path:
                return None
            node = Path(path).stat()
        except (PortError, OSError):
            return None
        return node.st_rdev, node.st_ino, node.st_ctime_ns

    def _notify_once(self, message: str) -> None:
        if message != self._message:
            self._message = message
            self._notify(message)
