"""The encoder of recordings, format version 2 (docs/reference/recording-format.md)."""

import json
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

from ekd_edge.recording.frames import (
    HEAD,
    MARK,
    PREDICTION,
    SOURCE,
    encode_readings,
    encode_text,
    first_version_head,
)
from ekd_edge.recording.metadata import Mark, Source, parse_source, source_of, source_text
from ekd_edge.signal.blocks import SampleBlock

__all__ = ["VERSION", "Encoder", "Mark", "PredictionLine"]

VERSION: Final = 2
_REPEAT_BYTES: Final = 1 << 16
_MAX_MARK: Final = 10_000


@dataclass(frozen=True, slots=True)
class PredictionLine:
    """A prediction as its line of JSON."""

    text: str


class Encoder:
    """Encodes blocks, marks and predictions; each file starts with `begin`.

    Head and source are written twice, and again after every 64 kB, so that no damage of one frame makes others
    unreadable.
    """

    def __init__(self) -> None:
        self._head = b""
        self._run = ""
        self._source: Source | None = None
        self._source_text = b""
        self._source_id = 0
        self._texts = 0
        self._since_repeat = 0

    def begin(self, about: dict[str, Any]) -> bytes:
        """The head of a file. about: JSON-ready facts about the run; "run" is its id."""
        self._source = None
        self._run = str(about.get("run", ""))
        self._head = json.dumps({"ekd_recording": VERSION, **about}).encode()
        self._since_repeat = 0
        marker = first_version_head(json.dumps({"ekd_recording": VERSION}).encode())
        return marker + self._text(HEAD, self._head) + self._text(HEAD, self._head)

    def block(self, block: SampleBlock) -> bytes:
        """A block's readings, preceded by their source where it has changed or is due again.

        Raises ValueError for metadata that a reader would not accept, such as a baseline that is not finite.
        """
        parts = []
        if (source := source_of(block)) != self._source:
            text = source_text(source, self._run).encode()
            if parse_source(text) is None:
                raise ValueError(f"the metadata of samples cannot be recorded: {text.decode()[:200]}")
            self._source, self._source_text = source, text
            self._source_id = crc32(self._source_text)
            parts = [self._text(SOURCE, self._source_text), self._text(SOURCE, self._source_text)]
        elif self._since_repeat >= _REPEAT_BYTES:
            parts = [self._text(HEAD, self._head), self._text(SOURCE, self._source_text)]
            self._since_repeat = 0
        readings = block.values if block.readings is None else block.readings
        parts.append(encode_readings(readings, block.first_index, self._source_id))
        return self._counted(b"".join(parts))

    def mark(self, mark: Mark) -> bytes:
        """A mark; its text is cut to 10000 characters."""
        text = json.dumps({"time": mark.time_s, "text": mark.text[:_MAX_MARK]})
        return self._counted(self._text(MARK, text.encode()))

    def prediction(self, line: str) -> bytes:
        """A prediction. line: its JSON, as printed. Raises ValueError for a line of more than a megabyte."""
        return self._counted(self._text(PREDICTION, line.encode("utf-8", "replace")))

    def _text(self, kind: int, text: bytes) -> bytes:
        self._texts += 1
        return encode_text(kind, self._texts, text)

    def _counted(self, data: bytes) -> bytes:
        self._since_repeat += len(data)
        return data
