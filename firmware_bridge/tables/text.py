"""Bytes of a text file as UTF-8 lines that end in a newline, for the encodings and line ends that occur."""

import codecs

from firmware_bridge.errors import FormatError
from firmware_bridge.tables.declared import shortened

__all__ = ["as_lines", "is_text", "readable_line"]

_WIDE = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f\x1a")) + b"\x7f"
_LARGEST_BINARY_SHARE = 0.02
_HEAD_BYTES = 4096
_FEWEST_LINES = 3
_PRINTABLE = b"\t\r\n" + bytes(range(32, 127))


def is_text(head: bytes) -> bool:
    """Whether the first bytes of a file are text: UTF-16 with its mark, or few control characters."""
    if head.startswith(tuple(_WIDE)):
        return True
    head = head[:_HEAD_BYTES]
    controls = len(head) - len(head.translate(None, _CONTROLS))
    return b"\0" not in head and controls <= _LARGEST_BINARY_SHARE * len(head)


def as_lines(data: bytes) -> bytes:
    """The text in UTF-8 without a byte order mark; every line, the last one too, ends in a newline only.

    UTF-8 and UTF-16 with a mark are recognised; other bytes are UTF-8, else Windows-1252. Lines may end in LF, CRLF, CR
    or LF CR. Raises FormatError for bytes that are not text.
    """
    encoding = next((name for mark, name in _WIDE.items() if data.startswith(mark)), None)
    if encoding is not None:
        try:
            data = data[2:].decode(encoding).encode()
        except UnicodeDecodeError:
            raise FormatError("the file is damaged UTF-16: save it as CSV (UTF-8)") from None
    elif not is_text(data):
        raise FormatError("the file is not text: export it as CSV (UTF-8)")
    data = data.removeprefix(codecs.BOM_UTF8).removesuffix(b"\x1a")
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            data = data.decode("cp1252", "replace").encode()
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\n\r", b"\n").replace(b"\r", b"\n")
    return data if data.endswith(b"\n") or not data else data + b"\n"


def readable_line(data: bytes) -> str | None:
    """The last complete line with letters or digits of bytes that are nearly all printable text, for a message.

    It is None for other bytes, such as frames or text at a wrong baud rate, and before three complete lines.
    """
    recent = data[-_HEAD_BYTES:]
    if recent.count(b"\n") < _FEWEST_LINES or len(recent.translate(None, _PRINTABLE)) > 0.1 * len(recent):
        return None
    lines = [line.strip() for line in recent.split(b"\n")[1:-1]]
    found = next((line for line in reversed(lines) if any(chr(byte).isalnum() for byte in line)), None)
    return None if found is None else shortened(found.decode("utf-8", "replace"), 60)
