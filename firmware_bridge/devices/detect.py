"""Which format a device speaks: found by listening, or by asking it, without losing a byte that was heard meanwhile."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle

from firmware_bridge.devices.registry import (
    DeviceFormat,
    Heard,
    check_settings,
    find_format,
    installed_formats,
    parse_format,
)
from firmware_bridge.devices.stream import RawBlock, StreamCounts, StreamDecoder, StreamOptions
from firmware_bridge.errors import FormatError

__all__ = ["DetectingDecoder", "open_decoder"]

_PATIENCE_BYTES = 16384
_TEXT = frozenset(b"\t\r\n" + bytes(range(32, 127)))
_SILENCE_S = 1.0
"""A device that has said nothing for so long is asked."""
_ANSWER_S = 0.5


def open_decoder(format: str = "auto", options: StreamOptions | None = None) -> StreamDecoder:
    """A decoder for `NAME` or `NAME:key=value,...`; "auto" finds out by listening and asking.

    Raises ConfigError where there is no such format, or no such setting.
    """
    options = options or StreamOptions()
    name, settings = parse_format(format)
    if name == "auto":
        check_settings("auto", settings)
        return DetectingDecoder(options)
    return find_format(name).open(replace(options, settings=settings))


class DetectingDecoder:
    """Identifies the format, then decodes everything received from the first byte on (see `StreamDecoder`).

    It decides once exactly one format recognises the bytes, or answers to its name. A device is asked nothing
    while it speaks by itself.
    """

    def __init__(self, options: StreamOptions) -> None:
        self._options = options
        self._formats = list(installed_formats())
        self._heard = b""
        self._next_look = 1
        self._first_s = 0.0
        self._arrivals: list[tuple[int, float]] = []
        self._silent_since_s: float | None = None
        self._questions = self._in_turn()
        self._asked: list[DeviceFormat] = []
        self._asked_s = 0.0
        self._chosen: StreamDecoder | None = None
        self.format: DeviceFormat | None = None
        """What was found, else None."""

    @property
    def decoder(self) -> StreamDecoder | None:
        """The decoder of what was found, else None."""
        return self._chosen

    @property
    def counts(self) -> StreamCounts:
        """Zero until the format is known; nothing heard before is left out of the count then."""
        return StreamCounts() if self._chosen is None else self._chosen.counts

    def complaint(self) -> str | None:
        """See `StreamDecoder`."""
        if self._chosen is not None:
            return self._chosen.complaint()
        names = ", ".join(format.name for format in self._formats)
        return f"{len(self._heard)} bytes arrived but none of the formats {names} among them: {self._options.hint}"

    def hears_noise(self) -> bool:
        """Whether what was heard so far is neither any format nor text that may yet lead to one."""
        printable = sum(byte in _TEXT for byte in self._heard)
        return self._chosen is None and printable < 0.9 * len(self._heard)

    def take_request(self) -> bytes:
        """A question, where the device has been silent; once the format is known, what its decoder wants to send."""
        if self._chosen is not None:
            return self._chosen.take_request()
        now_s = self._options.clock()
        if self._silent_since_s is None:
            self._silent_since_s = now_s
        patience_s = _ANSWER_S if self._asked else _SILENCE_S
        if not self._options.live or self._heard or now_s - max(self._silent_since_s, self._asked_s) < patience_s:
            return b""
        asked = next(self._questions, None)
        if asked is None or asked.question is None:
            return b""
        self._asked.append(asked)
        self._asked_s = now_s
        return asked.question.ask

    def farewell(self) -> bytes:
        """See `StreamDecoder`."""
        return b"" if self._chosen is None else self._chosen.farewell()

    def feed(self, data: bytes) -> list[RawBlock]:
        """See `StreamDecoder`."""
        if self._chosen is not None:
            return self._chosen.feed(data)
        if data and self._options.live:
            now_s = self._options.clock()
            self._first_s = self._first_s if self._heard else now_s
            self._arrivals.append((len(self._heard) + len(data), now_s - self._first_s))
        self._heard += data
        if len(self._heard) >= self._next_look:
            self._next_look = len(self._heard) + max(1, len(self._heard) // 16)
            if (found := self._look()) is not None:
                return self._choose(found)
        if len(self._heard) > _PATIENCE_BYTES:
            raise FormatError(self.complaint())
        return []

    def finish(self) -> list[RawBlock]:
        """See `StreamDecoder`."""
        if self._chosen is None:
            found = self._look()
            if found is None:
                found = self._shortest()
            if found is None:
                raise FormatError(self.complaint())
            return self._choose(found) + self.finish()
        return self._chosen.finish()

    def _look(self) -> DeviceFormat | None:
        """The one format that these bytes can be."""
        for format in self._asked:
            if format.question is not None and format.question.answered(self._heard):
                return format
        heard = Heard(self._heard, self._options.live, tuple(self._arrivals))
        found = [format for format in self._formats if format.recognises(heard)]
        return found[0] if len(found) == 1 else None

    def _shortest(self) -> DeviceFormat | None:
        """Lines, where a recording holds no more than one or two."""
        if self._options.live or not self._heard.strip():
            return None
        last = self._heard.rstrip().rsplit(b"\n", 1)[-1]
        csv = find_format("csv")
        return csv if csv.recognises(Heard(b"\n".join([self._heard.rstrip(), last, last]), live=False)) else None

    def _choose(self, format: DeviceFormat) -> list[RawBlock]:
        self.format = format
        self._chosen = format.open(self._options)
        heard, self._heard, self._arrivals = self._heard, b"", []
        return self._chosen.feed(heard)

    def _in_turn(self) -> Iterator[DeviceFormat]:
        asked = [format for format in self._formats if format.question is not None]
        return cycle(asked)
