"""Lines of sketches in the form of a table: labeled numbers, JSON, tabs, semicolons, spaces and trailing commas."""

import json
import re
from collections import Counter

from firmware_bridge.errors import SignalError
from firmware_bridge.tables.columns import names_value, time_named, value_named
from firmware_bridge.tables.numbers import is_number
from firmware_bridge.units import parse_unit

__all__ = ["CommonLines"]

_PLAIN_BYTES = b"0123456789+-.eE,\r\n"
"""Bytes of lines in the common form without a header."""
_ODD = (b",\n", b",\r", b"\n\n", b"\n\r")
"""Commas at the end of a line, and blank lines."""
_NUMBER = rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_LABELED = re.compile(rb"([A-Za-z][\w \[\]()./-]{0,40}?)\s*[:=]\s*(" + _NUMBER + rb")\s*([^\s\d,;]{0,12})")
_DECIMAL_COMMA = re.compile(rb"^([+-]?[0-9]*),([0-9]+(?:[eE][+-]?[0-9]+)?)$")
_QUOTED_COMMA = re.compile(rb'"([+-]?[0-9]*),([0-9]+)"')


class CommonLines:
    """Rewrites lines so that commas separate the columns; each line is rewritten by itself and those before it.

    A line with one labeled number (`GSR=512`, `gsr: 5.1 uS`) or a JSON object becomes a row, and the first one of them
    a header as well. Lines separated by tabs, semicolons or spaces are separated by commas, with decimal points. Other
    lines stay as they are.
    """

    def __init__(self) -> None:
        self._label: bytes | None = None
        self._keys: tuple[str, ...] | None = None
        self._named: int | None = None
        self._forms: Counter[bytes] = Counter()

    def note_plain(self, lines: int) -> None:
        """Count lines that are in the common form."""
        self._forms[b""] += lines

    def __call__(self, lines: bytes) -> bytes:
        """The lines, all of which end in a newline, in the common form."""
        if not lines.translate(None, _PLAIN_BYTES) and not any(mark in b"\n" + lines for mark in _ODD):
            self.note_plain(lines.count(b"\n"))
            return lines
        return b"".join(self._rewritten(line) + b"\n" for line in lines.split(b"\n")[:-1])

    def _rewritten(self, line: bytes) -> bytes:
        text = line.strip(b" \t\r")
        if not text or text.startswith(b"#"):
            return line
        if text.startswith(b"{"):
            return self._of_json(text) or line
        if b"," not in text and (match := _LABELED.fullmatch(text)):
            return self._of_label(match) or line
        form, fields = _divided(text)
        if not fields[0][:1].isalpha():
            # A damaged line of another form than most lines so far is left as it is, and is rejected.
            self._forms[form] += 1
            if form == b"" or self._forms[form] < max(self._forms.values()):
                return line
        elif not form.endswith(b","):
            self._note_header(fields)
            return line if form == b"" else b",".join(fields)
        if form.endswith(b",") and (self._named in (None, len(fields) - 1) or self._note_header(fields[:-1])):
            fields = fields[:-1]
        return b",".join(fields)

    def _note_header(self, fields: list[bytes]) -> bool:
        """Note the number of columns of a header; return whether it is one."""
        if names_value([field.decode("utf-8", "replace") for field in fields]):
            self._named = len(fields)
            return True
        return False

    def _of_label(self, match: re.Match[bytes]) -> bytes | None:
        label, number, unit = match[1].strip(), match[2], match[3]
        if value_named(label.decode("utf-8", "replace")) is None:
            return None
        if unit:
            try:
                parse_unit(unit.decode("utf-8", "replace"))
            except SignalError:
                return None
            label += b" (" + unit + b")"
        if self._label is None:
            self._label = label
            return label + b"\n" + number
        return number if label == self._label else None

    def _of_json(self, text: bytes) -> bytes | None:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, dict) or not found:
            return None
        keys = tuple(re.sub(r"[,\r\n]", " ", key) for key in found)
        row = ",".join(
            "" if value is None else re.sub(r"[,\r\n]", " ", str(value)) for value in found.values()
        ).encode()
        if self._keys is None:
            if not names_value(keys):
                return None
            self._keys = keys
            return ",".join(keys).encode() + b"\n" + row
        return row if keys == self._keys else None


def _divided(text: bytes) -> tuple[bytes, list[bytes]]:
    """The form of a line and its fields with decimal points.

    The form has a quote if there are quotes, the separator if it is not a comma, and a comma if the last field is
    empty.
    """
    form = b""
    if b'"' in text:
        form = b'"'
        text = _QUOTED_COMMA.sub(rb"\1.\2", text).replace(b'"', b"")
    separator = b"\t" if b"\t" in text else b";" if b";" in text else b","
    if separator != b",":
        form += separator
        fields = [_DECIMAL_COMMA.sub(rb"\1.\2", field.strip()).replace(b",", b" ") for field in text.split(separator)]
    elif b" " in text and b"," not in text and _is_row_or_header(text.split()):
        form += b" "
        fields = text.split()
    else:
        fields = text.split(b",")
    return (form + b"," if len(fields) > 1 and not fields[-1].strip() else form), fields


def _is_row_or_header(words: list[bytes]) -> bool:
    """Whether words are numbers, or names of columns with a time and a value."""
    if all(map(is_number, words)):
        return True
    names = [word.decode("utf-8", "replace") for word in words]
    return any(time_named(name) for name in names) and names_value(names)
