"""The codec of frame protocol v1: golden vectors, round trips and damaged frames."""

import itertools
import json
import random
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import firmware_bridge.devices.ekd.frame as frame_module
from firmware_bridge.devices.ekd.frame import (
    MAX_SAMPLES,
    MAX_WIRE_BYTES,
    Data,
    Decoder,
    ForeignHello,
    Frame,
    Hello,
    RequestHello,
    Status,
    Unknown,
    encode,
    parse,
)

GOLDEN = json.loads((Path(frame_module.__file__).with_name("frames.json")).read_text("utf-8"))


def golden_frame(vector: dict[str, Any]) -> Frame:
    fields = {key: value for key, value in vector.items() if key not in ("name", "frame", "wire")}
    for key in ("device_id", "body"):
        if key in fields:
            fields[key] = bytes.fromhex(fields[key])
    for key in ("counts", "calibration"):
        if key in fields:
            fields[key] = tuple(fields[key])
    made: Frame = getattr(frame_module, vector["frame"])(**fields)
    return made


u8, u16, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
f32 = st.floats(width=32, allow_nan=False)
data_frames = st.builds(Data, u16, u32, st.lists(u16, min_size=1, max_size=MAX_SAMPLES).map(tuple))
hellos = st.builds(Hello, st.binary(min_size=8, max_size=8), u32, u32, u32, u8, u16, u8, st.tuples(f32, f32))
frames = st.one_of(
    data_frames,
    hellos,
    st.builds(Status, u32, u32, st.booleans()),
    st.just(RequestHello()),
    st.builds(ForeignHello, st.integers(2, 255)),
    st.builds(Unknown, st.integers(0x20, 0xFF), st.binary(max_size=250)),
)


def chunked(wire: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)]
    return [wire[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("vector", GOLDEN["crc"], ids=lambda v: v["data"] or "empty")
def test_crc_of_golden_vectors(codec: Any, vector: dict[str, Any]) -> None:
    assert codec.crc16(bytes.fromhex(vector["data"])) == vector["crc"]


@pytest.mark.parametrize("vector", GOLDEN["frames"], ids=lambda v: v["name"])
def test_golden_frames_both_ways(codec: Any, vector: dict[str, Any]) -> None:
    frame = golden_frame(vector)
    assert codec.encode(frame).hex() == vector["wire"]
    assert codec.decoder().feed(bytes.fromhex(vector["wire"])) == [frame]
    assert len(vector["wire"]) // 2 - 1 <= MAX_WIRE_BYTES


@pytest.mark.parametrize("vector", GOLDEN["grown"], ids=lambda v: v["name"])
def test_later_fields_are_ignored(codec: Any, vector: dict[str, Any]) -> None:
    same = next(v for v in GOLDEN["frames"] if v["name"] == vector["same_as"])
    assert codec.decoder().feed(bytes.fromhex(vector["wire"])) == [golden_frame(same)]


@pytest.mark.parametrize("vector", GOLDEN["rejected"], ids=lambda v: v["name"])
def test_damaged_golden_frame_is_rejected_and_the_next_is_decoded(codec: Any, vector: dict[str, Any]) -> None:
    decoder = codec.decoder()
    wire = bytes.fromhex(vector["wire"])
    assert decoder.feed(b"\0" + wire) == []
    assert decoder.rejected == 1
    assert decoder.discarded_bytes == len(wire.rstrip(b"\0"))
    assert decoder.feed(codec.encode(RequestHello())) == [RequestHello()]


@given(frames, st.lists(st.integers(0, 300), max_size=6))
def test_round_trip_in_any_pieces(codec: Any, frame: Frame, cuts: list[int]) -> None:
    wire = codec.encode(frame)
    assert wire.count(0) == 1
    assert wire.endswith(b"\0")
    assert len(wire) <= MAX_WIRE_BYTES + 1
    decoder = codec.decoder()
    assert [f for piece in chunked(wire, cuts) for f in decoder.feed(piece)] == [frame]


@given(st.lists(st.one_of(st.binary(max_size=600), frames.map(encode)), max_size=8), st.lists(st.integers(0, 4000)))
def test_decoder_result_is_independent_of_the_pieces(codec: Any, parts: list[bytes], cuts: list[int]) -> None:
    wire = b"".join([*parts, b"\0"])
    whole, pieces = codec.decoder(), codec.decoder()
    expected = whole.feed(wire)
    assert [f for piece in chunked(wire, cuts) for f in pieces.feed(piece)] == expected
    assert (whole.frames, whole.rejected, whole.discarded_bytes) == (
        pieces.frames,
        pieces.rejected,
        pieces.discarded_bytes,
    )
    assert whole.frames == len(expected)


@given(st.binary(max_size=300), frames)
def test_frame_after_garbage_and_a_delimiter_is_found(codec: Any, garbage: bytes, frame: Frame) -> None:
    assert codec.decoder().feed(garbage + b"\0" + codec.encode(frame))[-1] == frame


@given(st.binary(min_size=1, max_size=MAX_WIRE_BYTES))
def test_parse_accepts_any_payload(codec: Any, payload: bytes) -> None:
    frame = codec.parse(payload)
    assert frame is None or isinstance(frame, Frame)


def test_single_bit_error_is_detected_and_loses_at_most_two_frames(codec: Any) -> None:
    one, two, three = (codec.encode(Data(seq, 8 * seq, tuple(range(seq, seq + 8)))) for seq in (256, 257, 258))
    frames = {Data(seq, 8 * seq, tuple(range(seq, seq + 8))) for seq in (256, 257, 258)}
    wire = b"\0" + one + two + three
    for bit in range(8 * (1 + len(one)), 8 * (1 + len(one) + len(two))):
        damaged = bytearray(wire)
        damaged[bit // 8] ^= 1 << bit % 8
        got = codec.decoder().feed(bytes(damaged))
        assert set(got) <= frames
        # A flipped delimiter joins two frames; any other error affects only its own frame.
        assert len(got) >= (1 if bit // 8 == len(one) + len(two) else 2)


def test_mutated_frames_are_accepted_at_most_at_the_crc_error_rate(codec: Any) -> None:
    chance = random.Random(5)
    trials, accepted = 20_000, 0
    for _ in range(trials):
        frame = Data(chance.getrandbits(16), chance.getrandbits(32), tuple(chance.choices(range(8192), k=8)))
        damaged = bytearray(codec.encode(frame))
        for _ in range(chance.randint(3, 12)):
            damaged[chance.randrange(len(damaged) - 1)] = chance.getrandbits(8)
        accepted += sum(got != frame for got in codec.decoder().feed(b"\0" + bytes(damaged)))
    assert accepted <= 5  # 20000 / 65536 are expected; the probability of more than 5 is below 1e-6


def test_endless_garbage_needs_bounded_memory() -> None:
    decoder = Decoder()
    for _ in range(1000):
        assert decoder.feed(b"\xa5" * 1000) == []
    assert decoder.feed(b"\0") == []
    assert decoder.discarded_bytes == 1_000_000
    assert len(decoder._tail) == 0
    assert decoder.feed(encode(RequestHello())) == [RequestHello()]


def test_incomplete_first_frame_is_discarded_but_not_rejected(codec: Any) -> None:
    decoder = codec.decoder()
    frame = codec.encode(Status(1, 2, False))
    assert decoder.feed(frame[3:] + frame) == [Status(1, 2, False)]
    assert decoder.rejected == 0
    assert decoder.discarded_bytes == len(frame) - 4


@pytest.mark.parametrize(
    "frame",
    [
        Data(0, 0, ()),
        Data(0, 0, (0,) * (MAX_SAMPLES + 1)),
        Data(65536, 0, (0,)),
        Data(0, 0, (-1,)),
        Hello(b"short", 0, 1, 1, 10, 0, 0, (1.0, 0.0)),
        Unknown(0x7F, bytes(251)),
    ],
)
def test_encode_refuses_fields_out_of_range(frame: Frame) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        encode(frame)


def test_wrap_refuses_an_empty_payload(codec: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        codec.wrap(b"")


def test_hello_fault_names_the_invalid_field() -> None:
    good = golden_frame(next(v for v in GOLDEN["frames"] if v["name"] == "linear front end"))
    assert isinstance(good, Hello)
    assert good.fault() is None
    assert good.rate_hz == 128
    for payload, word in (
        (struct.pack("<B8sIIIBHBff", 1, bytes(8), 0, 0, 1, 10, 0, 0, 1, 0), "rate"),
        (struct.pack("<B8sIIIBHBff", 1, bytes(8), 0, 1, 0, 10, 0, 0, 1, 0), "rate"),
        (struct.pack("<B8sIIIBHBff", 1, bytes(8), 0, 1, 1, 17, 0, 0, 1, 0), "bits"),
        (struct.pack("<B8sIIIBHBff", 1, bytes(8), 0, 1, 1, 10, 0, 0, float("nan"), 0), "calibration"),
    ):
        frame = parse(b"\x02" + payload)
        assert isinstance(frame, Hello)
        assert word in str(frame.fault())
