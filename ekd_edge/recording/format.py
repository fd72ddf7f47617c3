"""The format of recordings: samples, marks and predictions as frames (docs/reference/recording-format.md).

The frames are those of the wire (`firmware_bridge.devices.ekd.frame`): COBS, a CRC each, a delimiter. Three types:

    0x41 TEXT     kind u8, part u8, last u8, UTF-8: h head, s source, m mark, p prediction; parts until last is 1
    0x42 COUNTS   source u16, first_index u64, n u8, n x u16: whole readings of the source's unit
    0x43 VALUES   source u16, first_index u64, n u8, n x f64: any other readings
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import FormatError, SignalError
from ekd_edge.signal.blocks import Baseline, SampleBlock
from firmware_bridge.devices.ekd.frame import DELIMITER, Decoder, wrap
from firmware_bridge.units import Unit

__all__ = ["VERSION", "Encoder", "Mark", "PredictionLine", "Reader", "is_recording"]

VERSION: Final = 1

_TEXT, _COUNTS, _VALUES = 0x41, 0x42, 0x43
_HEAD, _SOURCE, _MARK, _PREDICTION = b"hsmp"
_PART_BYTES = 247
_BLOCK = struct.Struct("<BHQB")
_MAX_COUNTS, _MAX_VALUES = 119, 29


@dataclass(frozen=True, slots=True)
class Mark:
    """An event with a message. time_s: seconds since 1970 on the host's wall clock."""

    time_s: float
    text: str


@dataclass(frozen=True, slots=True)
class PredictionLine:
    """A prediction as its line of JSON."""

    text: str


@dataclass(frozen=True, slots=True)
class _Source:
    """Metadata of the readings that follow. unit: None for microsiemens of an unknown device."""

    segment: int
    rate_hz: Fraction
    unit: Unit | None
    lead_off: bool
    baseline: Baseline | None


class Encoder:
    """Encodes blocks, marks and predictions; each file starts with `begin`."""

    def __init__(self) -> None:
        self._source: _Source | None = None
        self._number = 0

    def begin(self, about: dict[str, Any]) -> bytes:
        """The head of a file. about: JSON-ready facts about the run."""
        self._source = None
        return DELIMITER + _text(_HEAD, json.dumps({"ekd_recording": VERSION, **about}))

    def block(self, block: SampleBlock) -> bytes:
        """A block's readings, preceded by its source if that has changed."""
        source = _Source(block.segment, block.rate_hz, block.unit, block.lead_off, block.baseline)
        parts = []
        if source != self._source:
            self._source = source
            self._number = (self._number + 1) & 0xFFFF
            about = asdict(source) | {"rate_hz": str(block.rate_hz), "source": self._number}
            parts.append(_text(_SOURCE, json.dumps(about)))
        readings = block.values if block.readings is None else block.readings
        parts += _readings(readings, block.first_index, self._number)
        return b"".join(parts)

    @staticmethod
    def mark(mark: Mark) -> bytes:
        """A mark."""
        return _text(_MARK, json.dumps({"time": mark.time_s, "text": mark.text}))

    @staticmethod
    def prediction(line: str) -> bytes:
        """A prediction. line: its JSON, as printed."""
        return _text(_PREDICTION, line)


def _text(kind: int, text: str) -> bytes:
    data = text.encode()
    parts = [data[at : at + _PART_BYTES] for at in range(0, len(data), _PART_BYTES)] or [b""]
    return b"".join(
        wrap(bytes([_TEXT, kind, number, number == len(parts) - 1]) + part) for number, part in enumerate(parts)
    )


def _readings(readings: NDArray[np.float64], first_index: int, source: int) -> list[bytes]:
    whole = readings.astype(np.uint16) if len(readings) and 0 <= readings.min() <= readings.max() <= 65535 else None
    if whole is not None and np.array_equal(whole, readings):
        kind, max_items, data = _COUNTS, _MAX_COUNTS, whole.astype("<u2")
    else:
        kind, max_items, data = _VALUES, _MAX_VALUES, readings.astype("<f8")
    return [
        wrap(
            _BLOCK.pack(kind, source, first_index + at, len(data[at : at + max_items]))
            + data[at : at + max_items].tobytes()
        )
        for at in range(0, len(data), max_items)
    ]


def is_recording(beginning: bytes) -> bool:
    """Whether a file with these first bytes is a recording."""
    heads = (payload for payload in Decoder().payloads(beginning) if payload[:2] == bytes([_TEXT, _HEAD]))
    return any(b'"ekd_recording"' in payload for payload in heads)


class Reader:
    """Decodes the bytes of one or several files of a run into blocks, marks and predictions, in order.

    A torn or damaged frame is counted and skipped; its samples become a gap.
    """

    def __init__(self) -> None:
        self._frames = Decoder()
        self._source: _Source | None = None
        self._number: int | None = None
        self._parts: list[bytes] = []
        self._kind = 0
        self.head: dict[str, Any] = {}

    @property
    def damaged(self) -> int:
        """Number of rejected frames."""
        return self._frames.rejected

    def feed(self, data: bytes) -> Iterator[SampleBlock | Mark | PredictionLine]:
        """The items that these bytes complete; consecutive readings are joined.

        Raises FormatError for a newer format.
        """
        run: list[NDArray[np.float64]] = []
        first = expected = 0
        for payload in self._frames.payloads(data):
            if payload[0] in (_COUNTS, _VALUES):
                source, at, values = _parsed(payload)
                if source != self._number:
                    self._frames.reject(payload)  # the frame of its source was damaged
                    continue
                if run and at != expected:
                    yield self._block(run, first)
                    run = []
                first, expected = (first if run else at), at + len(values)
                run.append(values)
                continue
            if run:
                yield self._block(run, first)
                run = []
            if payload[0] == _TEXT and len(payload) > 3:
                yield from self._text_items(payload)
        if run:
            yield self._block(run, first)

    def _block(self, run: list[NDArray[np.float64]], first_index: int) -> SampleBlock:
        assert self._source is not None
        readings = np.concatenate(run)
        source, unit = self._source, self._source.unit
        values = readings if unit is None else unit.to_microsiemens(readings)
        for array in (readings, values):
            array.flags.writeable = False
        kept = None if unit is None else readings
        return SampleBlock(
            values, first_index, source.rate_hz, source.segment, kept, unit, source.lead_off, source.baseline
        )

    def _text_items(self, payload: bytes) -> Iterator[Mark | PredictionLine]:
        kind, part, last = payload[1:4]
        if part == 0:
            self._kind, self._parts = kind, []
        if kind != self._kind or part != len(self._parts):
            self._frames.reject(payload)
            return
        self._parts.append(payload[4:])
        if not last:
            return
        text = b"".join(self._parts).decode("utf-8", "replace")
        if kind == _PREDICTION:
            yield PredictionLine(text)
            return
        try:
            data = json.loads(text)
            if kind == _MARK:
                yield Mark(float(data["time"]), str(data["text"]))
            elif kind == _SOURCE:
                self._source = _source(data)
                self._number = int(data["source"])
            elif kind == _HEAD:
                self._take_head(data)
        except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError, SignalError) as error:
            raise FormatError(f"the recording has invalid metadata {text[:80]!r}: restore it from a copy") from error

    def _take_head(self, head: dict[str, Any]) -> None:
        if head["ekd_recording"] != VERSION:
            raise FormatError(
                f"the recording has format {head['ekd_recording']}, this program reads {VERSION}: update ekd"
            )
        self.head = head
        self._source = None


def _source(data: dict[str, Any]) -> _Source:
    unit = None if data["unit"] is None else Unit(**data["unit"])
    baseline = None if data["baseline"] is None else Baseline(**data["baseline"])
    return _Source(int(data["segment"]), Fraction(data["rate_hz"]), unit, bool(data["lead_off"]), baseline)


def _parsed(payload: bytes) -> tuple[int, int, NDArray[np.float64]]:
    kind, source, first_index, n = _BLOCK.unpack_from(payload)
    dtype = "<u2" if kind == _COUNTS else "<f8"
    values = np.frombuffer(payload, dtype, offset=_BLOCK.size)[:n].astype(np.float64)
    return source, first_index, values
