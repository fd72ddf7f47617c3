"""Shimmer3 packets: conversion, layouts, the wrapping clock and the device's commands."""

from fractions import Fraction

import numpy as np
import pytest

from firmware_bridge.devices.shimmer3.decoder import Shimmer3Decoder
from firmware_bridge.devices.shimmer3.emulator import Shimmer3Emulator
from firmware_bridge.devices.shimmer3.packets import (
    GSR,
    Inquiry,
    find_inquiry,
    find_packets,
    from_microsiemens,
    to_microsiemens,
)
from firmware_bridge.devices.stream import RawBlock, StreamOptions
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.errors import ConfigError, FormatError

RECORDED = StreamOptions(live=False)


def packets(words: list[int], clock: int = 0, ticks: int = 256, before: bytes = b"", after: bytes = b"") -> bytes:
    return b"".join(
        b"\0" + ((clock + i * ticks) & 0xFFFFFF).to_bytes(3, "little") + before + word.to_bytes(2, "little") + after
        for i, word in enumerate(words)
    )


def decode(wire: bytes) -> tuple[Shimmer3Decoder, list[RawBlock]]:
    decoder = Shimmer3Decoder(RECORDED)
    blocks = decoder.feed(wire)
    return decoder, blocks + decoder.finish()


@pytest.mark.parametrize(
    ("range_", "adc", "expected"),
    [
        # R = Rf / (ADC * 3 / 4095 / 0.5 - 1) kOhm, uS = 1000 / R, calculated by hand
        (0, 2000, 1000 * (2000 * 3 / 4095 / 0.5 - 1) / 40.2),
        (1, 2000, 6.7261),
        (2, 3000, 3.3956),
        (3, 4095, 1.51515),
        (2, 683, 0.0007),
        (1, 500, 0.0),
    ],
)
def test_conductance_equals_the_hand_calculation(range_: int, adc: int, expected: float) -> None:
    word = np.array([range_ << 14 | adc], dtype=np.uint16)
    assert to_microsiemens(word)[0] == pytest.approx(expected, abs=1e-4)


def test_most_sensitive_range_is_used_and_the_inverse_is_close() -> None:
    us = np.array([0.1, 1.0, 1.4, 4.0, 10.0, 60.0])
    words = from_microsiemens(us)
    assert (words >> 14).tolist() == [3, 3, 2, 2 if 4.0 <= 4.5 else 1, 1, 0]
    assert np.abs(to_microsiemens(words) - us).max() < 0.02


def test_inquiry_gives_the_packet_layout() -> None:
    answer = b"\xff\x02" + (512).to_bytes(2, "little") + bytes(4) + bytes([5, 1, 0x03, 0x1D, 0x1E, GSR, 0x12])
    inquiry = find_inquiry(b"\x20\xff" + answer)
    assert inquiry == Inquiry(512, (0x03, 0x1D, 0x1E, GSR, 0x12))
    assert inquiry is not None
    assert (inquiry.rate_hz, inquiry.gsr_at, inquiry.packet_bytes) == (64, 4 + 2 + 1 + 3, 4 + 2 + 1 + 3 + 2 + 2)
    wire = answer + packets([3000 | 1 << 14] * 30, ticks=512, before=bytes(6), after=bytes(2))
    decoder, blocks = decode(wire)
    assert decoder.counts.samples == 30
    assert blocks[0].rate_hz == 64
    assert blocks[0].values[0] == pytest.approx(to_microsiemens(np.array([3000 | 1 << 14], np.uint16))[0])


@pytest.mark.parametrize(
    "answer", [b"\x02\0\x01" + bytes(4) + b"\2\1\x1c", b"\x02\0\1\0\0\0\0\1\1\x60", b"\x02\0\0" + bytes(9)]
)
def test_invalid_answer_to_an_inquiry_is_ignored(answer: bytes) -> None:
    assert find_inquiry(answer) is None


def test_recording_without_gsr_is_refused() -> None:
    answer = b"\xff\x02" + (256).to_bytes(2, "little") + bytes(4) + bytes([1, 1, 0x03])
    with pytest.raises(FormatError, match="have no GSR: configure"):
        decode(answer + packets([5] * 20))


def test_answer_that_does_not_fit_the_packets_is_ignored() -> None:
    answer = b"\xff\x02" + (512).to_bytes(2, "little") + bytes(4) + bytes([1, 1, 0x03])
    assert decode(answer + packets([1000] * 20))[0].counts.samples == 20


def test_packets_without_an_inquiry_may_have_only_gsr() -> None:
    assert find_packets(b"\xff" + packets([5] * 10), 8) == (1, 6, 256)
    with pytest.raises(FormatError, match="8 bytes of unknown content"):
        decode(packets([700] * 20, after=bytes(2)))


def test_clock_wraps_without_a_gap() -> None:
    decoder, blocks = decode(packets([1000 + i for i in range(100)], clock=(1 << 24) - 50 * 256))
    assert decoder.counts.dropped == 0
    assert decoder.counts.samples == 100
    assert [block.first_index for block in blocks] == sorted(block.first_index for block in blocks)


def test_gap_has_the_size_of_the_lost_packets() -> None:
    words = [1000 + i for i in range(200)]
    wire = packets(words)
    decoder, blocks = decode(wire[: 6 * 50] + wire[6 * 90 :])
    values = to_microsiemens(np.array(words, dtype=np.uint16))
    got = {b.first_index + i: v for b in blocks for i, v in enumerate(b.values.tolist())}
    assert all(values[index] == value for index, value in got.items())
    assert decoder.counts.dropped == 200 - len(got)
    assert 40 <= decoder.counts.dropped <= 42


def test_reading_with_an_unused_bit_set_is_a_gap() -> None:
    decoder, blocks = decode(packets([1000] * 20 + [1000 | 0x1000] + [1000] * 20))
    assert [b.first_index + i for b in blocks for i in range(len(b.values))] == [*range(20), *range(21, 41)]
    assert (decoder.counts.dropped, decoder.counts.rejected) == (1, 1)


@pytest.mark.parametrize(
    ("channels", "rates", "expected"),
    [
        ((GSR,), (None, None), [b"\x20", b"\1", b"\7"]),
        ((0x03, GSR, 0x12), (None, None), [b"\x20", b"\1", b"\7"]),
        ((0, 1, 2), (None, None), [b"\x20", b"\1", b"\x08\4\0\0", b"\1", b"\7"]),
        ((GSR,), (Fraction(64), None), [b"\x20", b"\1", b"\5\0\2", b"\1", b"\7"]),
        ((GSR,), (None, Fraction(64)), [b"\x20", b"\1", b"\5\0\2", b"\1", b"\7"]),
        ((GSR,), (Fraction(64), Fraction(50)), [b"\x20", b"\1", b"\5\0\2", b"\1", b"\7"]),
    ],
)
def test_device_is_configured_and_started(
    channels: tuple[int, ...], rates: tuple[Fraction | None, Fraction | None], expected: list[bytes]
) -> None:
    now = [0.0]
    device = Shimmer3Emulator(Waveform([np.full(4000, 5.0)], Fraction(128)), channels)
    decoder = Shimmer3Decoder(StreamOptions(rates[0], clock=lambda: now[0], default_rate_hz=rates[1]))
    sent = []
    while not device.run:
        if request := decoder.take_request():
            sent.append(request)
            assert decoder.feed(device.receive(request)) == []
        now[0] += 0.1
        assert now[0] < 10
    assert sent == expected
    blocks = decoder.feed(b"".join(burst.data for burst in device.bursts()))
    assert blocks[0].values[0] == pytest.approx(5.0, abs=0.01)
    assert blocks[0].rate_hz == (rates[0] or rates[1] or 128)


def test_device_that_never_measures_gsr_is_reported() -> None:
    now = [0.0]
    decoder = Shimmer3Decoder(StreamOptions(clock=lambda: now[0]))

    def talk() -> None:
        for _ in range(100):
            if decoder.take_request() == b"\1":
                decoder.feed(b"\xff\x02\0\1" + bytes(4) + b"\1\1\0")
            now[0] += 0.1

    with pytest.raises(FormatError, match=r"use a Shimmer3 GSR\+ unit"):
        talk()


@pytest.mark.parametrize("rate", ["5000", "1/2", "999/2"])
def test_unsupported_rate_is_refused(rate: str) -> None:
    if rate == "999/2":
        Shimmer3Decoder(StreamOptions(Fraction(rate)))
    else:
        with pytest.raises(ConfigError, match="cannot sample"):
            Shimmer3Decoder(StreamOptions(Fraction(rate)))
