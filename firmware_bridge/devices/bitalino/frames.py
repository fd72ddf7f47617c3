"""Frames of a BITalino: ten-bit channels, a four-bit sequence number and a four-bit CRC, without delimiter or rate.

Source: BITalino firmware data sheet and the OpenSignals documentation. A frame of n channels has ceil((12 + 10 n) / 8)
bytes for up to four channels, and ceil((52 + 6 (n - 4)) / 8) bytes for more. Channels 5 and 6 have six bits. The last
byte is sequence << 4 | CRC. The CRC has the polynomial x^4 + x + 1 and covers all bits, with its own bits set to 0.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["FRAME_BYTES", "decode_channel", "encode_frames", "find_frames", "find_sequences", "valid_crc"]

FRAME_BYTES = {1: 3, 2: 4, 3: 6, 4: 7, 5: 8, 6: 8}
"""Bytes of a frame for each number of channels."""

_FOUR_ZERO_BITS = np.array([0, 3, 6, 5, 12, 15, 10, 9, 11, 8, 13, 14, 7, 4, 1, 2], dtype=np.uint8)
"""The CRC's next state after four zero bits, for each state."""

Bytes = NDArray[np.uint8]


def _crc(frames: Bytes) -> Bytes:
    """The CRC of each frame; frames have shape (k, bytes)."""
    state: Bytes = np.zeros(len(frames), dtype=np.uint8)
    for column in frames.T[:-1]:
        np.bitwise_xor(_FOUR_ZERO_BITS[state], column >> 4, out=state)
        np.bitwise_xor(_FOUR_ZERO_BITS[state], column & 15, out=state)
    np.bitwise_xor(_FOUR_ZERO_BITS[state], frames[:, -1] >> 4, out=state)
    return _FOUR_ZERO_BITS[state]


def valid_crc(frames: Bytes) -> NDArray[np.bool_]:
    """A mask of the frames with a valid CRC; frames have shape (k, bytes)."""
    passed: NDArray[np.bool_] = _crc(frames) == (frames[:, -1] & 15)
    return passed


def find_sequences(count: int, data: bytes, length: int) -> NDArray[np.intp]:
    """The positions of `count` consecutive frames of this length with valid CRCs and successive numbers."""
    last = len(data) - count * length
    if last < 0:
        return np.empty(0, dtype=np.intp)
    octets = np.frombuffer(data, dtype=np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(octets, length)
    good = valid_crc(windows)
    number = octets[length - 1 :] >> 4
    begins = good[: last + 1].copy()
    for k in range(1, count):
        at = slice(k * length, k * length + last + 1)
        begins &= good[at] & (number[at] == (number[: last + 1] + k) % 16)
    return np.flatnonzero(begins)


def find_frames(data: bytes, count: int = 12) -> int | None:
    """The frame length with which the bytes contain `count` consecutive valid frames, or None."""
    for length in sorted(set(FRAME_BYTES.values())):
        if len(find_sequences(count, data, length)):
            return length
    return None


def decode_channel(frames: Bytes, position: int) -> NDArray[np.float64]:
    """The readings of the channel at a position (0 to 5) in frames of shape (k, bytes)."""
    octets = frames.astype(np.uint16)

    def back(i: int) -> NDArray[np.uint16]:
        column: NDArray[np.uint16] = octets[:, -i]
        return column

    match position:
        case 0:
            counts = (back(2) & 0x0F) << 6 | back(3) >> 2
        case 1:
            counts = (back(3) & 0x03) << 8 | back(4)
        case 2:
            counts = back(5) << 2 | back(6) >> 6
        case 3:
            counts = (back(6) & 0x3F) << 4 | back(7) >> 4
        case 4:
            counts = (back(7) & 0x0F) << 2 | back(8) >> 6
        case _:
            counts = back(8) & 0x3F
    return counts.astype(np.float64)


def encode_frames(counts: NDArray[np.uint16], first_number: int) -> bytes:
    """Encode counts of shape (k, n) as k frames with numbers from first_number on; the digital inputs are 0."""
    k, n = counts.shape
    columns = [*counts.T.astype(np.uint16), *[np.zeros(k, np.uint16)] * (6 - n)]
    a1, a2, a3, a4, a5, a6 = columns
    number = (first_number + np.arange(k)) % 16
    from_the_end = (
        number << 4,
        a1 >> 6,
        (a1 & 0x3F) << 2 | a2 >> 8,
        a2 & 0xFF,
        a3 >> 2,
        (a3 & 0x03) << 6 | a4 >> 4,
        (a4 & 0x0F) << 4 | a5 >> 2,
        (a5 & 0x03) << 6 | a6,
    )
    frames = np.stack(from_the_end[: FRAME_BYTES[n]][::-1], axis=1).astype(np.uint8)
    frames[:, -1] |= _crc(frames)
    return frames.tobytes()
