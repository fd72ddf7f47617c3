"""sim:// for pyserial: a simulated skin-conductance sensor that sends frames or lines of synthetic readings.

sim://?rate=128&seed=1&speed=1&format=ekd&seconds=60
  rate     samples a second, such as 128, 19.5 or 1000/3 (128)
  seed     another seed is another person (1)
  speed    times real time; 0 sends as fast as it is read (1)
  format   ekd: frame protocol v1; csv: lines in microsiemens (ekd)
  seconds  of signal, after which `at_end` is true and reads return nothing (without end)
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

from firmware_bridge.frame import Decoder, RequestHello, encode
from firmware_bridge.simulate import frame_bursts, line_bursts, linear_hello, pace, to_counts
from firmware_bridge.synthesis import simulated_blocks

__all__ = ["Serial"]

_WAITING_BYTES = 1 << 16
_BLOCK_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class _Simulation:
    rate_hz: Fraction = Fraction(128)
    seed: int = 1
    speed: float = 1.0
    format: str = "ekd"
    seconds: float | None = None


class Serial(SerialBase):  # type: ignore[misc]
    """A port in pyserial's sense; its bytes are made while they are read, when their time has come."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._timed: Iterator[tuple[float, bytes]] = iter(())
        self._due_s, self._next = 0.0, b""
        self._ready = bytearray()
        self._started = 0.0
        self._greeting = b""
        self._requests = Decoder()
        self.at_end = False
        super().__init__(*args, **kwargs)

    def open(self) -> None:
        """Start the sensor. Raises ValueError where the URL's options make no sense."""
        simulation = _parse(self.port)
        self._timed, self._greeting = _bytes_of(simulation)
        self._ready.clear()
        self._requests = Decoder()
        self.at_end = False
        self._started = time.monotonic()
        self._advance()
        self.is_open = True

    def close(self) -> None:
        """Stop the sensor."""
        self.is_open = False

    @property
    def in_waiting(self) -> int:
        """Bytes that have arrived."""
        self._receive()
        return len(self._ready)

    def read(self, size: int = 1) -> bytes:
        """Up to `size` bytes, waiting for them as long as the port's timeout says."""
        end = float("inf") if self._timeout is None else time.monotonic() + self._timeout
        while True:
            self._receive()
            now = time.monotonic()
            if len(self._ready) >= size or self.at_end or now >= end:
                break
            time.sleep(max(0.0, min(end, self._started + self._due_s) - now))
        data = bytes(self._ready[:size])
        del self._ready[:size]
        return data

    def write(self, data: bytes) -> int:
        """Listen to the host: REQUEST_HELLO is answered."""
        if not self.is_open:
            raise PortNotOpenError
        if any(isinstance(frame, RequestHello) for frame in self._requests.feed(bytes(data))):
            self._ready += self._greeting
        return len(data)

    def reset_input_buffer(self) -> None:
        """Discard what has arrived."""
        self._ready.clear()

    def _advance(self) -> None:
        self._due_s, self._next = next(self._timed, (float("inf"), b""))

    def _receive(self) -> None:
        """Move what is due to the input buffer; `at_end` once there will be no more."""
        if not self.is_open:
            raise PortNotOpenError
        elapsed_s = time.monotonic() - self._started
        while self._due_s <= elapsed_s and len(self._ready) < _WAITING_BYTES:
            self._ready += self._next
            self._advance()
        self.at_end = self._due_s == float("inf") and not self._ready

    def _reconfigure_port(self, force_update: bool = False) -> None:
        """No line to configure."""

    def _update_rts_state(self) -> None:
        """No modem line."""

    def _update_dtr_state(self) -> None:
        """No modem line."""


def _parse(url: str) -> _Simulation:
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    if parts.netloc or parts.path.strip("/") or given.keys() - {"rate", "seed", "speed", "format", "seconds"}:
        raise ValueError("write sim:// or sim://?rate=128&seed=1&speed=1&format=ekd&seconds=60")
    default = _Simulation()
    try:
        simulation = _Simulation(
            Fraction(given.get("rate", default.rate_hz)),
            int(given.get("seed", default.seed)),
            float(given.get("speed", default.speed)),
            given.get("format", default.format),
            float(given["seconds"]) if "seconds" in given else None,
        )
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"an option of sim:// is no number ({error})") from None
    if not 0 < simulation.rate_hz <= 100_000 or simulation.rate_hz.denominator >= 1 << 32:
        raise ValueError("rate of sim:// must be above 0 and at most 100000 Hz")
    if not 0 <= simulation.speed < float("inf") or simulation.seed < 0:
        raise ValueError("speed and seed of sim:// must not be negative")
    if simulation.format not in ("ekd", "csv"):
        raise ValueError("format of sim:// must be ekd or csv")
    if simulation.seconds is not None and not 0 < simulation.seconds < float("inf"):
        raise ValueError("seconds of sim:// must be above 0")
    return simulation


def _bytes_of(simulation: _Simulation) -> tuple[Iterator[tuple[float, bytes]], bytes]:
    """What the sensor sends and when, and its answer to REQUEST_HELLO."""
    rate = simulation.rate_hz
    values = simulated_blocks(float(rate), simulation.seed, _BLOCK_SAMPLES)
    if simulation.seconds is not None:
        values = _first(values, round(simulation.seconds * float(rate)))
    if simulation.format == "csv":
        return pace(line_bursts(values, rate), rate, simulation.speed), b""
    hello = linear_hello(rate, boot_nonce=simulation.seed & 0xFFFFFFFF)
    counts = (to_counts(block, hello) for block in values)
    return pace(frame_bursts(counts, hello), rate, simulation.speed), encode(hello)


def _first(blocks: Iterator[NDArray[np.float64]], samples: int) -> Iterator[NDArray[np.float64]]:
    whole, rest = divmod(samples, _BLOCK_SAMPLES)
    yield from islice(blocks, whole)
    if rest:
        yield next(blocks)[:rest]
