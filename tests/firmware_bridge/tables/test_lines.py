"""Lines of sketches: labels, JSON, separators, and no reading from a damaged line."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.devices.csv.decoder import CsvDecoder
from firmware_bridge.devices.detect import open_decoder
from firmware_bridge.devices.stream import RawBlock, StreamOptions
from firmware_bridge.tables.lines import CommonLines

READ = {
    "label and equals": (b"GSR=%d\r\n", False, None),
    "label, colon and unit": (b"gsr: %d uS\r\n", False, "uS"),
    "label with a unit": (b"EDA (kOhm): %d\n", False, "kohm"),
    "JSON": (b'{"millis": %d, "gsr_us": %d}\r\n', True, "uS"),
    "JSON of one value": (b'{"gsr": %d, "ok": true}\n', False, None),
    "tabs": (b"%d\t%d\r\n", True, None),
    "semicolons": (b"%d;%d,0\n", True, None),
    "spaces": (b"%d %d\r\n", True, None),
    "trailing comma": (b"%d,\n", False, None),
    "trailing commas": (b"%d,%d,\n", True, None),
    "quotes": (b'"%d","%d"\n', True, None),
    "LF CR": (b"%d,%d\n\r", True, None),
}


def sent(form: bytes, timed: bool) -> bytes:
    return b"".join(form % ((50 * k, 300 + k) if timed else 300 + k) for k in range(200))


def received(data: bytes, size: int, timed: bool) -> list[RawBlock]:
    decoder = open_decoder("auto", StreamOptions(None if timed else Fraction(20), live=False))
    blocks: list[RawBlock] = []
    for start in range(0, len(data), size):
        blocks += decoder.feed(data[start : start + size])
    return blocks + decoder.finish()


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("size", [7, 4096])
def test_lines_of_sketches_are_detected_and_read(kind: str, size: int) -> None:
    form, timed, unit = READ[kind]
    blocks = received(sent(form, timed), size, timed)
    assert [value for block in blocks for value in block.values] == [300 + k for k in range(200)]
    assert {block.rate_hz for block in blocks} == {20}
    assert {block.declared.unit for block in blocks if block.declared} == {unit}


def test_header_with_tabs_names_the_columns() -> None:
    blocks = received(b"time_s\tgsr_us\n" + b"".join(b"%.2f\t%.1f\n" % (k / 20, k) for k in range(99)), 50, True)
    assert sum(len(block.values) for block in blocks) == 99
    assert blocks[0].rate_hz == 20


def test_empty_last_column_of_a_header_stays() -> None:
    lines = CommonLines()
    assert lines(b"time_s,gsr,note\n0,5,\n") == b"time_s,gsr,note\n0,5,\n"


@pytest.mark.parametrize(
    "line",
    [b"gsr_average =300    Human_resistance = 40000", b"Version: 2", b"GSR=x", b"hello world", b'{"a": 1}', b"{"],
)
def test_other_lines_stay_as_they_are(line: bytes) -> None:
    assert CommonLines()(line + b"\n") == line + b"\n"


def test_readable_text_is_shown_and_not_blamed_on_the_baud_rate() -> None:
    decoder = open_decoder("auto", StreamOptions(live=True))
    decoder.feed(b"gsr_average =300    Human_resistance = 40000\r\n" * 20)
    reason = decoder.failure_reason()
    assert reason is not None
    assert "such as 'gsr_average =300    Human_resistance = 40000': print one number in each line" in reason
    assert "baud" not in reason


def test_bytes_at_a_wrong_baud_rate_are_blamed_on_it() -> None:
    decoder = open_decoder("auto", StreamOptions(live=True))
    decoder.feed(bytes(range(128, 256)) * 20)
    assert "baud rate" in (decoder.failure_reason() or "")


@given(st.integers(200, 1500), st.integers(0, 7))
def test_line_with_a_flipped_bit_is_not_read_in_another_form(at: int, bit: int) -> None:
    damaged = bytearray(b"".join(b"%d,%.2f\n" % (50 * k, 4 + k / 100) for k in range(200)))
    damaged[at] ^= 1 << bit
    assert CommonLines()(bytes(damaged)) == bytes(damaged)


def test_rewritten_lines_do_not_depend_on_the_division_into_reads() -> None:
    for form, timed, _ in READ.values():
        data = sent(form, timed)
        whole = CommonLines()(data[: data.rfind(b"\n") + 1])
        one_by_one = CommonLines()
        assert b"".join(one_by_one(line + b"\n") for line in data.split(b"\n")[:-1]) == whole


def test_decoder_reads_what_it_read_before_a_change_of_form() -> None:
    decoder = CsvDecoder(live=False)
    data = b"".join(b"%d,5\n" % (50 * k) for k in range(100)) + b"5000;6\n" + b"5000,5\n"
    blocks = decoder.feed(data) + decoder.finish()
    assert {value for block in blocks for value in block.values} == {5.0}
    assert decoder.counts.rejected == 1
