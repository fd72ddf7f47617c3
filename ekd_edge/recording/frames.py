"""Frames of recordings: payloads of the wire's frames with a CRC-32 (docs/reference/recording-format.md).

    wire: 0x00 COBS(payload | crc16) 0x00      a delimiter on both sides: one damaged byte damages one frame

Payloads of version 2 end in a CRC-32 of what precedes it; integers and floats are little-endian:

    0x51 TEXT     kind u8, number u8, part u16, parts u16, UTF-8      h head, s source, m mark, p prediction
    0x52 COUNTS   source u32, first_index u64, n u8, n x u16          whole readings of the source's unit
    0x53 VALUES   source u32, first_index u64, n u8, n x f64          any other readings

Payloads of version 1, which are only read, have other types and no CRC-32:

    0x41 TEXT     kind u8, part u8, last u8, UTF-8
    0x42 COUNTS   source u16, first_index u64, n u8, n x u16
    0x43 VALUES   source u16, first_index u64, n u8, n x f64
"""

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ekd_edge.recording.metadata import MAX_INDEX
from firmware_bridge.devices.ekd.frame import DELIMITER, Decoder, wrap

__all__ = [
    "HEAD",
    "KINDS",
    "MARK",
    "MAX_TEXT_BYTES",
    "PREDICTION",
    "SOURCE",
    "Readings",
    "Text",
    "encode_readings",
    "encode_text",
    "first_version_head",
    "is_recording",
    "parse_payload",
]

HEAD, SOURCE, MARK, PREDICTION = KINDS = b"hsmp"
MAX_TEXT_BYTES: Final = 1 << 20

_TEXT, _COUNTS, _VALUES = 0x51, 0x52, 0x53
_TEXT_1, _COUNTS_1, _VALUES_1 = 0x41, 0x42, 0x43
_TEXT_HEAD, _TEXT_HEAD_1 = struct.Struct("<BBBHH"), struct.Struct("<BBBB")
_READINGS_HEAD, _READINGS_HEAD_1 = struct.Struct("<BIQB"), struct.Struct("<BHQB")
_CRC_BYTES, _PART_BYTES = 4, 240
_MAX_PARTS = MAX_TEXT_BYTES // _PART_BYTES + 1
_MAX_COUNTS, _MAX_VALUES = 116, 29


class Readings(NamedTuple):
    """Consecutive readings. version: of the format, 1 or 2. source: id of their metadata, see `parse_payload`."""

    version: int
    source: int
    first_index: int
    values: NDArray[np.uint16] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Text:
    """A part of a text. number: of the text, modulo 256; None in version 1. parts: None while it is unknown."""

    version: int
    kind: int
    number: int | None
    part: int
    parts: int | None
    data: bytes


def encode_text(kind: int, number: int, text: bytes) -> bytes:
    """The frames of a text. Raises ValueError for more than `MAX_TEXT_BYTES`."""
    if len(text) > MAX_TEXT_BYTES:
        raise ValueError(f"a text of {len(text)} bytes is too long for a recording")
    pieces = [text[at : at + _PART_BYTES] for at in range(0, len(text), _PART_BYTES)] or [b""]
    heads = (_TEXT_HEAD.pack(_TEXT, kind, number & 0xFF, part, len(pieces)) for part in range(len(pieces)))
    return b"".join(_frame(head + piece) for head, piece in zip(heads, pieces, strict=True))


def encode_readings(readings: NDArray[np.float64], first_index: int, source: int) -> bytes:
    """The frames of readings, shape (n,). source: CRC-32 of the text of their source."""
    data: NDArray[np.uint16] | NDArray[np.float64] = np.asarray(readings, dtype="<f8")
    kind, most = _VALUES, _MAX_VALUES
    if len(readings) and 0 <= readings.min() <= readings.max() <= 65535:
        counts = readings.astype("<u2")
        if np.array_equal(counts, readings):
            kind, most, data = _COUNTS, _MAX_COUNTS, counts
    return b"".join(
        _frame(_READINGS_HEAD.pack(kind, source, first_index + at, len(some)) + some.tobytes())
        for at in range(0, len(data), most)
        if len(some := data[at : at + most])
    )


def first_version_head(text: bytes) -> bytes:
    """A short head in a frame of version 1, from which programs that read only that version see the version."""
    return DELIMITER + wrap(_TEXT_HEAD_1.pack(_TEXT_1, HEAD, 0, 1) + text)


def parse_payload(payload: bytes) -> Readings | Text | None:
    """The contents of a valid frame, or None where they are damaged or unknown."""
    kind = payload[0]
    if _TEXT <= kind <= _VALUES:
        payload, crc = payload[:-_CRC_BYTES], payload[-_CRC_BYTES:]
        if crc32(payload) != int.from_bytes(crc, "little"):
            return None
        if kind != _TEXT:
            return _readings(payload, _READINGS_HEAD, 2, "<u2" if kind == _COUNTS else "<f8")
        if len(payload) < _TEXT_HEAD.size:
            return None
        _, text_kind, number, part, parts = _TEXT_HEAD.unpack_from(payload)
        if not part < parts <= _MAX_PARTS:
            return None
        return Text(2, text_kind, number, part, parts, payload[_TEXT_HEAD.size :])
    if kind == _TEXT_1 and len(payload) >= _TEXT_HEAD_1.size:
        _, text_kind, part, last = _TEXT_HEAD_1.unpack_from(payload)
        return Text(1, text_kind, None, part, part + 1 if last else None, payload[_TEXT_HEAD_1.size :])
    if kind in (_COUNTS_1, _VALUES_1):
        return _readings(payload, _READINGS_HEAD_1, 1, "<u2" if kind == _COUNTS_1 else "<f8")
    return None


def is_recording(beginning: bytes) -> bool:
    """Whether a file with these first bytes is a recording: any frame of its types is enough."""
    found = map(parse_payload, Decoder().payloads(DELIMITER + beginning))
    return any(isinstance(each, Readings) or (isinstance(each, Text) and each.kind in KINDS) for each in found)


def _frame(payload: bytes) -> bytes:
    return DELIMITER + wrap(payload + crc32(payload).to_bytes(_CRC_BYTES, "little"))


def _readings(payload: bytes, head: struct.Struct, version: int, dtype: str) -> Readings | None:
    if len(payload) < head.size:
        return None
    _, source, first_index, n = head.unpack_from(payload)
    if not n or len(payload) - head.size != n * int(dtype[-1]) or first_index + n > MAX_INDEX:
        return None
    return Readings(version, source, first_index, np.frombuffer(payload, dtype, offset=head.size))
