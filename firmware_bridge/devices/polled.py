"""The part that decoders of polled devices share: a device that the host configures, starts and stops."""

from typing import Protocol

from firmware_bridge.devices.stream import RawBlock, StreamCounts, StreamOptions
from firmware_bridge.errors import FormatError

__all__ = ["PolledDecoder"]

_STARTING_S = 2.0
"""A started device that sends nothing valid for this long is started again."""
_PATIENCE_BYTES = 8192


class _Decode(Protocol):
    def __call__(self, in_a_row: int, at_end: bool = False) -> list[RawBlock]: ...


class PolledDecoder:
    """State, counts and end of the stream of a polled device (see `StreamDecoder`); base of its decoder.

    A subclass has `take_request` and `_decode(in_a_row, at_end)`, which takes blocks from `_buffer` once that many
    frames continue one another. `_state` is "new", "started" or a step between them; a recording is always "started".
    """

    _decode: _Decode
    _answers = False
    """Whether the device answers commands: bytes that arrive before it is started are not frames then."""

    def __init__(self, options: StreamOptions, stop: bytes, frame: str, in_a_row: int) -> None:
        """stop: the command that stops the device. frame: for messages. in_a_row: frames that confirm a first one."""
        self._live, self._hint, self._clock = options.live, options.hint, options.clock
        self._stop, self._frame, self._in_a_row = stop, frame, in_a_row
        self._state, self._since_s = ("new" if self._live else "started"), 0.0
        self._buffer = b""
        self._locked = self._ever = False
        self._heard_s = 0.0
        self._next = self._segment = 0
        self._bytes = self._samples = self._dropped = self._rejected = self._discarded = 0

    @property
    def counts(self) -> StreamCounts:
        """See `StreamCounts`."""
        return StreamCounts(self._samples, self._dropped, self._rejected, self._discarded)

    def complaint(self) -> str | None:
        """See `StreamDecoder`."""
        if self._ever:
            return None
        return f"{self._bytes} bytes arrived but no {self._frame} among them: {self._hint}"

    def farewell(self) -> bytes:
        """The command that stops the device."""
        return self._stop

    def feed(self, data: bytes) -> list[RawBlock]:
        """See `StreamDecoder`."""
        self._bytes += len(data)
        if self._state != "started":
            self._hear(data)
            return []
        self._buffer += data
        blocks = self._decode(self._in_a_row)
        if not self._ever and self._bytes > _PATIENCE_BYTES:
            raise FormatError(self.complaint())
        return blocks

    def finish(self) -> list[RawBlock]:
        """See `StreamDecoder`."""
        blocks: list[RawBlock] = []
        if self._state == "started" or not self._answers:
            blocks = self._decode(self._in_a_row) + self._decode(2, at_end=True)
        if (complaint := self.complaint()) is not None:
            raise FormatError(complaint)
        self._discarded += len(self._buffer)
        self._buffer = b""
        return blocks

    def _hear(self, data: bytes) -> None:
        """Bytes that arrive before the device is started: an answer, or the rest of an earlier run."""

    def _must_restart(self, now_s: float) -> bool:
        """Whether the device must be configured from the beginning: it is new, or silent although started."""
        silent = self._state == "started" and now_s - max(self._heard_s, self._since_s) > _STARTING_S
        return self._state == "new" or silent

    def _enter(self, state: str, command: bytes) -> bytes:
        self._state, self._since_s = state, self._clock()
        return command

    def _begin_run(self) -> None:
        """Forget the earlier run before the device is started."""
        self._segment += self._ever
        self._buffer, self._locked, self._next = b"", False, 0
