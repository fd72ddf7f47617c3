"""Mutated recordings: damaged bytes, and odd bodies whose checksums are valid."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from zlib import crc32

import numpy as np

from ekd_edge.errors import FormatError
from ekd_edge.formatting import utc_text
from ekd_edge.recording.contents import annotation_of, placed
from ekd_edge.recording.format import Encoder, Mark
from ekd_edge.recording.reader import Reader
from ekd_edge.signal.blocks import Baseline, SampleBlock, TimeAnchor
from firmware_bridge.devices.ekd.frame import Decoder, wrap
from tests.ekd_edge.recording.blocks import Item, block_of
from tests.helpers.odd_json import damaged

Row = Callable[[str, str, str, str], None]
Many = Callable[[int, int], int]

HANG_S = 1.0
ODD = ("1e99999999", "NaN", "-1", "9" * 400, "null", "[]", '"x"', "1e308", "true", "{}", "0", '"' + "y" * 300 + '"')


def small() -> bytes:
    encoder = Encoder()
    wire = encoder.begin({"run": "r", "smooth_s": 2.0, "margin": 0.1})
    for part in range(3):
        block = block_of(np.arange(20.0) + 30 * part, 25 * part, part // 2)
        anchor = TimeAnchor(part, 1.8e9)
        wire += encoder.block(replace(block, anchor=anchor, baseline=Baseline(1.0, 2.0, 60.0), lead_off=part == 1))
        wire += encoder.mark(Mark(1.8e9, "a mark")) + encoder.prediction('{"targets": {"arousal": {"label": "low"}}}')
    return wire


def pairs(items: list[Item]) -> set[tuple[int, float]]:
    return {
        (item.first_index + i, value)
        for item in items
        if isinstance(item, SampleBlock)
        for i, value in enumerate(item.values.tolist())
    }


def read(wire: bytes) -> tuple[list[Item], int]:
    """Everything that info and export do with the items; the number of damaged frames."""
    reader = Reader()
    reader.begin_file()
    began = time.monotonic()
    try:
        found = list(placed([*reader.feed(wire), *reader.feed(b"\0")]))
    except FormatError:  # of a later version
        return [], 1
    for each in found:
        if not isinstance(each.item, SampleBlock):
            annotation_of(each.item)
        elif each.item.anchor is not None:
            utc_text(each.item.anchor.utc_s)
    assert time.monotonic() - began < HANG_S
    return [each.item for each in found], reader.damaged


def odd(payloads: list[bytes], chance: random.Random) -> Iterator[bytes]:
    """The payloads, one of them with an odd body and valid checksums."""
    chosen = chance.randrange(len(payloads))
    for number, payload in enumerate(payloads):
        body = payload[:-4]
        if number == chosen:
            text = body[7:]
            if body[0] == 0x51 and chance.random() < 0.7:
                values = [part for part in text.split(b": ") if part]
                at = chance.randrange(len(values))
                values[at] = chance.choice(ODD).encode() + b", " + values[at].partition(b", ")[2]
                body = (body[:7] + b": ".join(values))[:247]
            else:
                changed = bytearray(body)
                changed[chance.randrange(len(changed))] = chance.choice((0, 1, 127, 255, chance.randrange(256)))
                body = bytes(changed[: chance.randint(1, len(changed))] if chance.random() < 0.3 else changed)
        yield b"\0" + wrap(body + crc32(body).to_bytes(4, "little"))


def test_damaged_recordings_give_recorded_samples_only(row: Row, many: Many) -> None:
    times, chance, wire = many(4000, 500_000), random.Random(1), small()
    intact, none = read(wire)
    assert (len(intact), none) == (9, 0)
    sent, frames = pairs(intact), 0
    for _ in range(times):
        found, rejected = read(damaged(wire, chance))
        assert pairs(found) <= sent
        frames += rejected
    row(
        "damaged recording",
        f"{times} times, up to 6 changes",
        "no sample that was not sent",
        f"{frames} frames rejected",
    )


def test_odd_bodies_with_valid_checksums_give_no_exception(row: Row, many: Many) -> None:
    times, chance, wire = many(4000, 500_000), random.Random(2), small()
    payloads = [payload for payload in Decoder().payloads(wire) if payload[0] >= 0x51]
    frames = 0
    for _ in range(times):
        frames += read(b"".join(odd(payloads, chance)))[1]
    row("odd metadata", f"{times} times, valid checksums", "no exception, at most 1 s", f"{frames} rejected")
