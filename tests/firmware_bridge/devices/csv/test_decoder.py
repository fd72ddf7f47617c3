"""The CSV decoder: layouts, rates, gaps and invalid lines, with the same result in bulk and line by line."""

import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from firmware_bridge.devices.csv import rows as csv
from firmware_bridge.devices.csv.decoder import CsvDecoder
from firmware_bridge.devices.csv.rows import RowDecoder
from firmware_bridge.devices.stream import Declared, RawBlock, StreamCounts
from firmware_bridge.errors import FormatError

Decode = Callable[..., Any]
HZ = Fraction(10)


def lines(*rows: object, end: str = "\n") -> bytes:
    return "".join(f"{row}{end}" for row in rows).encode()


def file(rate_hz: Fraction | None = HZ) -> CsvDecoder:
    return CsvDecoder(rate_hz, live=False, hint="look again")


def placed(decoder: CsvDecoder, wire: bytes, decode: Decode, readings: Decode) -> list[tuple[int, int, float]]:
    got: list[tuple[int, int, float]] = readings(decode(decoder, wire))
    return got


@pytest.mark.parametrize("end", ["\n", "\r\n", " \t\r\n"])
def test_one_column_is_the_value(end: str, decode: Decode, readings: Decode) -> None:
    decoder = file()
    assert placed(decoder, lines(" 1", 2.5, "-3e-1", "+.5", "5.", end=end), decode, readings) == [
        (0, 0, 1.0),
        (0, 1, 2.5),
        (0, 2, -0.3),
        (0, 3, 0.5),
        (0, 4, 5.0),
    ]
    assert decoder.counts == StreamCounts(samples=5)


def test_last_line_of_a_file_may_lack_its_line_end(decode: Decode, readings: Decode) -> None:
    assert placed(file(), b"1\n2\n3\n4", decode, readings)[-1] == (0, 3, 4.0)


def test_live_stream_ignores_incomplete_first_and_last_lines(decode: Decode, readings: Decode) -> None:
    decoder = CsvDecoder(HZ)
    assert placed(decoder, b"9\n1\n2\n3\n4", decode, readings) == [(0, 0, 1.0), (0, 1, 2.0), (0, 2, 3.0)]
    assert decoder.counts == StreamCounts(samples=3)


@pytest.mark.parametrize("start", ["# a comment", "gsr", "millis , ADC"])
def test_live_stream_with_a_comment_or_header_first_keeps_all_readings(
    start: str, decode: Decode, readings: Decode
) -> None:
    rows = [f"{100 * i},{i}" if "," in start else i for i in range(40)]
    assert len(placed(CsvDecoder(HZ), lines(start, *rows), decode, readings)) == 40


def test_two_columns_are_millis_and_value(decode: Decode, readings: Decode) -> None:
    decoder = file(None)
    wire = lines(*(f"{100 * i},{i}" for i in range(50)))
    blocks = decode(decoder, wire)
    assert blocks[0].rate_hz == 10
    assert readings(blocks) == [(0, i, float(i)) for i in range(50)]


def test_header_names_the_columns(decode: Decode) -> None:
    header = '"Time_s",Fp1,"GSR_uS",note'
    rows = [f"{i / 4},{-i},{i / 2},ok" for i in range(50)]
    blocks = decode(file(None), b"\xef\xbb\xbf" + lines("# a recording", header, *rows))
    assert blocks[0].rate_hz == 4
    assert [value for block in blocks for value in block.values] == [i / 2 for i in range(50)]
    assert blocks[0].declared == Declared(None, "uS", None)


@pytest.mark.parametrize(
    ("header", "column", "unit"),
    [("adc,gsr", 1, None), ("EDA,value", 0, None), ("ms,ADC", 1, "adc"), ("µS,x", 0, "uS"), ("x,\u03bcS", 1, "uS")],
)
def test_value_column_is_the_first_known_name(header: str, column: int, unit: str | None, decode: Decode) -> None:
    decoder = file()
    blocks = decode(decoder, lines(header, *(f"{100 * i},{100 * i + 1}" for i in range(30))))
    assert [v for block in blocks for v in block.values] == [100.0 * i + column for i in range(30)]
    assert decoder.declared.unit == unit


def test_comments_declare_rate_unit_and_resolution(decode: Decode) -> None:
    decoder = file(None)
    (block,) = decode(decoder, lines("# rate_hz: 1000/3", "# unit: adc", "#adc_bits:12", 1, 2, 3))
    assert block.declared == decoder.declared == Declared(Fraction(1000, 3), "adc", 12)
    assert block.rate_hz == Fraction(1000, 3)


def test_biosppy_header_declares_rate_and_resolution(decode: Decode) -> None:
    head = ["# Simple Text Format", "# Sampling Rate (Hz):= 1000.00", "# Resolution:= 12", "# Labels:= EDA"]
    (block,) = decode(file(None), lines(*head, "2669.0", "2671.0", "2677.0"))
    assert block.rate_hz == 1000
    assert block.declared == Declared(Fraction(1000), "adc", 12)


def test_rate_option_overrides_the_file(decode: Decode) -> None:
    (block,) = decode(file(Fraction(20)), lines("# rate_hz: 10", 1, 2, 3))
    assert block.rate_hz == 20


@pytest.mark.parametrize(
    ("rows", "rate_hz"),
    [
        (["1", "2", "3"], 50),
        (["# rate_hz: 20", "1", "2", "3"], 20),
        ([f"{100 * i},{i}" for i in range(40)], 10),
    ],
)
def test_default_rate_holds_where_the_stream_states_none(rows: list[str], rate_hz: int, decode: Decode) -> None:
    blocks = decode(CsvDecoder(live=False, default_rate_hz=Fraction(50)), lines(*rows))
    assert {block.rate_hz for block in blocks} == {Fraction(rate_hz)}


def test_rate_option_overrides_the_default_rate(decode: Decode) -> None:
    (block,) = decode(CsvDecoder(Fraction(20), live=False, default_rate_hz=Fraction(50)), lines(1, 2, 3))
    assert block.rate_hz == 20


@pytest.mark.parametrize("comment", ["# rate_hz: fast", "# rate_hz: 0", "# rate_hz: 1e999999999", "# adc_bits: many"])
def test_invalid_declarations_are_refused(comment: str) -> None:
    with pytest.raises(FormatError, match="is invalid"):
        file().feed(lines(comment, 1, 2, 3))


def test_missing_rate_is_refused_with_a_remedy() -> None:
    with pytest.raises(FormatError, match="do not state the sampling rate: state the rate in Hz"):
        file(None).feed(lines(1, 2, 3))


def test_rate_that_contradicts_the_time_column_is_refused() -> None:
    with pytest.raises(FormatError, match=r"128 Hz but the time column shows 19"):
        file(Fraction(128)).feed(lines(*(f"{52 * i},1" for i in range(60))))


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (["1,2,3"] * 5, "3 columns, such as '1,2,3', and no header"),
        (["a,b", "1,2", "1,2", "1,2"], "none of the columns a, b"),
        (["millis,gsr,hr", "1,2", "1,2", "1,2"], "names 3 columns but the lines have 2"),
    ],
)
def test_unclear_columns_are_refused(start: list[str], reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        file().feed(lines(*start))


@pytest.mark.parametrize("bad", ["nan", "inf", "1_0", "0x10", "", ",", "1,2", "1.2.3", "1-2", "1e999", "9" * 300, "é"])
def test_invalid_line_leaves_a_gap_of_one_sample(bad: str, decode: Decode, readings: Decode) -> None:
    decoder = file()
    got = placed(decoder, lines(1, 2, 3, bad, 5, 6), decode, readings)
    if bad == "":
        assert got == [(0, i, v) for i, v in enumerate([1.0, 2.0, 3.0, 5.0, 6.0])]
    else:
        assert got == [(0, i, i + 1.0) for i in (0, 1, 2, 4, 5)]
        assert decoder.counts == StreamCounts(5, 1, 1, len(bad.encode()))


def test_comments_and_blank_lines_between_readings_are_ignored(decode: Decode, readings: Decode) -> None:
    decoder = file()
    assert len(placed(decoder, lines(1, 2, 3, "# note", "", "  ", 4), decode, readings)) == 4
    assert decoder.counts == StreamCounts(samples=4)


def test_time_jump_is_a_gap_and_jitter_is_not(decode: Decode, readings: Decode) -> None:
    chance = np.random.default_rng(1)
    times = [100 * i + int(chance.integers(-2, 3)) for i in range(60) if i not in (30, 40, 41)]
    got = placed(file(), lines(*(f"{t},{i}" for i, t in enumerate(times))), decode, readings)
    assert [index for _, index, _ in got] == [i for i in range(60) if i not in (30, 40, 41)]


def test_millisecond_clock_gives_no_gaps_at_1000_hz(decode: Decode) -> None:
    decoder = file(None)
    blocks = decode(decoder, lines(*(f"{int(int(i / 1.024) * 1.024)},{i}" for i in range(5000))))
    assert blocks[0].rate_hz == 1000
    assert decoder.counts == StreamCounts(samples=5000)


def test_rejected_line_and_its_time_gap_count_once(decode: Decode, readings: Decode) -> None:
    decoder = file()
    rows = [f"{100 * i},{i}" for i in range(40)]
    rows[35] = "3500,x"
    assert [i for _, i, _ in placed(decoder, lines(*rows), decode, readings)] == [i for i in range(40) if i != 35]
    assert decoder.counts.dropped == 1


def test_time_running_backwards_starts_a_segment(decode: Decode, readings: Decode) -> None:
    rows = [f"{100 * i},{i}" for i in range(30)] + [f"{100 * i + 5},{i}" for i in range(30)]
    assert placed(file(), lines(*rows), decode, readings) == [(s, i, float(i)) for s in (0, 1) for i in range(30)]


def test_damaged_time_is_a_lost_sample(decode: Decode) -> None:
    decoder = file()
    rows = [f"{100 * i},{i}" for i in range(60)]
    rows[40] = "4e17,40"
    assert {b.segment for b in decode(decoder, lines(*rows))} == {0}
    assert (decoder.counts.dropped, decoder.counts.rejected) == (1, 1)


def test_repeated_header_starts_a_segment(decode: Decode, readings: Decode) -> None:
    wire = lines("gsr", 1, 2, 3, "gsr", 4, 5)
    assert placed(file(), wire, decode, readings) == [(0, 0, 1.0), (0, 1, 2.0), (0, 2, 3.0), (1, 0, 4.0), (1, 1, 5.0)]


def test_boot_message_before_the_header_is_ignored(decode: Decode, readings: Decode) -> None:
    decoder = CsvDecoder()
    wire = lines("rtup", "Sensor ready, v1.2", "millis,gsr", *(f"{10 * i},7" for i in range(300)), end="\r\n")
    assert len(placed(decoder, wire, decode, readings)) == 300
    assert decoder.counts.rejected == 0


def test_wide_tables_may_have_long_lines(decode: Decode, readings: Decode) -> None:
    names = ",".join([*(f"eeg{i}" for i in range(200)), "gsr"])
    row = ",".join(["0.123456"] * 200)
    assert len(placed(file(), lines(names, *(f"{row},{i}" for i in range(20))), decode, readings)) == 20


def test_endless_line_needs_bounded_memory(decode: Decode, readings: Decode) -> None:
    decoder = file()
    blocks = decoder.feed(lines(1, 2, 3))
    for _ in range(1000):
        blocks += decoder.feed(b"7" * 1000)
        assert len(decoder._tail) <= 1000
    blocks += decoder.feed(lines("", 5))
    assert readings(blocks) == [(0, 0, 1.0), (0, 1, 2.0), (0, 2, 3.0), (0, 4, 5.0)]
    assert decoder.counts == StreamCounts(4, 1, 1, 1_000_000)


@pytest.mark.parametrize("garbage", [bytes(range(128, 256)) * 200, b"hello world\n" * 1000, b"\0" * 20_000])
def test_bytes_without_numbers_are_refused(garbage: bytes, decode: Decode) -> None:
    decoder = CsvDecoder(HZ, hint="check the baud rate (now 9600)")
    with pytest.raises(FormatError, match=r"without a line of numbers: check the baud rate \(now 9600\)"):
        decode(decoder, garbage, range(0, len(garbage), 64))


@pytest.mark.parametrize(
    ("rate", "resolution"),
    [(128, 1), (19.23, 1), (10, 1), (256, 1), (1000, 1), (64, 1e-3), (1000 / 3, 1e-3), (0.5, 1), (4, 1e-3)],
)
def test_rate_is_estimated_from_the_time_column(rate: float, resolution: float, decode: Decode) -> None:
    times_ms = [round(1000 * i / rate / resolution) * resolution for i in range(6000 if rate > 2 else 40)]
    blocks = decode(file(None), lines(*(f"{t:.10g},1" for t in times_ms)))
    assert float(blocks[0].rate_hz) == pytest.approx(rate, rel=2e-3)
    if rate == int(rate):
        assert blocks[0].rate_hz == int(rate)
    assert blocks[0].rate_hz.denominator < 10_000


numbers = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"[+-]?[0-9]{0,3}\.?[0-9]{0,3}([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
good = st.one_of(st.integers(0, 4095).map(str), st.floats(0, 30).map(lambda v: f"{v:.4f}"))
odd = st.one_of(
    numbers,
    st.sampled_from(
        ["nan", "# note", "", " 7", "7 ", "gsr", "millis,gsr", ",", "1,,2", "1 2", "\r", "5\r\r", "x" * 270]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=8),
)


def outcome(wire: bytes, cuts: list[int], live: bool) -> tuple[object, ...]:
    """The readings with rate and segment, the counts, and the error of a stream that is fed in pieces."""
    decoder = CsvDecoder(HZ, live)
    blocks: list[RawBlock] = []
    error = ""
    try:
        edges = [0, *sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)]
        for start, stop in itertools.pairwise(edges):
            blocks += decoder.feed(wire[start:stop])
        blocks += decoder.finish()
    except FormatError as caught:
        error = str(caught)
    readings = [(b.segment, b.first_index + i, v, b.rate_hz) for b in blocks for i, v in enumerate(b.values.tolist())]
    assert all(np.isfinite(b.values).all() and len(b.values) for b in blocks)
    if error:
        return (error,)
    assert len(readings) == decoder.counts.samples
    return readings, decoder.counts, decoder.declared


def stream(columns: int, header: bool, rows: list[tuple[str, str, int]], cut: int) -> bytes:
    """Lines of one layout, with other lines between them; a row is (kind, value, step of the clock in ms)."""
    layout = {1: "{1}", 2: "{0},{1}", 3: "x,{2},{1}"}[columns]
    text, clock = "", 0
    if header:
        text = {1: "gsr\n", 2: "millis,value\n", 3: "a,time_s,eda\n"}[columns]
    for kind, value, step in rows:
        clock += step
        text += value if kind == "odd" else layout.format(clock, value, clock / 1000)
        text += "\r\n" if kind == "crlf" else "\n"
    return text.encode()[: len(text) - cut]


plain_row = st.tuples(
    st.sampled_from(["lf", "lf", "crlf"]), good, st.sampled_from([100, 100, 100, 101, 99, 0, 300, -5000])
)
odd_row = st.tuples(st.just("odd"), odd, st.just(100))
number_row = st.tuples(st.just("lf"), numbers, st.just(100))
rows = st.lists(st.one_of(plain_row, plain_row, plain_row, number_row, odd_row), max_size=40)
streams = st.builds(stream, st.sampled_from([1, 2, 3]), st.booleans(), rows, st.integers(0, 3))


@given(streams, st.lists(st.integers(0, 3000), max_size=8), st.booleans())
@example(b"1-2\n\n3\n", [], False)
@example(b"1\n2\n3\n1,2\n\n", [], False)
@example(b"gsr,b,c\n#1,2,3\n1,2,3\n1,2,3\n1,2,3\n#1,2,3\n1,2,3\n", [], False)
@example(b"1\n2\n3\n9223372036854775808\n-9223372036854775809\n", [], False)
def test_result_is_independent_of_pieces_and_bulk_parsing(wire: bytes, cuts: list[int], live: bool) -> None:
    expected = outcome(wire, [], live)
    assert outcome(wire, cuts, live) == expected
    assert outcome(wire, list(range(len(wire))), live) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv, "parse_bulk", lambda *_: None)
        assert outcome(wire, [], live) == expected


def test_invalid_line_does_not_slow_down_the_other_lines(decode: Decode, readings: Decode) -> None:
    rows: list[object] = list(range(20_000))
    rows[7777] = "?"
    calls = 0
    careful = RowDecoder._decode_by_line

    def counting(self: RowDecoder, text: bytes) -> list[RawBlock]:
        nonlocal calls
        calls += text.count(b"\n")
        return careful(self, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RowDecoder, "_decode_by_line", counting)
        assert len(placed(file(), lines(*rows), decode, readings)) == 19_999
    assert calls < 1000


@given(st.lists(st.binary(max_size=500), max_size=8), st.booleans())
def test_any_bytes_give_blocks_or_a_format_error(parts: list[bytes], live: bool) -> None:
    outcome(b"".join(parts), [], live)


@pytest.mark.parametrize("end", ["\n\r", "\r\n"])
def test_carriage_return_may_precede_or_follow_the_line_feed(end: str, decode: Decode, readings: Decode) -> None:
    decoder = file(None)
    wire = lines(*(f"{50 * i},{i}" for i in range(100)), end=end)
    assert placed(decoder, wire, decode, readings) == [(0, i, float(i)) for i in range(100)]
    assert decoder.counts == StreamCounts(samples=100)


def test_repeated_header_whose_times_go_on_starts_no_segment(decode: Decode, readings: Decode) -> None:
    rows = [row for i in range(300) for row in ([f"{10 * i},{i}"] if i % 100 else ["millis,gsr", f"{10 * i},{i}"])]
    assert placed(file(None), lines(*rows), decode, readings) == [(0, i, float(i)) for i in range(300)]


@pytest.mark.parametrize(
    ("header", "unit"), [("Timestamp,EDA (uS)", "uS"), ("t,gsr_kohm", "kohm"), ("time_ms,GSR [nS]", "nS")]
)
def test_names_of_tables_are_known_in_lines(header: str, unit: str) -> None:
    decoder = CsvDecoder()
    blocks = decoder.feed(f"{header}\n".encode() + b"".join(b"%d,5\n" % (50 * k) for k in range(100)))
    assert {(block.rate_hz, block.declared.unit) for block in blocks if block.declared} == {(20, unit)}


@pytest.mark.parametrize("greeting", ["Grove GSR, v1.2", "GSR Sensor", "Ready"])
def test_greeting_is_not_a_header(greeting: str) -> None:
    decoder = CsvDecoder()
    blocks = decoder.feed(f"Boot\n{greeting}\n".encode() + b"".join(b"%d,5\n" % (50 * k) for k in range(100)))
    assert sum(len(block.values) for block in blocks) == 100
    assert blocks[0].rate_hz == 20
