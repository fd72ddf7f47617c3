"""The base class of decoders for polled devices, which the host configures, starts and stops."""

from collections.abc import Callable
from typing import Protocol

from firmware_bridge.devices.stream import RawBlock, StreamCounts, StreamOptions
from firmware_bridge.errors import FormatError

__all__ = ["PolledDecoder"]

_STARTING_S = 2.0
"""A started device that sends no valid frame for this long is started again."""
_PATIENCE_BYTES = 8192


class _Decode(Protocol):
    def __call__(self, in_a_row: int, at_end: bool = False) -> list[RawBlock]: ...


class PolledDecoder:
    """Base class of a polled device's decoder: its state, its counts and the end of its stream (see `StreamDecoder`).

    A subclass implements `_next_command(waited_s)`, which returns the command that is due in `_state` after that many
    seconds, and `_decode(in_a_row, at_end)`, which decodes blocks from `_buffer` when that many consecutive frames are
    valid. `_state` is "new", "started" or a step between them. The state of a recording is always "started".
    """

    _decode: _Decode
    _next_command: Callable[[float], bytes]
    _has_answers = False
    """Whether the device answers commands. If it does, bytes that arrive before the start are not frames."""

    def __init__(self, options: StreamOptions, stop: bytes, frame: str, in_a_row: int) -> None:
        """Start in the state "new" if live, else "started".

        Args:
            options: options of the stream.
            stop: the command that stops the device.
            frame: name of the device's frame in error messages.
            in_a_row: consecutive valid frames that are required before the first one is accepted.
        """
        self._live, self._hint, self._clock = options.live, options.hint, options.clock
        self._stop, self._frame, self._in_a_row = stop, frame, in_a_row
        self._state, self._since_s = ("new" if self._live else "started"), 0.0
        self._buffer = b""
        self._locked = self._found_any = False
        self._received_s = 0.0
        self._next = self._segment = 0
        self._bytes = self._samples = self._dropped = self._rejected = self._discarded = 0

    @property
    def counts(self) -> StreamCounts:
        """See `StreamCounts`."""
        return StreamCounts(self._samples, self._dropped, self._rejected, self._discarded)

    def failure_reason(self) -> str | None:
        """See `StreamDecoder`."""
        if self._found_any:
            return None
        return f"{self._bytes} bytes arrived without a {self._frame}: {self._hint}"

    def take_request(self) -> bytes:
        """The next command that configures or starts the device, again after two seconds without a frame."""
        if not self._live:
            return b""
        now_s = self._clock()
        if self._must_restart(now_s):
            return self._enter("stopping", self._stop)
        return self._next_command(now_s - self._since_s)

    def stop_command(self) -> bytes:
        """The command that stops the device."""
        return self._stop

    def feed(self, data: bytes) -> list[RawBlock]:
        """See `StreamDecoder`."""
        self._bytes += len(data)
        if self._state != "started":
            self._receive_before_start(data)
            return []
        self._buffer += data
        blocks = self._decode(self._in_a_row)
        if not self._found_any and self._bytes > _PATIENCE_BYTES:
            raise FormatError(self.failure_reason())
        return blocks

    def finish(self) -> list[RawBlock]:
        """See `StreamDecoder`."""
        blocks: list[RawBlock] = []
        if self._state == "started" or not self._has_answers:
            blocks = self._decode(self._in_a_row) + self._decode(2, at_end=True)
        if (reason := self.failure_reason()) is not None:
            raise FormatError(reason)
        self._discarded += len(self._buffer)
        self._buffer = b""
        return blocks

    def _receive_before_start(self, data: bytes) -> None:
        """Process bytes that arrive before the start: an answer, or the end of an earlier run."""

    def _must_restart(self, now_s: float) -> bool:
        """Whether the device must be configured again: it is new, or it was started but is silent."""
        silent = self._state == "started" and now_s - max(self._received_s, self._since_s) > _STARTING_S
        return self._state == "new" or silent

    def _enter(self, state: str, command: bytes) -> bytes:
        self._state, self._since_s = state, self._clock()
        return command

    def _begin_run(self) -> None:
        """Discard the buffer of the earlier run and start a segment."""
        self._segment += self._found_any
        self._buffer, self._locked, self._next = b"", False, 0
