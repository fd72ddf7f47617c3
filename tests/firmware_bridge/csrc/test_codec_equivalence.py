"""The C codec and the Python codec find the same frames and have the same counts for any bytes."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.devices.ekd.frame import MAX_SAMPLES, Data, Decoder, Hello, RequestHello, Status, Unknown, encode

valid = st.one_of(
    st.builds(
        Data,
        st.integers(0, 2**16 - 1),
        st.integers(0, 2**32 - 1),
        st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=MAX_SAMPLES).map(tuple),
    ),
    st.builds(Status, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.booleans()),
    st.builds(RequestHello, st.integers(0, 255)),
    st.just(Hello(b"12345678", 1, 128, 1, 13, 5000, 1, (10_000.0, 4096.0))),
    st.builds(Unknown, st.integers(0x20, 0xFF), st.binary(max_size=250)),
).map(encode)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    wire = bytearray(draw(valid))
    at = draw(st.integers(0, len(wire) - 1))
    match draw(st.sampled_from(["flip", "cut", "insert", "delete", "noise"])):
        case "flip":
            wire[at] ^= 1 << draw(st.integers(0, 7))
        case "cut":
            del wire[at:]
        case "insert":
            wire[at:at] = draw(st.binary(min_size=1, max_size=3))
        case "delete":
            del wire[at]
        case _:
            wire[at : at + 9] = draw(st.binary(min_size=9, max_size=9))
    return bytes(wire)


@given(parts=st.lists(st.one_of(valid, mutated(), st.binary(max_size=700)), max_size=10))
@pytest.mark.parametrize("codec", ["c"], indirect=True)
def test_both_codecs_find_and_count_the_same_frames(codec: Any, parts: list[bytes]) -> None:
    wire = b"".join([*parts, b"\0"])
    in_c, in_python = codec.decoder(), Decoder()
    assert in_c.payloads(wire) == in_python.payloads(wire)
    assert (in_c.frames, in_c.rejected, in_c.discarded_bytes) == (
        in_python.frames,
        in_python.rejected,
        in_python.discarded_bytes,
    )


@pytest.mark.parametrize("codec", ["c"], indirect=True)
def test_endless_bytes_without_a_delimiter_are_one_rejected_frame(codec: Any) -> None:
    decoder = codec.decoder()
    assert decoder.payloads(b"\0" + b"\x07" * 200_000 + b"\0" + encode(Status(1, 2, True))) == [
        b"\x03\x01\0\0\0\x02\0\0\0\x01"
    ]
    assert (decoder.frames, decoder.rejected, decoder.discarded_bytes) == (1, 1, 200_000)


def test_c_decoder_passes_the_fuzz_run_under_the_sanitizers(built: Callable[..., Path]) -> None:
    done = subprocess.run([built("fuzz"), "1000000"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    counts = json.loads(done.stdout)
    assert counts["damaged"] + counts["mutated"] + counts["noise"] == counts["items"] == 1_000_000
    assert counts["frames"] > 1_500_000
    assert counts["rejected"] > 1_000_000
    assert counts["undetected"] == 0
    assert counts["unsynced"] == 0
    assert counts["false_accepts"] <= counts["chances"] / 65536 * 2
