"""Playback of an emulated device's bytes in real time, at another speed or as fast as they are read, with faults."""

from collections.abc import Iterator, Sequence

import numpy as np

from firmware_bridge.devices.emulator import Burst, Emulator
from firmware_bridge.emulation.line_faults import Fault, damage

__all__ = ["Player"]

_AT_ONCE_BYTES = 1 << 15
_NEVER = float("inf")


class Player:
    """Plays an emulator by the caller's clock. All times are seconds since the caller's start.

    Args:
        emulator: the emulated device.
        speed: playback speed relative to real time; 0 for as fast as the bytes are read.
        paced_s: seconds of signal after which speed is 0; None for never.
        faults: see `firmware_bridge.emulation.line_faults`; their times are seconds of signal.
        seed: seed of the random faults.
        stay: whether the device stays plugged in and silent after the end of the waveform.
    """

    def __init__(
        self,
        emulator: Emulator,
        speed: float = 1.0,
        paced_s: float | None = None,
        faults: Sequence[Fault] = (),
        seed: int = 0,
        stay: bool = False,
    ) -> None:
        self.emulator = emulator
        self._speed, self._paced_s = speed, _NEVER if paced_s is None else paced_s
        self._pending = sorted(faults, key=lambda fault: fault.at_s)
        self._byte_faults: list[Fault] = []
        self._random = np.random.default_rng(seed)
        self._answers = b""
        self._bursts: Iterator[Burst] = iter(())
        self._next: Burst | None = None
        self._run = 0
        self._signal_s = self._run_began_s = 0.0
        self._base_s = self._base_signal_s = 0.0
        self._stalled_until_s = 0.0
        self._clock_ratio = 1.0
        self._ended, self._stay = False, stay
        self.unplugged_s: float | None = None
        """Seconds for which the device is to be unplugged, set by a fault; `plug_in` resets it to None."""

    @property
    def at_end(self) -> bool:
        """Whether the waveform has ended and all bytes were taken."""
        return self._ended and not self._stay and not self._answers

    @property
    def due_s(self) -> float:
        """The time at which more bytes are due; infinity while the device is silent."""
        if self._answers:
            return 0.0
        return _NEVER if self._next is None else max(self._due(self._next), self._stalled_until_s)

    def receive(self, data: bytes, now_s: float) -> None:
        """Pass bytes from the host to the device."""
        self._answers += self.emulator.receive(data)
        self._update_run(now_s)

    def take(self, now_s: float) -> bytes:
        """The bytes that the device has sent up to this time."""
        self._update_run(now_s)
        taken = bytearray()
        if now_s >= self._stalled_until_s:
            taken += self._answers
            self._answers = b""
            while self._next is not None and len(taken) < _AT_ONCE_BYTES and self._due(self._next) <= now_s:
                if self._pending and self._time_of(self._next) >= self._pending[0].at_s:
                    self._apply_fault(self._pending.pop(0), now_s)
                    if self.unplugged_s is not None or now_s < self._stalled_until_s:
                        break
                    continue
                taken += self._next.data
                self._advance()
        return damage(bytes(taken), self._byte_faults, self._random) if self._byte_faults else bytes(taken)

    def plug_in(self, now_s: float) -> None:
        """Restart the device after it was unplugged; the waveform continues."""
        self.unplugged_s = None
        self.emulator.reset()
        self._update_run(now_s)

    def _update_run(self, now_s: float) -> None:
        """Start or end the bursts when the emulator has started or ended a run."""
        if self.emulator.run == self._run:
            return
        self._run = self.emulator.run
        self._run_began_s = self._signal_s
        self._rebase(now_s)
        self._bursts = self.emulator.bursts() if self._run else iter(())
        self._next = None
        if self._run:
            self._advance()

    def _advance(self) -> None:
        if self._next is not None:
            self._signal_s = self._time_of(self._next)
        self._next = next(self._bursts, None)
        self._ended = self._next is None

    def _time_of(self, burst: Burst) -> float:
        return self._run_began_s + burst.samples / float(self.emulator.rate_hz)

    def _due(self, burst: Burst) -> float:
        if self._speed == 0:
            return self._base_s
        signal_s = min(self._time_of(burst), max(self._paced_s, self._base_signal_s))
        return self._base_s + (signal_s - self._base_signal_s) / (self._speed * self._clock_ratio)

    def _rebase(self, now_s: float) -> None:
        self._base_s, self._base_signal_s = now_s, self._signal_s

    def _apply_fault(self, fault: Fault, now_s: float) -> None:
        match fault.kind:
            case "reset":
                self.emulator.reset()
                self._update_run(now_s)
            case "unplug":
                self.unplugged_s = fault.value
            case "stall":
                self._stalled_until_s = now_s + fault.value
            case "ppm":
                self._rebase(now_s)
                self._clock_ratio = 1 + fault.value * 1e-6
            case "flip" | "drop":
                self._byte_faults.append(fault)
