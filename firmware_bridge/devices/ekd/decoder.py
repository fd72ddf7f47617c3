"""Frame protocol version 1 as a stream of readings: the sample index shows gaps, resets and duplicates."""

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
from firmware_bridge.devices.registry import DeviceFormat, Heard, check_settings
from firmware_bridge.devices.stream import RawBlock, StreamCounts, StreamDecoder, StreamOptions
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.errors import FormatError

__all__ = ["FORMAT", "EkdDecoder"]

_INDEX_MASK = 0xFFFFFFFF
_DATA_HEAD = 8
"""Type, seq, first_index and n of a DATA payload: the counts follow."""
_FOREIGN_HELLOS = 3
"""HELLOs of another version in a row, between which the device was asked for this one, before it is given up."""
_PATIENCE_BYTES = 8192
"""Bytes without a single sound frame after which the stream is taken for something else."""
_HELD_SAMPLES = 1 << 16
"""Samples kept while no HELLO has said what they are."""
_PLAUSIBLE_GAP_S = 600
_STREAK_FRAMES = 8
"""Frames in a row, contiguous with one another, that confirm a jump back or a long one forward."""


class EkdDecoder:
    """Decodes frames (see `StreamDecoder`).

    DATA before the first HELLO is kept and delivered once the HELLO states the rate. A jump of the index
    forward is a gap. A frame with an earlier index is a duplicate, unless it starts a run of contiguous
    frames: then the device has restarted. A HELLO with a new boot nonce starts a segment.

    rate_hz: overrides the rate that HELLO states. hint: what to check when the bytes are not frames.
    """

    def __init__(self, rate_hz: Fraction | None = None, hint: str = "check the port and its baud rate") -> None:
        self._rate_option = rate_hz
        self._hint = hint
        self._frames = Decoder()
        self._hello: Hello | None = None
        self._status: Status | None = None
        self._refusal: str | None = None
        self._foreign, self._version = 0, VERSION
        self._bytes = 0
        self._asked = False
        self._error: FormatError | None = None
        self._segment = 0
        self._next: int | None = None
        self._run: list[bytes] = []
        self._held: deque[bytes] = deque()
        self._held_samples = 0
        self._streak: list[bytes] = []
        self._streak_next = 0
        self._blocks: list[RawBlock] = []
        self._samples = self._dropped = self._rejected = 0

    @property
    def hello(self) -> Hello | None:
        """The latest HELLO."""
        return self._hello

    @property
    def status(self) -> Status | None:
        """The latest STATUS."""
        return self._status

    @property
    def counts(self) -> StreamCounts:
        """Rejected frames include duplicates and frames of unknown type."""
        rejected = self._rejected + self._frames.rejected
        return StreamCounts(self._samples, self._dropped, rejected, self._frames.discarded_bytes, self._status)

    def complaint(self) -> str | None:
        """See `StreamDecoder`."""
        if self._hello is not None:
            return None
        if self._refusal is not None:
            return self._refusal
        if self._foreign:
            return _foreign_version(self._version)
        if self._frames.frames:
            return (
                "frames arrive but no HELLO among them: the device must send HELLO every second, "
                "as PROTOCOL.md says, or its samples have no rate and no unit"
            )
        return f"{self._bytes} bytes arrived but no frame among them: {self._hint}"

    def take_request(self) -> bytes:
        """REQUEST_HELLO, once, and again whenever the device introduces itself in another version."""
        if self._asked or (self._hello is not None and not self._foreign):
            return b""
        self._asked = True
        return DELIMITER + encode(RequestHello())

    def farewell(self) -> bytes:
        """Nothing: the device speaks until it has no power."""
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
                    self._frames.refuse(payload)
                elif self._hello is None and self._foreign:
                    self._rejected += 1
                elif self._hello is None:
                    self._hold(payload)
                else:
                    self._place(payload)
            else:
                self._control(payload)
        lost = self._hello is None and (
            self._held_samples > _HELD_SAMPLES or (not self._frames.frames and self._bytes > _PATIENCE_BYTES)
        )
        if lost and self._error is None:
            self._error = FormatError(self.complaint())
        return self._deliver()

    def finish(self) -> list[RawBlock]:
        """See `StreamDecoder`."""
        if self._error is None:
            self._frames.finish()
            self._drop_streak()
            if (complaint := self.complaint()) is not None:
                self._error = FormatError(complaint)
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
                    self._greet(hello)
                else:
                    self._refusal = f"the device's HELLO states {fault}: its firmware must be corrected"
                    self._frames.refuse(payload)
            case ForeignHello(version):
                self._foreign, self._version = self._foreign + 1, version
                self._rejected += 1
                self._asked = False
                if self._hello is None:
                    # What came before was meant in that version: nothing of it may be read.
                    self._rejected += len(self._held)
                    self._held.clear()
                    self._held_samples = 0
                if self._foreign >= _FOREIGN_HELLOS:
                    self._error = FormatError(_foreign_version(version))
            case Status() as status:
                if status.lead_off != self._lead_off:
                    self._flush()
                self._status = status
            case Unknown():
                self._rejected += 1
            case None:
                self._frames.refuse(payload)

    def _greet(self, hello: Hello) -> None:
        self._foreign = 0
        if hello == self._hello:
            return
        first = self._hello is None
        self._flush()
        self._hello = hello
        if first:
            while self._held:
                self._place(self._held.popleft())
            return
        self._segment += 1
        self._next = None
        streak, self._streak = self._streak, []
        for payload in streak:
            self._place(payload)

    def _hold(self, payload: bytes) -> None:
        self._held.append(payload)
        self._held_samples += payload[7]

    def _place(self, payload: bytes) -> None:
        """Put one DATA frame at its place in the count."""
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
        """Whether a frame that does not continue the count follows a plausible gap; others are kept back."""
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
        """Turn the contiguous frames at hand into a block."""
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
        f"the device speaks frame protocol version {version}, this program {VERSION}: "
        f"{'update ekd' if version > VERSION else 'flash newer firmware'}"
    )


def _open(options: StreamOptions) -> StreamDecoder:
    check_settings("ekd", options.settings)
    return EkdDecoder(options.rate_hz, options.hint)


def _recognises(heard: Heard) -> bool:
    """Two sound frames of known types: one alone may be chance, once in 65536 stretches between zeros."""
    known = [frame for frame in Decoder().feed(heard.data) if not isinstance(frame, Unknown)]
    return len(known) >= 2 or (not heard.live and len(known) == 1)


def _emulate(waveform: Waveform) -> Emulator:
    from firmware_bridge.devices.ekd.emulator import EkdEmulator

    return EkdEmulator(waveform)


FORMAT = DeviceFormat(
    name="ekd",
    about="frame protocol v1 (ekd's own firmware)",
    baud=115200,
    open=_open,
    recognises=_recognises,
    emulate=_emulate,
)
