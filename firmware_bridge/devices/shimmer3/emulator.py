"""An emulated Shimmer3 GSR+, which sends no packets until it is started and acknowledges every command."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from firmware_bridge.devices.emulator import Burst, in_pieces
from firmware_bridge.devices.shimmer3.decoder import GET_RATE, INQUIRY, SET_RATE, SET_SENSORS, START, STOP
from firmware_bridge.devices.shimmer3.packets import CLOCK_HZ, GSR, from_microsiemens
from firmware_bridge.devices.waveform import Waveform, at_rate

__all__ = ["Shimmer3Emulator"]

_ACK = b"\xff"
_ARGUMENTS = {SET_RATE: 2, SET_SENSORS: 3}
_GSR_BIT = 0x04
_ACCELERATION = (0, 1, 2)
_BURSTS_PER_S = 32


class Shimmer3Emulator:
    """See `Emulator`. channels: the channels that it measures after power-on; all but GSR read zero."""

    baud = 115200

    def __init__(self, waveform: Waveform, channels: tuple[int, ...] = (GSR,)) -> None:
        self._values = waveform.microsiemens()
        self._waveform_hz = waveform.rate_hz
        self._ticks = round(CLOCK_HZ / waveform.rate_hz)
        self._channels = channels
        self._received = b""
        self.run = 0
        self._runs = 0

    @property
    def rate_hz(self) -> Fraction:
        """See `Emulator`."""
        return Fraction(CLOCK_HZ, self._ticks)

    def bursts(self) -> Iterator[Burst]:
        """See `Emulator`."""
        before = self._channels.index(GSR) * 2 if GSR in self._channels else 0
        after = 2 * len(self._channels) - before - 2
        clock, sent = 4711 * self._runs, 0
        values = at_rate(self._values, self._waveform_hz, self.rate_hz)
        for piece in in_pieces(values, max(1, int(self.rate_hz) // _BURSTS_PER_S)):
            data = bytearray()
            for word in from_microsiemens(np.array(piece)).tolist():
                data += b"\0" + (clock & 0xFFFFFF).to_bytes(3, "little")
                data += bytes(before) + word.to_bytes(2, "little") + bytes(after)
                clock += self._ticks
            sent += len(piece)
            yield Burst(sent, bytes(data))

    def receive(self, data: bytes) -> bytes:
        """See `Emulator`."""
        self._received += data
        answer = b""
        while self._received:
            command = self._received[:1]
            size = 1 + _ARGUMENTS.get(command, 0)
            if len(self._received) < size:
                break
            argument, self._received = self._received[1:size], self._received[size:]
            answer += self._obey(command, argument)
        return answer

    def reset(self) -> None:
        """See `Emulator`."""
        self.run, self._received = 0, b""

    def _obey(self, command: bytes, argument: bytes) -> bytes:
        ticks = self._ticks.to_bytes(2, "little")
        if command == GET_RATE:
            return _ACK + b"\x04" + ticks
        if command == INQUIRY:
            return _ACK + b"\x02" + ticks + bytes(4) + bytes([len(self._channels), 1, *self._channels])
        if command == SET_RATE:
            self._ticks = int.from_bytes(argument, "little")
        elif command == SET_SENSORS:
            self._channels = (GSR,) if argument[0] & _GSR_BIT else _ACCELERATION
        elif command == START:
            self._runs += 1
            self.run = self._runs
        elif command == STOP:
            self.run = 0
        else:
            return b""
        return _ACK
