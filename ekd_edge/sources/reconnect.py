"""A port that is reopened automatically after the sensor was unplugged, renamed or reset."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep, time

from ekd_edge.errors import FormatError, PortError
from ekd_edge.signal.blocks import BaselineLookup, SampleBlock
from ekd_edge.sources.closable import Closable
from ekd_edge.sources.rate_correction import RateCorrection
from ekd_edge.sources.sensor import Sensor, SensorOptions, Stop, open_sensor
from firmware_bridge.devices.stream import StreamCounts
from firmware_bridge.serial_port.clock import ClockRate
from firmware_bridge.serial_port.device import as_function
from firmware_bridge.serial_port.ports import find_port

__all__ = ["Backoff", "Connection", "ConnectionState", "ReconnectPolicy"]


_NODE_POLL_S = 0.25
_MIN_BACKOFF_S, _MAX_BACKOFF_S = 0.5, 60.0
_UNPACED_S = 30.0
"""After an opening, samples are read without pauses for this time, so that the device's clock is measured soon."""
_MAX_SILENCE_S = 60.0
"""A port that is silent for longer is reopened, which resets many devices."""


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
    unknown. message: the last notification.
    """

    connected: bool
    about: str
    since_s: float
    openings: int
    rate_hz: float | None
    clock_ppm: float | None
    message: str


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

    Each opening of the port starts a new segment. While a device is missing, its node is checked four times a second:
    the port is reopened as soon as the device is back, however long the pause between attempts is. An error before the
    first sample is the user's mistake and is raised, unless the policy says to wait.

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
        self._baseline_lookup = baseline_lookup
        self._sensor: Sensor | None = None
        self._past = StreamCounts()
        self._segment = -1
        self._message = ""
        self._since_s = time()
        self._rate_hz: float | None = None
        self._clock: ClockRate | None = None
        self.openings = 0
        if not self._policy.wait:
            self._sensor = open_sensor(find_port(port), options)
            self.openings = 1

    def close(self) -> None:
        """Close the port."""
        sensor = self._sensor
        if sensor is not None:
            past = replace(self.counts, status=None)
            self._sensor = None
            self._past, self._rate_hz, self._clock = past, None, None
            sensor.close()

    @property
    def port(self) -> str:
        """The port as it was named."""
        return self._port

    @property
    def state(self) -> ConnectionState:
        """The present state; safe from any thread."""
        sensor = self._sensor
        if sensor is None:
            return ConnectionState(False, "", self._since_s, self.openings, None, None, self._message)
        ppm = None if self._clock is None else self._clock.ppm
        return ConnectionState(True, sensor.about, self._since_s, self.openings, self._rate_hz, ppm, self._message)

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

    def blocks(self, stop: Stop | None = None, pause_s: Callable[[], float] | None = None) -> Iterator[SampleBlock]:
        """Blocks in microsiemens as they arrive, until `stop` is set or a simulated sensor ends.

        Args:
            stop: an Event, or a function that returns whether to stop.
            pause_s: how long reading may pause now, see `Device.blocks`.

        Raises:
            EkdError: the port cannot be used at all.
            PortError: the device was unplugged and the policy says not to reconnect.
        """
        stopped = as_function(stop)
        back_off = Backoff()
        while not stopped():
            if self._sensor is None and not self._open(back_off, stopped):
                continue
            assert self._sensor is not None
            try:
                yield from self._read(self._sensor, stopped, back_off, pause_s)
                return
            except (PortError, FormatError) as error:
                self.close()
                self._since_s = time()
                if not self._policy.reconnect or (self._segment < 0 and not self._policy.wait):
                    self._message = str(error)
                    raise
                self._notify_once(f"{error}; waiting for it")
                self._wait(back_off, stopped)

    def _read(
        self,
        sensor: Sensor,
        stopped: Callable[[], bool],
        back_off: Backoff,
        pause_s: Callable[[], float] | None,
    ) -> Iterator[SampleBlock]:
        prompt_until_s = monotonic() + _UNPACED_S

        def pause() -> float:
            return 0.0 if pause_s is None or monotonic() < prompt_until_s else pause_s()

        base, first, rate_correction, baseline = self._segment + 1, None, RateCorrection(), None
        for block in sensor.blocks(stopped, self._notify, _MAX_SILENCE_S, pause):
            if first is None:
                first = block.segment
                back_off.reset()
                self._since_s = time()
                self._notify_once(f"reading {sensor.about} at {float(block.rate_hz):.6g} Hz")
                baseline = None if self._baseline_lookup is None else self._baseline_lookup(sensor.identity)
            self._clock = sensor.clock
            rate_hz = rate_correction(block.rate_hz, self._clock)
            if rate_hz != block.rate_hz:
                self._notify_once(
                    f"{sensor.about} sends {float(rate_hz):.5g} samples a second, not {float(block.rate_hz):.6g}"
                )
            self._segment = base + block.segment - first
            self._rate_hz = float(rate_hz)
            yield replace(block, segment=self._segment, rate_hz=rate_hz, baseline=baseline)

    def _open(self, back_off: Backoff, stopped: Callable[[], bool]) -> bool:
        try:
            self._sensor = open_sensor(find_port(self._port), self._options)
        except PortError as error:
            self._notify_once(f"{error}; waiting for it")
            self._wait(back_off, stopped)
            return False
        self.openings += 1
        return True

    def _wait(self, back_off: Backoff, stopped: Callable[[], bool]) -> None:
        """Wait until the next attempt is due or the device node has changed."""
        before = self._node()
        end = monotonic() + back_off.pause_s()
        while monotonic() < end and not stopped():
            sleep(min(_NODE_POLL_S, max(0.0, end - monotonic())))
            now = self._node()
            if now is not None and now != before:
                return

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
