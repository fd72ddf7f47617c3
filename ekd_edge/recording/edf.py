"""EDF+ files of one signal with annotations, written record by record (Kemp and Olivan 2003, www.edfplus.info)."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import FormatError
from ekd_edge.recording.contents import Placed, Stretch, annotation_of, onset_of, placed
from ekd_edge.recording.reader import Reader
from ekd_edge.recording.replay import read_recordings
from ekd_edge.signal.blocks import SampleBlock

__all__ = ["EdfFile", "annotations", "record_of"]

_WIDTH: Final = 8
"""Characters of a number in the header."""
_MAX_SAMPLES: Final = 30_000
_MAX_RECORD_S: Final = 10
_GOOD_RATE: Final = Fraction(1, 10**9)
_TIMEKEEPING_BYTES: Final = 32
_LOWEST, _HIGHEST = -32768, 32767
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


@dataclass(slots=True)
class AnnotationSize:
    """Bytes of the annotations of a stretch: of all, and of the longest."""

    total: int = 0
    longest: int = 0


def annotations(files: Sequence[Path], count: int) -> list[AnnotationSize]:
    """The size of the annotations of each stretch. count: of stretches."""
    sizes = [AnnotationSize() for _ in range(count)]
    for each in placed(read_recordings(list(files), Reader())):
        if each.stretch >= 0 and (encoded := _annotation(each, Fraction(1))):
            size = sizes[each.stretch]
            size.total, size.longest = size.total + len(encoded), max(size.longest, len(encoded))
    return sizes


def record_of(rate_hz: Fraction) -> tuple[int, Decimal]:
    """The samples and the seconds of a record.

    The samples are a whole number, and the seconds have at most eight characters: their quotient is the rate, exactly
    where a record of up to 10 s allows it (1000/3 Hz: 334 in 1.002 s), else to one part in 10^9 (134.371 Hz) or as
    well as possible.
    """
    fewest = max(1, min(math.ceil(rate_hz), _MAX_SAMPLES))
    most = max(fewest, min(_MAX_SAMPLES, math.ceil(_MAX_RECORD_S * rate_hz)))
    best: tuple[Fraction, int, Decimal] | None = None
    for samples in range(fewest, most + 1):
        seconds = samples / rate_hz
        written = _in_width(Decimal(seconds.numerator) / Decimal(seconds.denominator))
        error = abs(Fraction(written) / seconds - 1)
        if best is None or error < best[0]:
            best = error, samples, written
        if error <= _GOOD_RATE:
            break
    assert best is not None
    return best[1:]


class EdfFile:
    """An EDF+ file of a stretch. padding: samples at its end that repeat the last one, as EDF has whole records.

    Args:
        stretch: of samples in microsiemens.
        size: of its annotations.
    """

    def __init__(self, stretch: Stretch, size: AnnotationSize) -> None:
        self._stretch = stretch
        self.samples, self.record_s = record_of(stretch.rate_hz)
        self._records = -(-stretch.length // self.samples)
        self.padding = self._records * self.samples - stretch.length
        self._low, self._high = _bounds(stretch.low, stretch.high)
        self._start: datetime | None = None
        self._fraction = Fraction(0)
        if stretch.start_utc_s is not None and 0 <= stretch.start_utc_s < 4e9:
            microseconds = round(stretch.start_utc_s * 1e6)
            self._start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=microseconds // 10**6)
            self._fraction = Fraction(microseconds % 10**6, 10**6)
        padding = self._padding_annotation()
        each = -(-(size.total + len(padding)) // self._records) + max(size.longest, len(padding))
        self._note_bytes = (each + _TIMEKEEPING_BYTES + 1) // 2 * 2

    def write(self, out: BinaryIO, values: Iterable[NDArray[np.float64]], notes: Iterable[Placed]) -> None:
        """Write the file.

        Args:
            out: the file.
            values: all samples of the stretch in microsiemens, in arrays of any length; a recording that is being
                written may have more by now, which are left out.
            notes: all items of the stretch; marks and predictions become annotations, in the first records with space.

        Raises:
            OSError: the file cannot be written.
            FormatError: there are fewer samples than in the stretch.
        """
        out.write(self._header())
        waiting = self._notes(notes)
        pending = next(waiting, b"")
        for number, record in enumerate(self._whole_records(values)):
            onset = self._fraction + number * Fraction(self.record_s)
            area = b"+" + _seconds(onset) + b"\x14\x14\0"
            while pending and len(area) + len(pending) <= self._note_bytes:
                area += pending
                pending = next(waiting, b"")
            out.write(record.tobytes() + area.ljust(self._note_bytes, b"\0"))

    def _whole_records(self, values: Iterable[NDArray[np.float64]]) -> Iterator[NDArray[np.int16]]:
        low, high = float(self._low), float(self._high)
        scale = (_HIGHEST - _LOWEST) / (high - low)
        held = np.empty(0)
        left = self._stretch.length
        for each in values:
            held = np.concatenate([held, each[:left]])
            left -= len(each[:left])
            whole = len(held) // self.samples * self.samples
            yield from self._digital(held[:whole], low, scale)
            held = held[whole:]
            if not left:
                break
        if left:
            raise FormatError("the recording has changed while it was exported: export it again")
        if len(held):
            yield from self._digital(np.pad(held, (0, self.padding), mode="edge"), low, scale)

    def _digital(self, values: NDArray[np.float64], low: float, scale: float) -> NDArray[np.int16]:
        """Records of 16-bit numbers, shape (records, samples)."""
        digital = np.clip(np.rint((values - low) * scale) + _LOWEST, _LOWEST, _HIGHEST)
        records: NDArray[np.int16] = digital.astype("<i2").reshape(-1, self.samples)
        return records

    def _notes(self, notes: Iterable[Placed]) -> Iterator[bytes]:
        for each in notes:
            if encoded := _annotation(each, self._fraction):
                yield encoded
        if self.padding:
            yield self._padding_annotation()

    def _padding_annotation(self) -> bytes:
        if not self.padding:
            return b""
        onset = self._fraction + self._stretch.length / self._stretch.rate_hz
        duration = self.padding / self._stretch.rate_hz
        text = f"BAD_padding: {self.padding} samples repeat the last one"
        return b"+" + _seconds(onset) + b"\x15" + _seconds(duration) + b"\x14" + text.encode() + b"\x14\0"

    def _header(self) -> bytes:
        date = self._start or datetime(1985, 1, 1, tzinfo=UTC)
        known = f"{date.day:02d}-{_MONTHS[date.month - 1]}-{date.year}"
        year = f"{date.year % 100:02d}" if date.year < 2085 else "yy"
        head = [
            ("0", 8), ("X X X X", 80), (f"Startdate {known if self._start else 'X'} X X ekd", 80),
            (f"{date.day:02d}.{date.month:02d}.{year}", 8), (f"{date:%H.%M.%S}", 8), (256 * 3, 8), ("EDF+C", 44),
            (self._records, 8), (self.record_s, 8), (2, 4),
        ]  # fmt: skip
        signals = [
            ("EDA", "EDF Annotations", 16), ("", "", 80), ("uS", "", 8), (self._low, -1, 8), (self._high, 1, 8),
            (_LOWEST, _LOWEST, 8), (_HIGHEST, _HIGHEST, 8), ("", "", 80), (self.samples, self._note_bytes // 2, 8),
            ("", "", 32),
        ]  # fmt: skip
        fields = [*head, *((value, width) for *both, width in signals for value in both)]
        return "".join(f"{_text(value):<{width}}" for value, width in fields).encode("ascii")


def _annotation(each: Placed, offset_s: Fraction) -> bytes:
    """An annotation as EDF+ has it; nothing for samples. offset_s: added to its onset."""
    if isinstance(each.item, SampleBlock) or (text := annotation_of(each.item)) is None:
        return b""
    return b"+" + _seconds(offset_s + Fraction(onset_of(each))) + b"\x14" + text.encode("utf-8", "replace") + b"\x14\0"


def _seconds(value: Fraction) -> bytes:
    return f"{float(value):.6f}".encode()


def _text(value: object) -> str:
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


def _in_width(value: Decimal) -> Decimal:
    """The value rounded to eight characters."""
    places = max(0, _WIDTH - 1 - len(f"{value:.0f}"))
    return value.quantize(Decimal(1).scaleb(-places))


def _bounds(low: float, high: float) -> tuple[Decimal, Decimal]:
    """The physical range: eight characters each, around the values, of different numbers."""
    places = _WIDTH - 2 - max(len(str(math.floor(low))), len(str(math.ceil(high))))
    step = Decimal(1).scaleb(-max(0, places))
    least, greatest = Decimal(low).quantize(step, ROUND_FLOOR), Decimal(high).quantize(step, ROUND_CEILING)
    return least, max(greatest, least + step)
