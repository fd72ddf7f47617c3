"""An emulated device with frame protocol v1: eight samples per frame, HELLO and STATUS every second."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.devices.ekd.frame import DELIMITER, Data, Decoder, Hello, RequestHello, Status, encode
from firmware_bridge.devices.emulator import Burst, in_pieces
from firmware_bridge.devices.stated_unit import unit_of_hello
from firmware_bridge.devices.waveform import Waveform

__all__ = ["EkdEmulator", "frame_bursts", "linear_hello"]

FRAME_SAMPLES = 8


class EkdEmulator:
    """See `Emulator`. hello: the HELLO that the device sends; None for a linear front end that suits the waveform."""

    baud = 115200

    def __init__(self, waveform: Waveform, hello: Hello | None = None) -> None:
        if hello is None:
            hello = linear_hello(waveform.rate_hz, waveform.adc_bits, waveform.full_scale_us)
        self._counts = waveform.counts(unit_of_hello(hello))
        self._requests = Decoder()
        self.hello = hello
        self.run = 1

    @property
    def rate_hz(self) -> Fraction:
        """See `Emulator`."""
        return self.hello.rate_hz

    def bursts(self) -> Iterator[Burst]:
        """See `Emulator`."""
        return frame_bursts(self._counts, self.hello)

    def receive(self, data: bytes) -> bytes:
        """See `Emulator`."""
        asked = any(isinstance(frame, RequestHello) for frame in self._requests.feed(data))
        return encode(self.hello) if asked else b""

    def reset(self) -> None:
        """See `Emulator`."""
        self.hello = replace(self.hello, boot_nonce=(self.hello.boot_nonce + 1) & 0xFFFFFFFF)
        self.run += 1


def linear_hello(
    rate_hz: Fraction,
    adc_bits: int = 16,
    full_scale_us: float = 50.0,
    offset_us: float = 0.0,
    boot_nonce: int = 1,
) -> Hello:
    """The HELLO of a device with a linear front end: uS = count / 2**adc_bits * full_scale_us + offset_us.

    Args:
        rate_hz: sampling rate.
        adc_bits: resolution of the converter.
        full_scale_us: conductance in uS at full scale.
        offset_us: conductance in uS at count 0.
        boot_nonce: number of the boot.
    """
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


def frame_bursts(counts: Iterable[NDArray[np.uint16]], hello: Hello) -> Iterator[Burst]:
    """Frames for ADC counts in arrays of any length: DATA with 8 samples, HELLO and STATUS every second."""
    greeting = encode(hello)
    yield Burst(0, DELIMITER + greeting)
    per_second = max(1, round(hello.rate_hz))
    index, saturated, greeted = 0, 0, 0
    top = 2**hello.adc_bits - 1
    for seq, piece in enumerate(in_pieces(counts, FRAME_SAMPLES)):
        data = encode(Data(seq & 0xFFFF, index & 0xFFFFFFFF, tuple(piece)))
        index += len(piece)
        saturated += sum(count in (0, top) for count in piece)
        if index - greeted >= per_second:
            greeted = index
            data += greeting + encode(Status(0, saturated & 0xFFFFFFFF, False))
        yield Burst(index, data)
