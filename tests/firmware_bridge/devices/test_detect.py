"""Detection of the format without loss of the first bytes."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.devices.csv.decoder import CsvDecoder
from firmware_bridge.devices.detect import DetectingDecoder, open_decoder
from firmware_bridge.devices.ekd.decoder import EkdDecoder
from firmware_bridge.devices.ekd.emulator import frame_bursts, linear_hello
from firmware_bridge.devices.ekd.frame import Data, Hello, RequestHello, encode
from firmware_bridge.devices.stream import StreamCounts, StreamOptions
from firmware_bridge.errors import FormatError

Decode = Callable[..., Any]
HZ = Fraction(10)
HELLO = Hello(b"12345678", 1, 128, 1, 13, 5000, 0, (0.25, 0.0))
FRAMES = b"".join(encode(Data(i, 8 * i, tuple(range(8)))) for i in range(20))
LINES = "".join(f"{i}\r\n" for i in range(50)).encode()


@pytest.mark.parametrize("before", [b"", b"\0", b"\x07noise\0", encode(HELLO)[7:]])
def test_frames_are_detected_and_complete(before: bytes, decode: Decode) -> None:
    decoder = DetectingDecoder(StreamOptions())
    decode(decoder, before + FRAMES + encode(HELLO), range(500))
    assert decoder.counts.samples == 160


@pytest.mark.parametrize("live", [False, True])
def test_lines_are_detected_and_complete(live: bool, decode: Decode, readings: Decode) -> None:
    got = readings(decode(DetectingDecoder(StreamOptions(HZ, live)), LINES, range(100)))
    assert [value for _, _, value in got] == list(range(live, 50))


@pytest.mark.parametrize(
    "text",
    [
        "# rate_hz: 10\n# unit: uS\n1\n2\n3\n4\n",
        "time_s,label,gsr\n" + "".join(f"{i / 10},calm,{i}\n" for i in range(40)),
        "boot v1.2\nmillis,gsr\n" + "".join(f"{100 * i},{i}\n" for i in range(40)),
    ],
)
def test_lines_with_headers_and_comments_are_detected(text: str, decode: Decode) -> None:
    decoder = DetectingDecoder(StreamOptions(live=False))
    decode(decoder, text.encode(), range(len(text)))
    assert decoder.counts.samples == text.count("\n") - (2 if "time_s" not in text else 1)
    assert decoder.counts.rejected == 0


def test_short_file_is_detected_at_its_end(decode: Decode, readings: Decode) -> None:
    assert readings(decode(DetectingDecoder(StreamOptions(HZ, live=False)), b"1\n2")) == [(0, 0, 1.0), (0, 1, 2.0)]


def test_unknown_device_receives_no_request() -> None:
    decoder = DetectingDecoder(StreamOptions())
    assert decoder.take_request() == b""
    decoder.feed(FRAMES)
    assert decoder.take_request() == b"\0" + encode(RequestHello())


@pytest.mark.parametrize("garbage", [bytes(range(256)) * 80, b"\xfe" * 20_000])
def test_bytes_in_no_format_are_refused(garbage: bytes, decode: Decode) -> None:
    decoder = DetectingDecoder(StreamOptions(hint="check the baud rate (now 9600)"))
    with pytest.raises(FormatError, match=r"in none of the formats .*: check the baud rate \(now 9600\)"):
        decode(decoder, garbage, range(0, len(garbage), 64))
    assert decoder.counts == StreamCounts()


def test_text_without_readings_is_refused_with_a_line_of_it(decode: Decode) -> None:
    decoder = DetectingDecoder(StreamOptions(hint="check the baud rate (now 9600)"))
    with pytest.raises(FormatError, match=r"text arrives, .* such as 'hello': print one number in each line"):
        decode(decoder, b"hello\n" * 4000, range(0, 24_000, 64))


@pytest.mark.parametrize("live", [False, True])
def test_empty_stream_is_refused_at_the_end(live: bool) -> None:
    with pytest.raises(FormatError, match="0 bytes arrived"):
        DetectingDecoder(StreamOptions(live=live)).finish()


def test_named_format_needs_no_detection() -> None:
    assert isinstance(open_decoder("ekd"), EkdDecoder)
    assert isinstance(open_decoder("csv"), CsvDecoder)
    assert isinstance(open_decoder("auto"), DetectingDecoder)


@given(st.binary(max_size=4000))
def test_random_bytes_have_no_format(noise: bytes) -> None:
    decoder = DetectingDecoder(StreamOptions())
    assert decoder.feed(noise) == []
    assert decoder.failure_reason() is not None


def test_frames_with_digits_between_line_ends_are_not_lines() -> None:
    """The counts of a ramp contain every pair of bytes, and all frames arrive at once."""
    counts = np.split((np.arange(16_000) % 8000 + 100).astype(np.uint16), 1000)
    wire = b"".join(burst.data for burst in frame_bursts(counts, linear_hello(Fraction(128), 13)))
    decoder = DetectingDecoder(StreamOptions())
    decoder.feed(wire)
    assert decoder.format is not None
    assert decoder.format.name == "ekd"
