"""An emulated device's bytes in time: at its own rate, faster, or as fast as it is read, with faults."""

from collections.abc import Iterator, Sequence

import numpy as np

from firmware_bridge.devices.emulator import Burst, Emulator
from firmware_bridge.emulation.line_faults import Fault, damage

__all__ = ["Player"]

_AT_ONCE_BYTES = 1 << 15
_NEVER = float("inf")


class Player:
    """Plays an emulator on a clock that the caller reads; all times are seconds since the caller began.

    speed: times real time, 0 for as fast as it is read. paced_s: seconds of signal after which speed is 0.
    faults: see `firmware_bridge.emulation.line_faults`; their times are seconds of signal. stay: the device stays
    plugged in, silent, when the waveform is over.
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
        self._lasting: list[Fault] = []
        self._random = np.random.default_rng(seed)
        self._answers = b""
        self._bursts: Iterator[Burst] = iter(())
        self._next: Burst | None = None
        self._run = 0
        self._signal_s = self._run_began_s = 0.0
        self._base_s = self._base_signal_s = 0.0
        self._held_until_s = 0.0
        self._faster = 1.0
        self._over, self._stay = False, stay
        self.unplugged_s: float | None = None
        """How long the node is to be away, from the moment that a fault says so; the caller sets it back to None."""

    @property
    def at_end(self) -> bool:
        """Whether the waveform is over and everything was taken."""
        return self._over and not self._stay and not self._answers

    @property
    def due_s(self) -> float:
        """When there will be more to take; infinite while the device is silent."""
        if self._answers:
            return 0.0
        return _NEVER if self._next is None else max(self._due(self._next), self._held_until_s)

    def hear(self, data: bytes, now_s: float) -> None:
        """Bytes from the host."""
        self._answers += self.emulator.hear(data)
        self._follow(now_s)

    def take(self, now_s: float) -> bytes:
        """What the device has sent by then."""
        self._follow(now_s)
        taken = bytearray()
        if now_s >= self._held_until_s:
            taken += self._answers
            self._answers = b""
            while self._next is not None and len(taken) < _AT_ONCE_BYTES and self._due(self._next) <= now_s:
                if self._pending and self._moment(self._next) >= self._pending[0].at_s:
                    self._strike(self._pending.pop(0), now_s)
                    if self.unplugged_s is not None or now_s < self._held_until_s:
                        break
                    continue
                taken += self._next.data
                self._advance()
        return damage(bytes(taken), self._lasting, self._random) if self._lasting else bytes(taken)

    def plug_in(self, now_s: float) -> None:
        """The device is powered on again: it restarts, with the waveform where it was."""
        self.unplugged_s = None
        self.emulator.reset()
        self._follow(now_s)

    def _follow(self, now_s: float) -> None:
        """Start, or end, the bursts as the emulator starts and ends its runs."""
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
            self._signal_s = self._moment(self._next)
        self._next = next(self._bursts, None)
        self._over = self._next is None

    def _moment(self, burst: Burst) -> float:
        return self._run_began_s + burst.samples / float(self.emulator.rate_hz)

    def _due(self, burst: Burst) -> float:
        if self._speed == 0:
            return self._base_s
        signal_s = min(self._moment(burst), max(self._paced_s, self._base_signal_s))
        return self._base_s + (signal_s - self._base_signal_s) / (self._speed * self._faster)

    def _rebase(self, now_s: float) -> None:
        self._base_s, self._base_signal_s = now_s, self._signal_s

    def _strike(self, fault: Fault, now_s: float) -> None:
        match fault.kind:
            case "reset":
                self.emulator.reset()
                self._follow(now_s)
            case "unplug":
                self.unplugged_s = fault.value
            case "stall":
                self._held_until_s = now_s + fault.value
            case "ppm":
                self._rebase(now_s)
                self._faster = 1 + fault.value * 1e-6
            case "flip" | "drop":
                self._lasting.append(fault)
