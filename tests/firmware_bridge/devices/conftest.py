"""Fixtures of the decoder tests: decode bytes in pieces, and list the readings of blocks."""

import itertools
from collections.abc import Callable, Iterable

import pytest

from firmware_bridge.devices.stream import RawBlock, StreamDecoder

Reading = tuple[int, int, float]
"""(segment, index, value)"""


def _readings(blocks: Iterable[RawBlock]) -> list[Reading]:
    return [
        (block.segment, block.first_index + i, value)
        for block in blocks
        for i, value in enumerate(block.values.tolist())
    ]


def _decode(decoder: StreamDecoder, wire: bytes, cuts: Iterable[int] = ()) -> list[RawBlock]:
    edges = [0, *sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)]
    blocks: list[RawBlock] = []
    for start, stop in itertools.pairwise(edges):
        blocks += decoder.feed(wire[start:stop])
    return blocks + decoder.finish()


@pytest.fixture(scope="session")
def readings() -> Callable[[Iterable[RawBlock]], list[Reading]]:
    """The readings of blocks as (segment, index, value), independent of the division into blocks."""
    return _readings


@pytest.fixture(scope="session")
def decode() -> Callable[..., list[RawBlock]]:
    """The function decode(decoder, wire, cuts=()), which feeds the wire in pieces and returns all blocks."""
    return _decode
