"""Decoder for frame protocol version 1, whose sample index shows gaps, resets and duplicates."""

from collections import deque
from fractions import Fraction

import numpy as np

from firmware_bridge.devices.ekd.frame import (
    DATA_TYPE,
    DELIMITER,
    VERSION,
    Decoder,
    ForeignHello,
    Hello,
    RequestHello,
    Status,
    Unknown,
    encode,
    parse,
)
from firmware_bridge.devices.emulator import Emulator
from firmware_bridge.devices.registry import DeviceFormat, ReceivedBytes, check_settings
from firmware_bridge.devices.stream import RawBlock, StreamCounts, StreamDecoder, StreamOptions
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.errors import FormatError

__all__ = ["FORMAT", "EkdDecoder"]

_INDEX_MASK = 0xFFFFFFFF
_DATA_HEAD = 8
"""Bytes of type, seq, first_index and n before the counts of a DATA payload."""
_FOREIGN_HELLOS = 3
"""Consecutive HELLOs of another version after which the device is refused; each is answered by a request."""
_PATIENCE_BYTES = 8192
"""Maximum number of bytes without a valid frame, after which the stream is refused."""
_MAX_BUFFERED_SAMPLES = 1 << 16
"""Maximum number of samples that are buffered before the first HELLO."""
_PLAUSIBLE_GAP_S = 600
_STREAK_FRAMES = 8
"""Consecutive contiguous frames that confirm a jump backwards, or a long jump forwards, of the index."""


class EkdDecoder:
    """Decodes frames (see `StreamDecoder`).

    DATA before the first HELLO is buffered and delivered when the HELLO states the rate. A jump of the index forwards
    is a gap. A frame with an earlier index is a duplicate, or the device has restarted if contiguous frames follow. A
    HELLO with a new boot nonce starts a segment.

    rate_hz: the sampling rate; it overrides the rate in the HELLO. hint: the remedy in the error message about bytes
    that are not frames.
    """

    def __init__(self, rate_hz: Fraction | None = None, hint: str = "check the port and its baud rate") -> None:
        self._rate_option = rate_hz
        self._hint = hint
        self._frames = Decoder()
        self._hello: Hello | None = None
        self._status: Status | None = None
        self._invalid_hello: str | None = None
        self._foreign, self._version = 0, VERSION
        self._bytes = 0
        self._requested = False
        self._error: FormatError | None = None
        self._segment = 0
        self._next: int | None = None
        self._run: list[bytes] = []
        self._buffered: deque[bytes] = deque()
        self._buffered_samples = 0
        self._streak: list[bytes] = []
        self._streak_next = 0
        self._blocks: list[RawBlock] = []
        self._samples = self._dropped = self._rejected = 0

    @property
    def hello(self) -> Hello | None:
        """The latest HELLO, or None."""
        return self._hello

    @property
    def status(self) -> Status | None:
        """The latest STATUS, or None."""
        return self._status

    @property
    def counts(self) -> StreamCounts:
        """See `StreamCounts`. Rejected frames include duplicates and frames of unknown type."""
        rejected = self._rejected + self._frames.rejected
        return StreamCounts(self._samples, self._dropped, rejected, self._frames.discarded_bytes, self._status)

    def failure_reason(self) -> str | None:
        """See `StreamDecoder`."""
        if self._hello is not None:
            return None
        if self._invalid_hello is not None:
            return self._invalid_hello
        if self._foreign:
            return _foreign_version(self._version)
        if self._frames.frames:
            return (
                "frames arrived but no HELLO, which states rate and unit: correct the device's firmware, which must "
                "send HELLO every second (PROTOCOL.md)"
            )
        return f"{self._bytes} bytes arrived without a valid frame: {self._hint}"

    def take_request(self) -> bytes:
        """REQUEST_HELLO once at the start, and again after each HELLO of another version."""
        if self._requested or (self._hello is not None and not self._foreign):
            return b""
        self._requested = True
        return DELIMITER + encode(RequestHello())

    def stop_command(self) -> bytes:
        """No bytes: the device cannot be stopped."""
        return b""

    def feed(self, data: bytes) -> list[RawBlock]:
        """See `StreamDecoder`."""
        if self._error is not None:
            raise self._error
        self._bytes += len(data)
        for payload in self._frames.payloads(data):
            if payload[0] == DATA_TYPE:
                size = len(payload) - _DATA_HEAD
                if size < 2 or size != 2 * payload[7]:
                    self._frames.reject(payload)
                elif self._hello is None and self._foreign:
                    self._rejected += 1
                elif self._hello is None:
                    self._buffer_data(payload)
                else:
                    self._place(payload)
            else:
                self._control(payload)
        lost = self._hello is None and (
            self._buffered_samples > _MAX_BUFFERED_SAMPLES
            or (not self._frames.frames and self._bytes > _PATIENCE_BYTES)
        )
        if lost and self._error is None:
            self._error = FormatError(self.failure_reason())
        return self._deliver()

    def finish(self) -> list[RawBlock]:
        """See `StreamDecoder`."""
        if self._error is None:
            self._frames.finish()
            self._drop_streak()
            if (reason := self.failure_reason()) is not None:
                self._error = FormatError(reason)
        return self._deliver()

    def _deliver(self) -> list[RawBlock]:
        self._flush()
        blocks, self._blocks = self._blocks, []
        if self._error is not None and not blocks:
            raise self._error
        return blocks

    def _control(self, payload: bytes) -> None:
        match parse(payload):
            case Hello() as hello:
                if (fault := hello.fault()) is None:
                    self._process_hello(hello)
                else:
                    self._invalid_hello = f"the device's HELLO states {fault}: correct its firmware"
                    self._frames.reject(payload)
            case ForeignHello(version):
                self._foreign, self._version = self._foreign + 1, version
                self._rejected += 1
                self._requested = False
                if self._hello is None:
                    # The DATA before this HELLO is of the other version and is discarded.
                    self._rejected += len(self._buffered)
                    self._buffered.clear()
                    self._buffered_samples = 0
                if self._foreign >= _FOREIGN_HELLOS:
                    self._error = FormatError(_foreign_version(version))
            case Status() as status:
                if status.lead_off != self._lead_off:
                    self._flush()
                self._status = status
            case Unknown():
                self._rejected += 1
            case None:
                self._frames.reject(payload)

    def _process_hello(self, hello: Hello) -> None:
        self._foreign = 0
        if hello == self._hello:
            return
        first = self._hello is None
        self._flush()
        self._hello = hello
        if first:
            while self._buffered:
                self._place(self._buffered.popleft())
            return
        self._segment += 1
        self._next = None
        streak, self._streak = self._streak, []
        for payload in streak:
            self._place(payload)

    def _buffer_data(self, payload: bytes) -> None:
        self._buffered.append(payload)
        self._buffered_samples += payload[7]

    def _place(self, payload: bytes) -> None:
        """Process one DATA frame according to its index."""
        first = payload[3] | payload[4] << 8 | payload[5] << 16 | payload[6] << 24
        if self._next is None:
            self._next = first
        if (ahead := (first - self._next) & _INDEX_MASK) and not self._jump(payload, first, ahead):
            return
        if self._streak:
            self._drop_streak()
        self._run.append(payload[_DATA_HEAD:])
        self._next += payload[7]

    def _jump(self, payload: bytes, first: int, ahead: int) -> bool:
        """Process a jump of the index; return whether it is a plausible gap. Other frames are buffered."""
        assert self._next is not None
        if ahead <= _PLAUSIBLE_GAP_S * self._rate():
            self._gap(ahead)
            return True
        if self._streak and first != self._streak_next:
            self._drop_streak()
        self._streak.append(payload)
        self._streak_next = (first + payload[7]) & _INDEX_MASK
        if len(self._streak) == _STREAK_FRAMES:
            self._flush()
            streak, self._streak = self._streak, []
            start = int.from_bytes(streak[0][3:7], "little")
            ahead = (start - self._next) & _INDEX_MASK
            if ahead < 1 << 31:
                self._gap(ahead)
            else:
                self._segment += 1
                self._next = start
            for kept in streak:
                self._place(kept)
        return False

    def _gap(self, lost: int) -> None:
        assert self._next is not None
        self._flush()
        self._dropped += lost
        self._next += lost

    def _drop_streak(self) -> None:
        self._rejected += len(self._streak)
        self._streak = []

    @property
    def _lead_off(self) -> bool:
        return self._status is not None and self._status.lead_off

    def _rate(self) -> Fraction:
        assert self._hello is not None
        return self._hello.rate_hz if self._rate_option is None else self._rate_option

    def _flush(self) -> None:
        """Convert the buffered contiguous frames to a block."""
        if not self._run:
            return
        assert self._next is not None
        values = np.frombuffer(b"".join(self._run), dtype="<u2").astype(np.float64)
        values.flags.writeable = False
        self._run = []
        self._samples += len(values)
        first = self._next - len(values)
        self._blocks.append(RawBlock(values, first, self._rate(), self._segment, self._hello, lead_off=self._lead_off))


def _foreign_version(version: int) -> str:
    return (
        f"the device uses frame protocol version {version}, this program version {VERSION}: "
        f"{'update ekd' if version > VERSION else 'flash newer firmware'}"
    )


def _open(options: StreamOptions) -> StreamDecoder:
    check_settings("ekd", options.settings)
    return EkdDecoder(options.rate_hz, options.hint)


def _recognises(received: ReceivedBytes) -> bool:
    """Whether there are two valid frames of known types, or one in a recording.

    Random bytes between two zeros pass the CRC once in 65536 times.
    """
    known = [frame for frame in Decoder().feed(received.data) if not isinstance(frame, Unknown)]
    return len(known) >= 2 or (not received.live and len(known) == 1)


def _emulate(waveform: Waveform) -> Emulator:
    from firmware_bridge.devices.ekd.emulator import EkdEmulator

    return EkdEmulator(waveform)


FORMAT = DeviceFormat(
    name="ekd",
    about="frame protocol v1 (ekd's firmware)",
    baud=115200,
    open=_open,
    recognises=_recognises,
    emulate=_emulate,
)
