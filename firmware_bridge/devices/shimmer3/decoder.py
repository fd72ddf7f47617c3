"""Decoder for a Shimmer3 GSR+ on a serial link. The host requests its packet layout, starts it and stops it.

Commands are inquiry 0x01, get rate 0x03, set rate 0x05, start 0x07, set sensors 0x08 and stop 0x20. The device
acknowledges each with 0xFF. Channels other than GSR are ignored. A device that does not measure GSR is configured to
measure only GSR.
"""

import re
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.devices.emulator import Emulator
from firmware_bridge.devices.polled import PolledDecoder
from firmware_bridge.devices.registry import DeviceFormat, Probe, ReceivedBytes, check_settings
from firmware_bridge.devices.shimmer3.packets import (
    CLOCK_HZ,
    GSR,
    Inquiry,
    find_inquiry,
    find_packets,
    ticks_at,
    to_microsiemens,
)
from firmware_bridge.devices.stream import Declared, RawBlock, StreamOptions
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.errors import ConfigError, FormatError

__all__ = ["FORMAT", "GET_RATE", "INQUIRY", "SET_RATE", "SET_SENSORS", "START", "STOP", "Shimmer3Decoder"]

INQUIRY, GET_RATE, SET_RATE, START, SET_SENSORS, STOP = b"\x01", b"\x03", b"\x05", b"\x07", b"\x08", b"\x20"
_ONLY_GSR = SET_SENSORS + b"\x04\x00\x00"

_IN_A_ROW = 3
"""Consecutive packets with valid headers and clocks that are required before the first is accepted: 72 check bits."""
_TO_RECOGNISE = 8
_WRAP = 1 << 24
_UNUSED_BITS = 0x3000
_ANSWER_BYTES = 8192
_STOPPING_S, _SETTING_S, _ANSWER_S = 0.3, 0.3, 1.0


class Shimmer3Decoder(PolledDecoder):
    """Decodes packets to uS (see `StreamDecoder`). A live decoder requests their layout and starts the device.

    A packet is accepted only when the next packet has the next clock value. The clock shows the number of lost packets.
    Packets have no checksum: a damaged reading whose two unused bits are 0 cannot be distinguished from a valid one.
    """

    _has_answers = True

    def __init__(self, options: StreamOptions) -> None:
        check_settings("shimmer3", options.settings)
        super().__init__(options, STOP, "packet of a Shimmer3", _IN_A_ROW)
        rate = options.rate_hz or (options.default_rate_hz if options.live else None)
        self._ticks = None if rate is None else _ticks(rate)
        self._inquiry: Inquiry | None = None
        self._configured = False
        self._expected = 0

    def _next_command(self, waited_s: float) -> bytes:
        """Send the inquiry after stop, configure the device by its answer, and start it."""
        if self._state == "inquiring" and waited_s > _ANSWER_S:
            return self._enter("stopping", STOP)
        if (self._state == "stopping" and waited_s >= _STOPPING_S) or (
            self._state == "setting" and waited_s >= _SETTING_S
        ):
            self._buffer, self._locked = b"", False
            return self._enter("inquiring", INQUIRY)
        if self._state == "inquiring" and (answer := find_inquiry(self._buffer)) is not None:
            return self._process_inquiry(answer)
        return b""

    def _receive_before_start(self, data: bytes) -> None:
        if self._state == "inquiring":
            self._buffer = (self._buffer + data)[-_ANSWER_BYTES:]

    def _process_inquiry(self, answer: Inquiry) -> bytes:
        """The command to send after the answer to an inquiry."""
        if GSR not in answer.channels:
            if self._configured:
                raise FormatError(
                    "the Shimmer3 does not measure GSR although it was configured to: use a Shimmer3 GSR+ unit"
                )
            self._configured = True
            return self._enter("setting", _ONLY_GSR)
        if self._ticks is not None and answer.ticks != self._ticks:
            return self._enter("setting", SET_RATE + self._ticks.to_bytes(2, "little"))
        self._inquiry = answer
        self._begin_run()
        return self._enter("started", START)

    def _decode(self, in_a_row: int, at_end: bool = False) -> list[RawBlock]:
        if self._inquiry is None and not self._find_layout():
            return []
        inquiry = self._inquiry
        assert inquiry is not None
        length = inquiry.packet_bytes
        blocks: list[RawBlock] = []
        while self._locked or self._lock(in_a_row):
            whole = len(self._buffer) // length
            packets = np.frombuffer(self._buffer, np.uint8, whole * length).reshape(whole, length)
            clocks = ticks_at(self._buffer, np.arange(whole) * length)
            expected = (self._expected + inquiry.ticks * np.arange(whole)) % _WRAP
            wrong = np.flatnonzero((packets[:, 0] != 0) | (clocks != expected))
            fits = int(wrong[0]) if len(wrong) else whole
            confirmed = fits if at_end and fits == whole else max(0, fits - 1)
            at = inquiry.gsr_at
            blocks += self._blocks(np.ascontiguousarray(packets[:confirmed, at : at + 2]).view("<u2")[:, 0])
            self._expected = int((self._expected + inquiry.ticks * confirmed) % _WRAP)
            self._buffer = self._buffer[confirmed * length :]
            if fits == whole:
                break
            # The next valid packet may start at any byte after the first one of this packet.
            self._buffer = self._buffer[1:]
            self._discarded += 1
            self._rejected += 1
            self._locked = False
        return blocks

    def _blocks(self, words: NDArray[np.uint16]) -> list[RawBlock]:
        """Blocks of valid readings. A reading with an unused bit set is damaged and leaves a gap."""
        assert self._inquiry is not None
        valid = words & _UNUSED_BITS == 0
        edges = np.flatnonzero(np.diff(valid, prepend=False, append=False)).tolist()
        declared = Declared(self._inquiry.rate_hz, "uS")
        blocks = []
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            values = to_microsiemens(words[start:stop])
            values.flags.writeable = False
            first = self._next + start
            blocks.append(RawBlock(values, first, self._inquiry.rate_hz, self._segment, declared=declared))
        good = int(np.count_nonzero(valid))
        self._next += len(words)
        self._samples += good
        self._dropped += len(words) - good
        self._rejected += len(words) - good
        if self._live and len(words):
            self._received_s = self._clock()
        return blocks

    def _lock(self, in_a_row: int) -> bool:
        """Find the next consecutive valid packets, and count the packets before them as lost."""
        assert self._inquiry is not None
        length, ticks = self._inquiry.packet_bytes, self._inquiry.ticks
        found = find_packets(self._buffer, in_a_row, length, ticks)
        useless = max(0, len(self._buffer) - in_a_row * length + 1) if found is None else found[0]
        self._discarded += useless if self._found_any else 0
        self._buffer = self._buffer[useless:]
        if found is None:
            return False
        clock = int(ticks_at(self._buffer, np.zeros(1, np.intp))[0])
        if self._next:
            later = (clock - self._expected) % _WRAP
            if self._live:
                silent = (self._clock() - self._received_s) * CLOCK_HZ
                later += _WRAP * max(0, round((silent - later) / _WRAP))
            lost = round(later / ticks)
            self._next += lost
            self._dropped += lost
        self._expected, self._locked, self._found_any = clock, True, True
        return True

    def _find_layout(self) -> bool:
        """Find the packet layout in a recording: from the answer to an inquiry, or from packets with only GSR."""
        found = find_packets(self._buffer, _TO_RECOGNISE)
        if found is None:
            return False
        at, length, ticks = found
        inquiry = find_inquiry(self._buffer[:at])
        if inquiry is not None and (inquiry.packet_bytes, inquiry.ticks) != (length, ticks):
            inquiry = None
        if inquiry is not None and GSR not in inquiry.channels:
            raise FormatError("the packets of this Shimmer3 have no GSR: configure a Shimmer3 GSR+ unit to measure it")
        if inquiry is None and length != 6:
            raise FormatError(
                f"a packet has {length} bytes of unknown content: record from the device's start, or only GSR"
            )
        self._inquiry = inquiry or Inquiry(ticks, (GSR,))
        return True


def _ticks(rate_hz: Fraction) -> int:
    ticks = round(CLOCK_HZ / rate_hz)
    if not 8 <= ticks <= CLOCK_HZ or abs(Fraction(CLOCK_HZ, ticks) / rate_hz - 1) > Fraction(1, 100):
        raise ConfigError(f"a Shimmer3 cannot sample at {rate_hz} Hz: give a rate from 1 to 1024 Hz")
    return ticks


def _recognises(received: ReceivedBytes) -> bool:
    return find_packets(received.data, _TO_RECOGNISE) is not None


def _is_answer(received: bytes) -> bool:
    return re.search(rb"\xff\x04..", received, re.DOTALL) is not None


def _emulate(waveform: Waveform) -> Emulator:
    from firmware_bridge.devices.shimmer3.emulator import Shimmer3Emulator

    return Shimmer3Emulator(waveform)


FORMAT = DeviceFormat(
    name="shimmer3",
    about="Shimmer3 GSR+",
    baud=115200,
    open=Shimmer3Decoder,
    recognises=_recognises,
    emulate=_emulate,
    probe=Probe(GET_RATE, _is_answer),
)
