"""BITalino frames, compared with a bit-by-bit implementation of their description, and the device's commands."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.devices.bitalino.decoder import BitalinoDecoder, rate_command, start_command
from firmware_bridge.devices.bitalino.frames import FRAME_BYTES, decode_channel, encode_frames, find_frames, valid_crc
from firmware_bridge.devices.stream import StreamOptions
from firmware_bridge.errors import ConfigError, FormatError

HZ = Fraction(1000)
RECORDED = StreamOptions(HZ, live=False)


def crc_bit_by_bit(frame: bytes) -> int:
    """The CRC x^4 + x + 1 over all bits, with the CRC bits set to 0."""
    state = 0
    for byte in frame[:-1] + bytes([frame[-1] & 0xF0]):
        for bit in range(7, -1, -1):
            state = state << 1 ^ (byte >> bit & 1)
            if state & 16:
                state ^= 0b10011
    return state


def channels_bit_by_bit(frame: bytes, n: int) -> list[int]:
    """The channels of a frame, which has from its end: sequence and CRC, four digital inputs, and the channels."""
    bits = "".join(f"{byte:08b}" for byte in frame[::-1])[12:]
    found = []
    for channel in range(n):
        width = 10 if channel < 4 else 6
        found.append(int(bits[:width], 2))
        bits = bits[width:]
    return found


@given(st.integers(1, 6), st.integers(0, 15), st.data())
def test_frame_has_the_documented_bits(n: int, number: int, data: st.DataObject) -> None:
    row = [data.draw(st.integers(0, 1023 if channel < 4 else 63)) for channel in range(n)]
    frame = encode_frames(np.array([row], dtype=np.uint16), number)
    assert len(frame) == FRAME_BYTES[n]
    assert frame[-1] >> 4 == number
    assert frame[-1] & 15 == crc_bit_by_bit(frame)
    assert channels_bit_by_bit(frame, n) == row
    array = np.frombuffer(frame, np.uint8)[None]
    assert valid_crc(array).all()
    assert [decode_channel(array, i)[0] for i in range(n)] == row


@given(st.binary(min_size=3, max_size=8))
def test_crc_check_equals_the_bitwise_crc(frame: bytes) -> None:
    assert bool(valid_crc(np.frombuffer(frame, np.uint8)[None])[0]) == (crc_bit_by_bit(frame) == frame[-1] & 15)


def test_crc_detects_every_single_bit_error() -> None:
    frame = encode_frames(np.array([[517]], dtype=np.uint16), 9)
    for bit in range(24):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        assert not valid_crc(np.frombuffer(bytes(damaged), np.uint8)[None])[0]


@pytest.mark.parametrize("n", range(1, 7))
def test_frame_length_is_found_for_each_number_of_channels(n: int) -> None:
    counts = np.random.default_rng(n).integers(0, 64, (60, n)).astype(np.uint16)
    assert find_frames(encode_frames(counts, 3)[1:]) == FRAME_BYTES[n]


def test_default_rate_is_that_of_a_recording_without_a_rate() -> None:
    wire = encode_frames(np.arange(100, dtype=np.uint16)[:, None], 0)
    decoder = BitalinoDecoder(StreamOptions(live=False, default_rate_hz=Fraction(10)))
    assert {block.rate_hz for block in decoder.feed(wire) + decoder.finish()} == {Fraction(10)}
    assert {block.rate_hz for block in BitalinoDecoder(RECORDED).feed(wire)} == {HZ}


def test_decoder_selects_the_eda_channel_of_six() -> None:
    counts = np.arange(600, dtype=np.uint16).reshape(100, 6) % 64
    decoder = BitalinoDecoder(RECORDED)
    blocks = decoder.feed(encode_frames(counts, 0)) + decoder.finish()
    assert np.array_equal(np.concatenate([b.values for b in blocks]), counts[:, 2])
    assert blocks[0].declared is not None
    assert blocks[0].declared.adc_bits == 10


def test_recording_with_two_inputs_requires_their_names() -> None:
    counts = np.arange(200, dtype=np.uint16).reshape(100, 2)
    with pytest.raises(FormatError, match="bitalino:channels=A2"):
        BitalinoDecoder(RECORDED).feed(encode_frames(counts, 0))
    settings = {"channels": "A3+A5", "channel": "A5"}
    decoder = BitalinoDecoder(StreamOptions(HZ, live=False, settings=settings))
    blocks = decoder.feed(encode_frames(counts, 0)) + decoder.finish()
    assert blocks[0].values[:3].tolist() == [1, 3, 5]


@pytest.mark.parametrize("lost", [1, 5, 14, 15, 17, 40])
def test_gap_has_the_size_of_the_lost_frames(lost: int) -> None:
    """More than fifteen lost frames are counted by the damaged bytes in between."""
    counts = np.arange(300, dtype=np.uint16)[:, None]
    wire = bytearray(encode_frames(counts, 0))
    wire[300 : 300 + 3 * lost] = b"\x5a" * (3 * lost)
    decoder = BitalinoDecoder(RECORDED)
    blocks = decoder.feed(bytes(wire)) + decoder.finish()
    got = {b.first_index + i: v for b in blocks for i, v in enumerate(b.values.tolist())}
    assert all(index == value for index, value in got.items())
    assert max(got) == 299
    assert 0 <= 300 - lost - len(got) <= 3


@pytest.mark.parametrize("options", [StreamOptions(HZ), StreamOptions(default_rate_hz=HZ)])
def test_device_is_stopped_set_and_started_again_after_silence(options: StreamOptions) -> None:
    now = [0.0]
    decoder = BitalinoDecoder(replace(options, clock=lambda: now[0]))
    sent = []
    for _ in range(40):
        if request := decoder.take_request():
            sent.append((round(now[0], 1), request))
        now[0] += 0.1
    one_round = [b"\0", rate_command(1000), start_command(2)]
    assert [request for _, request in sent] == [*one_round, *one_round]
    assert sent[3][0] - sent[2][0] >= 2
    assert decoder.stop_command() == b"\0"


@pytest.mark.parametrize(
    ("options", "error", "advice"),
    [
        (StreamOptions(live=False), FormatError, "do not state their rate: give 1, 10, 100 or 1000 Hz"),
        (StreamOptions(Fraction(128)), ConfigError, "1, 10, 100 or 1000 Hz"),
        (StreamOptions(settings={"channel": "B1"}), ConfigError, "A1 to A6"),
        (StreamOptions(settings={"chanel": "A1"}), ConfigError, "no setting 'chanel': it has channel, channels"),
        (StreamOptions(settings={"channels": "A1+A2"}), ConfigError, "lacks A3"),
    ],
)
def test_invalid_options_are_refused(options: StreamOptions, error: type[Exception], advice: str) -> None:
    with pytest.raises(error, match=advice):
        BitalinoDecoder(options)
