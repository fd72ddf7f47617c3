"""An emulated device that sends given bytes at given times, such as the recorded bytes of another device."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

from firmware_bridge.devices.ekd.frame import Decoder, Hello, RequestHello, encode
from firmware_bridge.devices.emulator import Burst

__all__ = ["ScriptedEmulator"]


class ScriptedEmulator:
    """See `Emulator`.

    Args:
        bursts: the bytes to send and their times in samples.
        rate_hz: sampling rate of the times.
        hello: the answer to REQUEST_HELLO; None for no answer.
        baud: baud rate of the serial link.
    """

    def __init__(
        self,
        bursts: Iterable[Burst],
        rate_hz: Fraction = Fraction(1000),
        hello: Hello | None = None,
        baud: int = 115200,
    ) -> None:
        self._bursts = iter(bursts)
        self._answer = b"" if hello is None else encode(hello)
        self._requests = Decoder()
        self.rate_hz = rate_hz
        self.baud = baud
        self.run = 1

    def bursts(self) -> Iterator[Burst]:
        """See `Emulator`."""
        return self._bursts

    def receive(self, data: bytes) -> bytes:
        """See `Emulator`."""
        return self._answer if any(isinstance(frame, RequestHello) for frame in self._requests.feed(data)) else b""

    def reset(self) -> None:
        """See `Emulator`."""
        self.run += 1
