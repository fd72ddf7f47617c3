"""Text on a terminal: pieces with a style, their width, bars, curves and clock times."""

import math
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TextIO

__all__ = ["Look", "Piece", "bar", "clock", "cut", "look_of", "padded", "sparkline", "width_of"]

MIN_SPAN_US = 0.2

_BLOCKS, _ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.-~=+*#"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_STYLES = {"bold": "\x1b[1m", "dim": "\x1b[2m", "good": "\x1b[36m", "warn": "\x1b[33m"}

Piece = tuple[str, str]
"""A text and the name of its style, "" for none."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a terminal can show. unicode: block characters and µ. color: styles; off where NO_COLOR is set."""

    unicode: bool
    color: bool
    encoding: str

    def paint(self, pieces: Iterable[Piece]) -> str:
        """The pieces as one text; characters that the terminal's encoding lacks become question marks."""
        text = "".join(
            f"{_STYLES[style]}{text}\x1b[0m" if style and self.color and text else text for text, style in pieces
        )
        return text if text.isascii() else text.encode(self.encoding, "replace").decode(self.encoding)


def look_of(stream: TextIO, color: bool | None = None) -> Look:
    """The look of a stream. color: None reads NO_COLOR."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    try:
        (_BLOCKS + _EIGHTHS + "µ·").encode(encoding)
        unicode = True
    except UnicodeEncodeError:
        unicode = False
    except LookupError:
        unicode, encoding = False, "ascii"
    return Look(unicode, not os.environ.get("NO_COLOR") if color is None else color, encoding)


def sparkline(values: Sequence[float], unicode: bool = True) -> str:
    """One character for each value, scaled to the range of the values, at least MIN_SPAN_US."""
    if not values:
        return ""
    levels = _BLOCKS if unicode else _ASCII_BLOCKS
    low, high = min(values), max(values)
    slack = max(0.0, MIN_SPAN_US - (high - low)) / 2
    low, high = low - slack, high + slack
    scale = (len(levels) - 1) / (high - low)
    return "".join([levels[round((value - low) * scale)] for value in values])


def bar(fraction: float, width: int, unicode: bool = True) -> str:
    """A horizontal bar of `width` characters, filled by 0 to 1 in eighths of a character."""
    if not unicode:
        return ("#" * round(fraction * width)).ljust(width, ".")
    whole, part = divmod(round(fraction * width * 8), 8)
    return ("█" * whole + (_EIGHTHS[part] if part else "")).ljust(width, "·")


def clock(seconds: float) -> str:
    """Seconds on the sensor's clock as h:mm:ss."""
    minutes, second = divmod(math.floor(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}"


def width_of(pieces: Iterable[Piece]) -> int:
    """Columns that the pieces take on a terminal."""
    return sum([len(text) if text.isascii() else _columns(text) for text, _ in pieces])


def cut(pieces: Iterable[Piece], width: int) -> list[Piece]:
    """The pieces up to `width` columns."""
    kept, left = [], width
    for text, style in pieces:
        columns = len(text) if text.isascii() else _columns(text)
        if columns > left:
            text = _cut_text(text, left)
        if text:
            kept.append((text, style))
        left -= columns
        if left <= 0:
            break
    return kept


def padded(pieces: Iterable[Piece], width: int) -> list[Piece]:
    """The pieces with spaces after them up to `width` columns, or cut to it."""
    kept = cut(pieces, width)
    return [*kept, (" " * (width - width_of(kept)), "")]


def _columns(text: str) -> int:
    return sum([_character_columns(each) for each in text])


def _cut_text(text: str, width: int) -> str:
    kept = []
    for each in text:
        width -= _character_columns(each)
        if width < 0:
            break
        kept.append(each)
    return "".join(kept)


@lru_cache(maxsize=1024)
def _character_columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
