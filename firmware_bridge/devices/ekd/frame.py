"""Codec of frame protocol version 1: COBS frames with a CRC between a sensor and its host (PROTOCOL.md).

    wire = COBS(type u8 | body | crc u16) 0x00         little-endian; CRC-16/CCITT-FALSE over type and body

Decoding raises no error for any bytes. Damaged frames are counted and skipped, and decoding resumes at the next
delimiter.
"""

import math
import struct
from binascii import crc_hqx
from dataclasses import astuple, dataclass
from fractions import Fraction

from cobs import cobs

from firmware_bridge.rates import in_rate_range

__all__ = [
    "DATA_TYPE",
    "DELIMITER",
    "MAX_SAMPLES",
    "MAX_WIRE_BYTES",
    "VERSION",
    "Data",
    "Decoder",
    "ForeignHello",
    "Frame",
    "Hello",
    "RequestHello",
    "Status",
    "Unknown",
    "crc16",
    "encode",
    "parse",
    "wrap",
]

VERSION = 1
DELIMITER = b"\x00"
MAX_WIRE_BYTES = 254
"""Maximum length of an encoded frame without its delimiter: 253 bytes before COBS, which adds exactly one byte."""

DATA_TYPE, HELLO_TYPE, STATUS_TYPE, REQUEST_HELLO_TYPE = 0x01, 0x02, 0x03, 0x10
MAX_SAMPLES = (MAX_WIRE_BYTES - 1 - 1 - 7 - 2) // 2

_DATA = struct.Struct("<HIB")
_HELLO = struct.Struct("<B8sIIIBHBff")
_STATUS = struct.Struct("<IIB")


@dataclass(frozen=True, slots=True)
class Data:
    """Consecutive raw ADC counts.

    seq: number of this DATA frame since boot, modulo 2**16.
    first_index: number of samples taken before counts[0] since boot, modulo 2**32; lost samples count too.
    counts: 1 to `MAX_SAMPLES` values of 0..65535.
    """

    seq: int
    first_index: int
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Hello:
    """The identity of a device, which it sends at boot, every second and on request.

    device_id: 8 bytes, constant for one device. boot_nonce: a number that differs at each boot.
    rate_numerator, rate_denominator: sampling rate in Hz. adc_bits: 1 to 16; counts are below 2**adc_bits.
    vref_mv: reference voltage in millivolts. profile, calibration: the conversion to microsiemens (PROTOCOL.md).
    """

    device_id: bytes
    boot_nonce: int
    rate_numerator: int
    rate_denominator: int
    adc_bits: int
    vref_mv: int
    profile: int
    calibration: tuple[float, float]

    @property
    def rate_hz(self) -> Fraction:
        """The sampling rate in Hz."""
        return Fraction(self.rate_numerator, self.rate_denominator)

    def fault(self) -> str | None:
        """The invalid field of this HELLO as text, or None if all fields are valid."""
        if self.rate_denominator == 0 or not in_rate_range(self.rate_hz):
            return f"a rate of {self.rate_numerator}/{self.rate_denominator} Hz"
        if not 1 <= self.adc_bits <= 16:
            return f"{self.adc_bits} ADC bits"
        if not all(math.isfinite(c) for c in self.calibration):
            return f"calibration {self.calibration}"
        return None


@dataclass(frozen=True, slots=True)
class Status:
    """The device's counters and state since boot.

    overruns: samples lost inside the device. saturated: samples at a limit of the ADC's range.
    lead_off: whether an electrode is off now.
    """

    overruns: int
    saturated: int
    lead_off: bool


@dataclass(frozen=True, slots=True)
class RequestHello:
    """The host's request for a HELLO in the highest protocol version, up to this one, that the device supports."""

    version: int = VERSION


@dataclass(frozen=True, slots=True)
class ForeignHello:
    """A HELLO of another protocol version, whose other fields are unknown."""

    version: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """A valid frame of a type that this version does not define; decoders skip and count it."""

    type: int
    body: bytes


Frame = Data | Hello | Status | RequestHello | ForeignHello | Unknown


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE: polynomial 0x1021, start 0xFFFF, check value 0x29B1 over b"123456789"."""
    return crc_hqx(data, 0xFFFF)


def wrap(payload: bytes) -> bytes:
    """Encode a payload (type and body, 1 to 251 bytes) with CRC, COBS and delimiter.

    Raises ValueError if the payload has another length.
    """
    if not 1 <= len(payload) <= MAX_WIRE_BYTES - 3:
        raise ValueError(f"a frame has 1 to {MAX_WIRE_BYTES - 3} bytes of type and body, not {len(payload)}")
    encoded: bytes = cobs.encode(payload + crc16(payload).to_bytes(2, "little"))
    return encoded + DELIMITER


def encode(frame: Frame) -> bytes:
    """Encode a frame with its delimiter. Raises ValueError if a field is out of range."""
    try:
        return wrap(_payload(frame))
    except struct.error as error:
        raise ValueError(f"{type(frame).__name__}: {error}") from error


def _payload(frame: Frame) -> bytes:
    match frame:
        case Data(seq, first_index, counts):
            if not 1 <= len(counts) <= MAX_SAMPLES:
                raise ValueError(f"a DATA frame has 1 to {MAX_SAMPLES} samples, not {len(counts)}")
            n = len(counts)
            return struct.pack(f"<BHIB{n}H", DATA_TYPE, seq, first_index, n, *counts)
        case Hello():
            identity, *numbers, calibration = astuple(frame)
            if len(identity) != 8:
                raise ValueError("a device id has 8 bytes")
            return bytes([HELLO_TYPE]) + _HELLO.pack(VERSION, identity, *numbers, *calibration)
        case Status():
            return bytes([STATUS_TYPE]) + _STATUS.pack(*astuple(frame))
        case RequestHello(version):
            return bytes([REQUEST_HELLO_TYPE, version])
        case ForeignHello(version):
            return bytes([HELLO_TYPE, version])
        case Unknown(number, body):
            return bytes([number]) + body


def parse(payload: bytes) -> Frame | None:
    """Parse a payload (type and body, without CRC); return None if the body is invalid for the type.

    Bytes after the last known field of HELLO and STATUS are ignored, so that version 1 can be extended.
    """
    kind, body = payload[0], payload[1:]
    if kind == DATA_TYPE:
        if len(body) < _DATA.size + 2:
            return None
        seq, first_index, n = _DATA.unpack_from(body)
        if len(body) != _DATA.size + 2 * n:
            return None
        return Data(seq, first_index, struct.unpack_from(f"<{n}H", body, _DATA.size))
    if kind == HELLO_TYPE:
        if body and body[0] != VERSION:
            return ForeignHello(body[0])
        if len(body) < _HELLO.size:
            return None
        _, identity, nonce, numerator, denominator, bits, vref, profile, a, b = _HELLO.unpack_from(body)
        return Hello(identity, nonce, numerator, denominator, bits, vref, profile, (a, b))
    if kind == STATUS_TYPE:
        if len(body) < _STATUS.size:
            return None
        overruns, saturated, flags = _STATUS.unpack_from(body)
        return Status(overruns, saturated, bool(flags & 1))
    if kind == REQUEST_HELLO_TYPE:
        return RequestHello(body[0] if body else 1)
    return Unknown(kind, body)


class Decoder:
    """Finds frames in a stream of bytes, with bounded memory. It raises no error and resumes at the next delimiter.

    frames: valid frames so far. rejected: frames that are too long or have wrong COBS or CRC. discarded_bytes: bytes of
    rejected frames. Bytes before the first delimiter may be the end of a frame: if they are invalid, they are discarded
    but not counted as rejected.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.rejected = 0
        self.discarded_bytes = 0
        self._tail = b""
        self._overlong = False
        self._synced = False

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete. Frames with an invalid body are counted as rejected."""
        frames = []
        for payload in self.payloads(data):
            frame = parse(payload)
            if frame is None:
                self.reject(payload)
            else:
                frames.append(frame)
        return frames

    def reject(self, payload: bytes) -> None:
        """Count a payload with a valid CRC but an invalid body as rejected."""
        self.frames -= 1
        self.rejected += 1
        self.discarded_bytes += len(payload) + 3

    def payloads(self, data: bytes) -> list[bytes]:
        """The type and body of each valid frame that these bytes complete."""
        pieces = data.split(DELIMITER)
        tail = pieces.pop()
        good: list[bytes] = []
        if pieces:
            pieces[0] = self._end(pieces[0])
            decode, crc = cobs.decode, crc_hqx
            for piece in pieces:
                if not piece:
                    self._synced = True
                    continue
                try:
                    if len(piece) > MAX_WIRE_BYTES:
                        raise cobs.DecodeError
                    frame = decode(piece)
                    if len(frame) < 3 or crc(frame[:-2], 0xFFFF) != frame[-2] | frame[-1] << 8:
                        raise cobs.DecodeError
                except cobs.DecodeError:
                    self.discarded_bytes += len(piece)
                    self.rejected += self._synced
                else:
                    good.append(frame[:-2])
                self._synced = True
            self.frames += len(good)
        self._keep(tail)
        return good

    def finish(self) -> None:
        """Discard an incomplete frame at the end of the stream."""
        self.discarded_bytes += len(self._tail)
        self._tail = b""

    def _end(self, piece: bytes) -> bytes:
        """The buffered bytes and the piece before a delimiter; empty at the end of a frame that is too long."""
        if self._overlong:
            self._overlong = False
            self.discarded_bytes += len(piece)
            self.rejected += self._synced
            return b""
        piece, self._tail = self._tail + piece, b""
        return piece

    def _keep(self, tail: bytes) -> None:
        if self._overlong:
            self.discarded_bytes += len(tail)
        elif len(self._tail) + len(tail) > MAX_WIRE_BYTES:
            self.discarded_bytes += len(self._tail) + len(tail)
            self._tail, self._overlong = b"", True
        else:
            self._tail += tail
