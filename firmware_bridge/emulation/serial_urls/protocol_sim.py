"""The pyserial URL handler of sim://, an emulated sensor that measures a simulated person.

sim://?rate=128&seed=1&speed=1&format=ekd&seconds=60
  rate     sampling rate of the person's signal in Hz, such as 128, 19.5 or 1000/3 (default: 128)
  seed     seed of the simulated person (default: 1)
  speed    playback speed relative to real time; 0 sends as fast as the reader reads (default: 1)
  format   the device format: ekd, csv, grove, shimmer3, bitalino or an installed format (default: ekd)
  seconds  duration of the signal, after which `at_end` is True and reads return no bytes (default: endless)
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from numpy.typing import NDArray
from serial import PortNotOpenError, SerialBase

from firmware_bridge.devices.ekd.emulator import EkdEmulator, linear_hello
from firmware_bridge.devices.registry import find_format
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.emulation.player import Player
from firmware_bridge.errors import ConfigError
from firmware_bridge.rates import exact_rate
from firmware_bridge.suggestions import did_you_mean
from firmware_bridge.synthesis import simulated_blocks

__all__ = ["Serial"]

_WAITING_BYTES = 1 << 16
_KEYS = {"rate", "seed", "speed", "format", "seconds"}
_USAGE = "write sim:// or sim://?rate=128&seed=1&speed=1&format=ekd&seconds=60"
_BLOCK_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class _Simulation:
    rate_hz: Fraction = Fraction(128)
    seed: int = 1
    speed: float = 1.0
    format: str = "ekd"
    seconds: float | None = None


class Serial(SerialBase):  # type: ignore[misc]
    """A pyserial port whose bytes are generated when they are due and read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._player: Player | None = None
        self._ready = bytearray()
        self._started = 0.0
        self.at_end = False
        super().__init__(*args, **kwargs)

    def open(self) -> None:
        """Start the sensor. Raises ValueError if an option of the URL is invalid."""
        self._player = _player(_parse(self.port))
        self._ready.clear()
        self.at_end = False
        self._started = time.monotonic()
        self.is_open = True

    def close(self) -> None:
        """Stop the sensor."""
        self.is_open = False

    @property
    def in_waiting(self) -> int:
        """The number of bytes that have arrived."""
        self._receive()
        return len(self._ready)

    def read(self, size: int = 1) -> bytes:
        """Read up to `size` bytes, waiting at most the port's timeout."""
        end = float("inf") if self._timeout is None else time.monotonic() + self._timeout
        while True:
            self._receive()
            now = time.monotonic()
            if len(self._ready) >= size or self.at_end or now >= end:
                break
            assert self._player is not None
            time.sleep(max(0.0, min(end, self._started + self._player.due_s) - now))
        data = bytes(self._ready[:size])
        del self._ready[:size]
        return data

    def write(self, data: bytes) -> int:
        """Send bytes to the sensor."""
        if not self.is_open or self._player is None:
            raise PortNotOpenError
        self._player.receive(bytes(data), time.monotonic() - self._started)
        return len(data)

    def reset_input_buffer(self) -> None:
        """Discard the bytes that have arrived."""
        self._ready.clear()

    def _receive(self) -> None:
        """Move the due bytes to the input buffer, and set `at_end` after the last ones."""
        if not self.is_open or self._player is None:
            raise PortNotOpenError
        elapsed_s = time.monotonic() - self._started
        while len(self._ready) < _WAITING_BYTES and (data := self._player.take(elapsed_s)):
            self._ready += data
        self.at_end = self._player.at_end and not self._ready

    def _reconfigure_port(self, force_update: bool = False) -> None:
        """Do nothing: there is no line to configure."""

    def _update_rts_state(self) -> None:
        """Do nothing: there is no modem line."""

    def _update_dtr_state(self) -> None:
        """Do nothing: there is no modem line."""


def _parse(url: str) -> _Simulation:
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    unknown = sorted(given.keys() - _KEYS)
    if unknown:
        raise ValueError(f"unknown option {unknown[0]!r}: {_USAGE}{did_you_mean(unknown[0], sorted(_KEYS))}")
    if parts.netloc or parts.path.strip("/"):
        raise ValueError(_USAGE)
    default = _Simulation()
    try:
        simulation = _Simulation(
            exact_rate(given.get("rate", default.rate_hz), "rate of sim://"),
            int(given.get("seed", default.seed)),
            float(given.get("speed", default.speed)),
            given.get("format", default.format),
            float(given["seconds"]) if "seconds" in given else None,
        )
    except ConfigError as error:
        raise ValueError(str(error)) from None
    except ValueError as error:
        raise ValueError(f"an option of sim:// is not a number ({error})") from None
    if not 0 <= simulation.speed < float("inf") or simulation.seed < 0:
        raise ValueError("speed and seed of sim:// must not be negative")
    if simulation.seconds is not None and not 0 < simulation.seconds < float("inf"):
        raise ValueError("seconds of sim:// must be above 0")
    return simulation


def _player(simulation: _Simulation) -> Player:
    rate = simulation.rate_hz
    values = simulated_blocks(float(rate), simulation.seed, _BLOCK_SAMPLES)
    if simulation.seconds is not None:
        values = _first(values, round(simulation.seconds * float(rate)))
    waveform = Waveform(values, rate)
    if simulation.format == "ekd":
        hello = linear_hello(rate, boot_nonce=simulation.seed & 0xFFFFFFFF)
        return Player(EkdEmulator(waveform, hello), simulation.speed)
    try:
        return Player(find_format(simulation.format).emulate(waveform), simulation.speed)
    except ConfigError as error:
        raise ValueError(f"format of sim://: {error}") from error


def _first(blocks: Iterator[NDArray[np.float64]], samples: int) -> Iterator[NDArray[np.float64]]:
    whole, rest = divmod(samples, _BLOCK_SAMPLES)
    yield from islice(blocks, whole)
    if rest:
        yield next(blocks)[:rest]
