"""The reader of recordings of both versions: bytes to blocks, marks and predictions."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from zlib import crc32

import numpy as np

from ekd_edge.errors import FormatError, SignalError
from ekd_edge.recording.format import VERSION, Mark, PredictionLine
from ekd_edge.recording.frames import (
    HEAD,
    KINDS,
    MARK,
    PREDICTION,
    SOURCE,
    Readings,
    Text,
    parse_payload,
)
from ekd_edge.recording.metadata import Source, parse_head, parse_mark, parse_source
from ekd_edge.signal.blocks import SampleBlock
from firmware_bridge.devices.ekd.frame import DELIMITER, Decoder
from firmware_bridge.units import Unit

__all__ = ["Reader"]

_MICROSIEMENS = Unit("uS")


class Reader:
    """Decodes the bytes of one or several files into blocks, marks and predictions, in order.

    A torn or damaged frame, invalid metadata, and readings that are out of range or go back in time are counted and
    skipped; their samples become a gap. Segment numbers of a later run continue those of the run before.

    head: the latest head of a file. texts: False skips marks and predictions, so that blocks are long.
    """

    def __init__(self, *, texts: bool = True) -> None:
        self._texts = texts
        self._frames = Decoder()
        self._parts: list[bytes] = []
        self._text: tuple[int, int | None] | None = None
        self._source: Source | None = None
        self._source_id: tuple[int, int] | None = None
        self._file, self._run_1 = 0, ""
        self._base = self._expected = 0
        self._highest = -1
        self.run: str | None = None
        """Id of the run whose samples are read."""
        self.head: dict[str, Any] = {}

    @property
    def damaged(self) -> int:
        """Number of rejected frames."""
        return self._frames.rejected

    def begin_file(self) -> None:
        """The next bytes are those of another file: an incomplete frame at the end of the last one is counted."""
        self._frames.payloads(DELIMITER)
        self._parts, self._text = [], None
        self._file += 1
        self._run_1 = f"file {self._file}"
        if self._source_id is not None and self._source_id[0] == 1:
            self._source_id = None

    def feed(self, data: bytes) -> Iterator[SampleBlock | Mark | PredictionLine]:
        """The items that these bytes complete; consecutive readings are joined.

        Raises FormatError for a later version of the format.
        """
        held: list[Readings] = []
        expected = 0
        for payload in self._frames.payloads(data):
            found = parse_payload(payload)
            if isinstance(found, Readings):
                if (found.version, found.source) != self._source_id or found.first_index < max(
                    self._expected, expected
                ):
                    self._frames.reject(payload)
                    continue
                if held and found.first_index != expected:
                    yield from self._blocks(held)
                    held = []
                held.append(found)
                expected = found.first_index + len(found.values)
                continue
            if found is None or found.kind not in KINDS:
                self._frames.reject(payload)
                continue
            if found.kind in (MARK, PREDICTION) and not self._texts:
                continue
            text = self._joined(found, payload)
            if text is None or (found.kind == SOURCE and self._source_id == (2, crc32(text))):
                continue
            if held:
                yield from self._blocks(held)
                held, expected = [], 0
            if found.kind == PREDICTION and (line := text.decode("utf-8", "replace")).isprintable():
                yield PredictionLine(line)
            elif found.kind == MARK and (mark := parse_mark(text)) is not None:
                yield mark
            elif not self._take_metadata(found, text):
                self._frames.reject(payload)
        if held:
            yield from self._blocks(held)

    def _blocks(self, held: list[Readings]) -> Iterator[SampleBlock]:
        """Consecutive readings as a block; without the frames that are not in the range of their unit."""
        try:
            yield self._block(held)
        except SignalError:
            good = []
            for each in held:
                try:
                    good.append(self._block([each]))
                except SignalError:
                    self._frames.reject(each.values.tobytes())
            yield from good
        self._expected = held[-1].first_index + len(held[-1].values)

    def _block(self, held: list[Readings]) -> SampleBlock:
        """Consecutive readings as a block. Raises SignalError where one is not in the range of its unit."""
        assert self._source is not None
        source, unit = self._source, self._source.unit
        readings = np.concatenate([each.values for each in held]).astype(np.float64)
        values = (unit or _MICROSIEMENS).to_microsiemens(readings)
        for array in (readings, values):
            array.flags.writeable = False
        kept = None if unit is None else readings
        return SampleBlock(
            values, held[0].first_index, source.rate_hz, source.segment, kept, unit, source.lead_off, source.baseline,
            source.anchor, source.fault,
        )  # fmt: skip

    def _joined(self, found: Text, payload: bytes) -> bytes | None:
        """The whole text where this is its last part."""
        if found.part == 0:
            self._text, self._parts = (found.kind, found.number), []
        if self._text != (found.kind, found.number) or found.part != len(self._parts):
            self._frames.reject(payload)
            return None
        self._parts.append(found.data)
        if found.parts != found.part + 1:
            return None
        text, self._parts, self._text = b"".join(self._parts), [], None
        return text

    def _take_metadata(self, found: Text, text: bytes) -> bool:
        if found.kind == SOURCE:
            return self._take_source(found.version, text)
        return found.kind == HEAD and self._take_head(found.version, text)

    def _take_head(self, version: int, text: bytes) -> bool:
        """Whether the text is a valid head. version: of its frame. Raises FormatError for a later format."""
        head = parse_head(text)
        if head is None:
            return False
        if head["ekd_recording"] > VERSION:
            raise FormatError(
                f"the recording has format {head['ekd_recording']}, this program reads up to {VERSION}: update ekd"
            )
        if head["ekd_recording"] == version:
            self.head = head
        if head["ekd_recording"] == 1:
            self._run_1, self._source_id = str(head.get("run")), None
        return version == 1 or head["ekd_recording"] == version

    def _take_source(self, version: int, text: bytes) -> bool:
        """Whether the text is a valid source that does not go back in time; the readings that follow are its own."""
        self._source_id = None
        if (found := parse_source(text)) is None:
            return False
        run, number, source = found
        if version == 1:
            run = self._run_1
        if run is None or (version == 1 and number is None):
            return False
        if run != self.run:
            self.run, self._base = run, self._highest + 1
        segment = self._base + source.segment
        if segment < self._highest:
            return False
        if segment > self._highest:
            self._highest, self._expected = segment, 0
        self._source = replace(source, segment=segment)
        self._source_id = (version, crc32(text) if number is None or version == 2 else number)
        return True
