"""The decoder of frame protocol v1: gaps, duplicates, restarts, wrapping counters and other versions."""

import itertools
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.devices.detect import open_decoder
from firmware_bridge.devices.ekd.decoder import EkdDecoder
from firmware_bridge.devices.ekd.frame import Data, ForeignHello, Hello, RequestHello, Status, Unknown, encode
from firmware_bridge.devices.stream import StreamOptions
from firmware_bridge.errors import FormatError

Decode = Callable[..., Any]
HELLO = Hello(b"12345678", 1, 128, 1, 13, 5000, 0, (0.25, 0.0))
REBOOT = Hello(b"12345678", 2, 128, 1, 13, 5000, 0, (0.25, 0.0))


def data(first: int, n: int = 8, seq: int = 0) -> bytes:
    """A DATA frame whose samples have their index modulo 8192 as value."""
    return encode(Data(seq, first & 0xFFFFFFFF, tuple((first + i) % 8192 for i in range(n))))


def run(first: int, stop: int) -> bytes:
    return b"".join(data(index) for index in range(first, stop, 8))


def expected(segment: int, first: int, stop: int) -> list[tuple[int, int, float]]:
    return [(segment, i, float(i % 8192)) for i in range(first, stop)]


def test_contiguous_frames_become_one_block(decode: Decode, readings: Decode) -> None:
    decoder = EkdDecoder()
    blocks = decode(decoder, encode(HELLO) + run(0, 160))
    assert len(blocks) == 1
    (block,) = blocks
    assert block.rate_hz == 128
    assert block.hello == HELLO
    assert block.declared is None
    assert not block.values.flags.writeable
    assert readings(blocks) == expected(0, 0, 160)
    assert decoder.counts.samples == 160
    assert (decoder.counts.dropped, decoder.counts.rejected, decoder.counts.discarded_bytes) == (0, 0, 0)


def test_default_rate_does_not_replace_the_rate_of_the_hello(decode: Decode) -> None:
    decoder = open_decoder("ekd", StreamOptions(default_rate_hz=Fraction(50)))
    assert [block.rate_hz for block in decode(decoder, encode(HELLO) + run(0, 16))] == [128]


def test_stream_joined_late_keeps_the_device_index(decode: Decode, readings: Decode) -> None:
    decoder = EkdDecoder()
    wire = data(4000)[5:] + run(4008, 4040) + encode(HELLO) + run(4040, 4080)
    assert readings(decode(decoder, wire)) == expected(0, 4008, 4080)
    assert decoder.counts.dropped == 0
    assert decoder.counts.rejected == 0


def test_index_jump_forwards_is_a_gap(decode: Decode, readings: Decode) -> None:
    decoder = EkdDecoder()
    blocks = decode(decoder, encode(HELLO) + run(0, 80) + run(96, 160))
    assert [b.first_index for b in blocks] == [0, 96]
    assert readings(blocks) == expected(0, 0, 80) + expected(0, 96, 160)
    assert decoder.counts.dropped == 16


def test_duplicates_and_old_frames_are_dropped(decode: Decode, readings: Decode) -> None:
    decoder = EkdDecoder()
    twice = b"".join(data(i) * 2 for i in range(0, 400, 8))
    assert readings(decode(decoder, encode(HELLO) + twice + data(16))) == expected(0, 0, 400)
    assert decoder.counts.rejected == 51
    assert decoder.counts.dropped == 0


def test_index_wraps_without_a_gap(decode: Decode, readings: Decode) -> None:
    start = 2**32 - 80
    decoder = EkdDecoder()
    wire = encode(HELLO) + b"".join(data(start + i) for i in range(0, 240, 8) if i != 80)
    got = readings(decode(decoder, wire))
    assert [index for _, index, _ in got] == [*range(start, 2**32), *range(2**32 + 8, 2**32 + 160)]
    assert decoder.counts.dropped == 8


def test_new_boot_nonce_starts_a_segment(decode: Decode, readings: Decode) -> None:
    decoder = EkdDecoder()
    wire = encode(HELLO) + run(0, 80) + encode(REBOOT) + run(0, 40) + encode(REBOOT) + run(40, 80)
    blocks = decode(decoder, wire)
    assert readings(blocks) == expected(0, 0, 80) + expected(1, 0, 80)
    assert [b.hello for b in blocks] == [HELLO, REBOOT]
    assert decoder.counts.dropped == 0


def test_restart_with_a_lost_hello_loses_no_samples(decode: Decode, readings: Decode) -> None:
    decoder = EkdDecoder()
    blocks = decode(decoder, encode(HELLO) + run(8000, 8080) + run(0, 160))
    assert readings(blocks) == expected(0, 8000, 8080) + expected(1, 0, 160)
    assert decoder.counts.rejected == 0


def test_frames_after_a_restart_are_buffered_until_hello(decode: Decode, readings: Decode) -> None:
    decoder = EkdDecoder()
    wire = encode(HELLO) + run(800, 880) + run(0, 24) + encode(REBOOT) + run(24, 80)
    assert readings(decode(decoder, wire)) == expected(0, 800, 880) + expected(1, 0, 80)


def test_single_frame_with_an_index_far_ahead_is_rejected(decode: Decode, readings: Decode) -> None:
    decoder = EkdDecoder()
    wire = encode(HELLO) + run(0, 80) + data(1 << 30) + run(80, 160)
    assert readings(decode(decoder, wire)) == expected(0, 0, 160)
    assert decoder.counts.rejected == 1
    assert decoder.counts.dropped == 0


def test_very_long_gap_is_accepted_after_eight_frames(decode: Decode, readings: Decode) -> None:
    decoder = EkdDecoder()
    far = 128 * 3600
    assert readings(decode(decoder, encode(HELLO) + run(0, 80) + run(far, far + 160))) == (
        expected(0, 0, 80) + expected(0, far, far + 160)
    )
    assert decoder.counts.dropped == far - 80


def test_data_before_the_first_hello_is_buffered_within_a_limit() -> None:
    decoder = EkdDecoder()
    assert decoder.feed(run(0, 65_536)) == []
    with pytest.raises(FormatError, match="no HELLO"):
        decoder.feed(data(65_536))


def test_status_and_unknown_frames_leave_no_gap(decode: Decode, readings: Decode) -> None:
    decoder = EkdDecoder()
    wire = encode(HELLO) + data(0) + encode(Status(1, 2, True)) + encode(Unknown(0x0F, b"x")) + data(8)
    wire += encode(RequestHello()) + data(16)
    assert readings(decode(decoder, wire)) == expected(0, 0, 24)
    assert decoder.status == Status(1, 2, True)
    assert decoder.counts.rejected == 1


def test_rate_option_overrides_hello(decode: Decode) -> None:
    (block,) = decode(EkdDecoder(Fraction(1000, 3)), encode(HELLO) + data(0))
    assert block.rate_hz == Fraction(1000, 3)


@pytest.mark.parametrize(("version", "advice"), [(2, "update ekd"), (0, "flash newer firmware")])
def test_another_version_is_refused(version: int, advice: str) -> None:
    with pytest.raises(FormatError, match=f"version {version}.*{advice}"):
        EkdDecoder().feed(data(0) + encode(ForeignHello(version)) * 3 + data(8))


def test_later_hello_of_another_version_is_refused_after_the_samples_before(readings: Decode) -> None:
    decoder = EkdDecoder()
    blocks = decoder.feed(encode(HELLO) + run(0, 80) + encode(ForeignHello(2)) * 3)
    assert readings(blocks) == expected(0, 0, 80)
    with pytest.raises(FormatError, match="version 2"):
        decoder.feed(data(80))


def test_recording_of_another_version_is_refused_at_its_end(decode: Decode) -> None:
    with pytest.raises(FormatError, match="version 2"):
        decode(EkdDecoder(), data(0) + encode(ForeignHello(2)) + data(8))


def test_device_of_a_later_version_receives_a_request_for_this_version(readings: Decode) -> None:
    decoder = EkdDecoder()
    assert decoder.take_request() == b"\0" + encode(RequestHello(1))
    assert decoder.feed(data(0) + encode(ForeignHello(2)) + data(8)) == []
    assert decoder.take_request() == b"\0" + encode(RequestHello(1))
    assert decoder.take_request() == b""
    blocks = decoder.feed(encode(HELLO) + run(0, 80))
    assert readings(blocks) == expected(0, 0, 80)
    assert decoder.take_request() == b""


def test_single_hello_of_another_version_is_ignored(decode: Decode, readings: Decode) -> None:
    decoder = EkdDecoder()
    wire = encode(HELLO) + run(0, 80) + encode(ForeignHello(2)) + encode(HELLO) + run(80, 160)
    assert readings(decode(decoder, wire)) == expected(0, 0, 160)


def test_hello_without_a_rate_is_refused() -> None:
    broken = Hello(b"12345678", 1, 128, 0, 13, 5000, 0, (0.25, 0.0))
    decoder = EkdDecoder()
    assert decoder.feed(encode(broken) + data(0)) == []
    with pytest.raises(FormatError, match="128/0 Hz"):
        decoder.finish()


@pytest.mark.parametrize("garbage", [b"1,2\r\n" * 3000, bytes(range(1, 256)) * 100, b"\xff" * 20_000])
def test_bytes_without_a_frame_are_refused(garbage: bytes, decode: Decode) -> None:
    decoder = EkdDecoder(hint="check the baud rate (now 9600)")
    with pytest.raises(FormatError, match=r"without a valid frame: check the baud rate \(now 9600\)"):
        decode(decoder, garbage, range(0, len(garbage), 64))


def test_empty_stream_is_refused_at_the_end() -> None:
    with pytest.raises(FormatError, match="0 bytes arrived"):
        EkdDecoder().finish()


def test_hello_is_requested_once() -> None:
    decoder = EkdDecoder()
    assert decoder.take_request() == b"\0" + encode(RequestHello())
    assert decoder.take_request() == b""
    introduced = EkdDecoder()
    introduced.feed(encode(HELLO))
    assert introduced.take_request() == b""


events = st.one_of(
    st.integers(0, 400).map(lambda k: data(8 * k)),
    st.integers(0, 40).map(lambda k: run(8 * k, 8 * k + 80)),
    st.sampled_from([HELLO, REBOOT, Status(0, 0, False), Unknown(0x0E, b"")]).map(encode),
    st.binary(max_size=300),
)


@given(st.lists(events, max_size=12), st.lists(st.integers(0, 5000), max_size=10))
def test_readings_are_independent_of_the_pieces(parts: list[bytes], cuts: list[int]) -> None:
    wire = encode(HELLO) + b"".join(parts)
    whole, pieces = EkdDecoder(), EkdDecoder()

    def readings(decoder: EkdDecoder, cuts: list[int]) -> list[tuple[int, int, float]]:
        edges = [0, *sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)]
        blocks = [b for a, z in itertools.pairwise(edges) for b in decoder.feed(wire[a:z])]
        blocks += decoder.finish()
        assert all(len(b.values) for b in blocks)
        return [(b.segment, b.first_index + i, v) for b in blocks for i, v in enumerate(b.values.tolist())]

    got = readings(whole, [])
    assert readings(pieces, cuts) == got
    assert whole.counts == pieces.counts
    # Each sample has its own index: no sample is invented or delivered twice.
    assert len({(segment, index) for segment, index, _ in got}) == len(got) == whole.counts.samples


@given(st.lists(st.binary(max_size=400), max_size=8))
def test_any_bytes_give_blocks_or_a_format_error(parts: list[bytes]) -> None:
    decoder = EkdDecoder()
    with suppress(FormatError):
        for part in parts:
            decoder.feed(part)
        decoder.finish()
    assert 0 <= decoder.counts.discarded_bytes <= sum(map(len, parts))
