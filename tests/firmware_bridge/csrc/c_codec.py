"""The C codec with the interface of the Python codec, by ctypes."""

import ctypes as c
from pathlib import Path

from firmware_bridge.devices.ekd.frame import (
    MAX_WIRE_BYTES,
    VERSION,
    Data,
    ForeignHello,
    Frame,
    Hello,
    RequestHello,
    Status,
    Unknown,
)


class _Decoder(c.Structure):
    _fields_ = (
        ("frames", c.c_uint32),
        ("rejected", c.c_uint32),
        ("discarded_bytes", c.c_uint32),
        ("wire_bytes", c.c_uint16),
        ("length", c.c_uint16),
        ("block", c.c_uint8),
        ("zero_due", c.c_bool),
        ("bad", c.c_bool),
        ("synced", c.c_bool),
        ("buffer", c.c_uint8 * (MAX_WIRE_BYTES - 1)),
    )


class _Hello(c.Structure):
    _fields_ = (
        ("device_id", c.c_uint8 * 8),
        ("boot_nonce", c.c_uint32),
        ("rate_numerator", c.c_uint32),
        ("rate_denominator", c.c_uint32),
        ("adc_bits", c.c_uint8),
        ("vref_mv", c.c_uint16),
        ("profile", c.c_uint8),
        ("calibration", c.c_float * 2),
    )


class _Status(c.Structure):
    _fields_ = (("overruns", c.c_uint32), ("saturated", c.c_uint32), ("lead_off", c.c_bool))


class _Data(c.Structure):
    _fields_ = (
        ("seq", c.c_uint16),
        ("first_index", c.c_uint32),
        ("n", c.c_uint8),
        ("counts", c.POINTER(c.c_uint8)),
    )


class Codec:
    """The functions encode and parse, and Decoder, as in `firmware_bridge.devices.ekd.frame`."""

    def __init__(self, library: Path) -> None:
        self.lib = c.CDLL(str(library))
        for name in ("data", "hello", "status", "request", "raw"):
            getattr(self.lib, f"ekd_encode_{name}").restype = c.c_size_t
        for name in ("data", "hello", "status", "request"):
            getattr(self.lib, f"ekd_parse_{name}").restype = c.c_bool
        self.lib.ekd_crc16.restype = c.c_uint16
        self.lib.ekd_count.restype = c.c_uint16
        self.lib.ekd_hello_version.restype = c.c_uint8
        self.lib.ekd_decoder_push.restype = c.c_size_t

    def crc16(self, data: bytes) -> int:
        crc: int = self.lib.ekd_crc16(data, c.c_size_t(len(data)))
        return crc

    def wrap(self, payload: bytes) -> bytes:
        """See `firmware_bridge.devices.ekd.frame.wrap`."""
        wire = (c.c_uint8 * 300)()
        return self._made(wire, self.lib.ekd_encode_raw(wire, payload, c.c_size_t(len(payload))))

    def encode(self, frame: Frame) -> bytes:
        wire = (c.c_uint8 * 300)()
        match frame:
            case Data(seq, first_index, counts):
                array = (c.c_uint16 * max(1, len(counts)))(*counts)
                seq_, first = c.c_uint16(seq), c.c_uint32(first_index)
                size = self.lib.ekd_encode_data(wire, seq_, first, array, c.c_uint8(min(len(counts), 255)))
            case Hello():
                size = self.lib.ekd_encode_hello(wire, c.byref(_of_hello(frame)))
            case Status(overruns, saturated, lead_off):
                size = self.lib.ekd_encode_status(wire, c.byref(_Status(overruns, saturated, lead_off)))
            case RequestHello(version):
                size = self.lib.ekd_encode_request(wire, c.c_uint8(version))
            case ForeignHello(version):
                return self.wrap(bytes([2, version]))
            case Unknown(kind, body):
                return self.wrap(bytes([kind]) + body)
        return self._made(wire, size)

    def parse(self, payload: bytes) -> Frame | None:
        n = c.c_size_t(len(payload))
        version = self.lib.ekd_hello_version(payload, n)
        if payload[0] == 1:
            data = _Data()
            if not self.lib.ekd_parse_data(payload, n, c.byref(data)):
                return None
            counts = tuple(self.lib.ekd_count(c.byref(data), c.c_uint8(i)) for i in range(data.n))
            return Data(data.seq, data.first_index, counts)
        if payload[0] == 2:
            hello = _Hello()
            if len(payload) > 1 and version != VERSION:
                return ForeignHello(version)
            return _to_hello(hello) if self.lib.ekd_parse_hello(payload, n, c.byref(hello)) else None
        if payload[0] == 3:
            status = _Status()
            if not self.lib.ekd_parse_status(payload, n, c.byref(status)):
                return None
            return Status(status.overruns, status.saturated, status.lead_off)
        if payload[0] == 0x10:
            asked = c.c_uint8()
            return RequestHello(asked.value) if self.lib.ekd_parse_request(payload, n, c.byref(asked)) else None
        return Unknown(payload[0], payload[1:])

    def decoder(self) -> "CDecoder":
        return CDecoder(self)

    @staticmethod
    def _made(wire: "c.Array[c.c_uint8]", size: int) -> bytes:
        if size == 0:
            raise ValueError("out of range")
        return bytes(wire[:size])


class CDecoder:
    """See `firmware_bridge.devices.ekd.frame.Decoder`."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._state = _Decoder()
        self._refused = 0
        self._refused_bytes = 0

    @property
    def frames(self) -> int:
        return int(self._state.frames) - self._refused

    @property
    def rejected(self) -> int:
        return int(self._state.rejected) + self._refused

    @property
    def discarded_bytes(self) -> int:
        return int(self._state.discarded_bytes) + self._refused_bytes

    def payloads(self, data: bytes) -> list[bytes]:
        push, state = self._codec.lib.ekd_decoder_push, c.byref(self._state)
        found = []
        for byte in data:
            if size := push(state, c.c_uint8(byte)):
                found.append(bytes(self._state.buffer[:size]))
        return found

    def feed(self, data: bytes) -> list[Frame]:
        frames = []
        for payload in self.payloads(data):
            frame = self._codec.parse(payload)
            if frame is None:
                self._refused += 1
                self._refused_bytes += len(payload) + 3
            else:
                frames.append(frame)
        return frames


def _of_hello(hello: Hello) -> _Hello:
    return _Hello(
        (c.c_uint8 * 8)(*hello.device_id),
        hello.boot_nonce,
        hello.rate_numerator,
        hello.rate_denominator,
        hello.adc_bits,
        hello.vref_mv,
        hello.profile,
        (c.c_float * 2)(*hello.calibration),
    )


def _to_hello(hello: _Hello) -> Hello:
    return Hello(
        bytes(hello.device_id),
        hello.boot_nonce,
        hello.rate_numerator,
        hello.rate_denominator,
        hello.adc_bits,
        hello.vref_mv,
        hello.profile,
        (hello.calibration[0], hello.calibration[1]),
    )
