"""The unit and the rate of a time column, and columns that show no plausible rate."""

from fractions import Fraction

import pytest

from firmware_bridge.devices.csv.decoder import CsvDecoder
from firmware_bridge.devices.stream import RawBlock
from firmware_bridge.errors import FormatError


def read_from_port(times: list[str], lines_per_s: float, waiting: int = 1, read_s: float = 0.1) -> list[RawBlock]:
    """The blocks of lines with these times, of which some had waited before the first read."""
    now_s = [1000.0]
    decoder = CsvDecoder(clock=lambda: now_s[0])
    wire = [f"{time},{5 + i % 3}\r\n".encode() for i, time in enumerate(times)]
    blocks: list[RawBlock] = []
    sent = 0
    while sent < len(wire):
        arrived = waiting + int((now_s[0] - 1000.0) * lines_per_s)
        blocks += decoder.feed(b"".join(wire[sent:arrived]))
        sent = arrived
        now_s[0] += read_s
    return blocks


@pytest.mark.parametrize("read_s", [0.05, 1.0])
@pytest.mark.parametrize("waiting", [1, 200])
@pytest.mark.parametrize(
    ("times", "rate_hz"),
    [
        ([str(10_000 * i) for i in range(800)], 100),
        ([str(1000 * i) for i in range(4000)], 1000),
        ([str(2000 * i) for i in range(2000)], 500),
        ([str(1_000_000 * i) for i in range(220)], 1),
        ([str(1000 * i) for i in range(220)], 1),
        ([str(10 * i) for i in range(800)], 100),
        ([f"{1.7e9 + 0.01 * i:.3f}" for i in range(800)], 100),
        ([f"{1_700_000_000 + i // 16}" for i in range(800)], 16),
    ],
)
def test_arrival_of_the_lines_shows_the_unit_of_a_column_without_a_name(
    times: list[str], rate_hz: int, waiting: int, read_s: float
) -> None:
    blocks = read_from_port(times, rate_hz, waiting, read_s)
    assert blocks
    assert all(float(block.rate_hz) == pytest.approx(rate_hz, rel=0.01) for block in blocks)


@pytest.mark.parametrize(
    ("header", "step"),
    [("micros", 7813), ("time_us", 7813), ("millis", 7.8125), ("milliseconds", 7.8125), ("time", 1 / 128)],
)
def test_name_of_the_time_column_states_its_unit(header: str, step: float) -> None:
    decoder = CsvDecoder(live=False)
    wire = f"{header},gsr\n" + "".join(f"{step * i:.10g},5\n" for i in range(600))
    blocks = decoder.feed(wire.encode()) + decoder.finish()
    assert blocks[0].rate_hz == 128
    assert decoder.counts.dropped == 0


@pytest.mark.parametrize("rate_hz", [100, 500])
def test_stated_rate_shows_the_unit(rate_hz: int) -> None:
    decoder = CsvDecoder(Fraction(rate_hz), live=False)
    blocks = decoder.feed(b"".join(b"%d,5\n" % (1_000_000 // rate_hz * i) for i in range(600))) + decoder.finish()
    assert [block.first_index for block in blocks] == [0, len(blocks[0].values)]
    assert sum(len(block.values) for block in blocks) == 600


@pytest.mark.parametrize(
    ("times", "header", "seen"),
    [
        (
            [10_000 * i for i in range(40)],
            "",
            "0.1 samples a second in milliseconds, and 100 in microseconds: name",
        ),
        ([1e7 * i for i in range(40)], "", "0.0001 samples a second in milliseconds: name its unit in a header line"),
        ([10 * i for i in range(40)], "time_s,gsr", "0.1 samples a second by its name: name its unit"),
        ([0.01 * i for i in range(4000)], "millis,gsr", r"1e\+05 samples a second by its name: name its unit"),
        ([1e9 * i for i in range(40)], "", "samples a second in milliseconds"),
    ],
)
def test_implausible_rate_is_refused_with_what_to_write(times: list[float], header: str, seen: str) -> None:
    decoder = CsvDecoder(live=False)
    wire = "".join(f"{line}\n" for line in [*([header] if header else []), *(f"{time:.10g},5" for time in times)])
    with pytest.raises(FormatError, match=seen) as caught:
        _ = decoder.feed(wire.encode()), decoder.finish()
    assert "or state the rate in Hz" in str(caught.value)


def test_implausible_rate_at_a_port_is_refused_with_the_arriving_lines() -> None:
    seen = r"0\.1 samples a second in milliseconds, and 100 in microseconds, and 5 lines a second arrive"
    with pytest.raises(FormatError, match=seen):
        read_from_port([str(10_000 * i) for i in range(100)], 5, read_s=1.0)


ATTACKS = [
    b"1e308,5\n-1e308,5\n" * 3000,
    b"0,5\n1.5e308,5\n" * 3000,
    b"-1e308,5\n1e308,5\n" * 3000,
    b"1e-320,5\n2e-320,5\n3e-320,5\n1,5\n" * 2000,
    b"1e14,5\n1e-300,5\n" * 3000,
    b"".join(b"%d,5\n" % 3**i for i in range(300)),
    b"".join(b"1e%d,5\n" % i for i in range(-330, 330)),
    b"nan,5\ninf,5\n-inf,5\n" * 3000,
    b"0,5\n" * 6000,
    b"# rate_hz: 1/" + b"0" * 3000 + b"1\n1\n2\n3\n",
    b"# rate_hz: 1/" + b"0" * 5000 + b"1\n1\n2\n3\n",
    b"# rate_hz: " + b"9" * 5000 + b"\n1\n2\n3\n",
    b"# rate_hz: 1/999999999\n" + b"".join(b"%d,5\n" % (10 * i) for i in range(400)),
    b"# adc_bits: " + b"9" * 5000 + b"\n1\n2\n3\n",
    b"# unit: " + b"u" * 4000 + b"\n# rate_hz: 5\n1\n2\n3\n",
    b"9" * 200 + b"," + b"9" * 50 + b"\n" + b"1,2\n" * 3000,
]


@pytest.mark.parametrize("rate_hz", [None, Fraction(100), Fraction(1, 10**9), Fraction(99_999)])
@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_hostile_times_and_rates_give_readings_or_one_error(
    attack: bytes, live: bool, rate_hz: Fraction | None
) -> None:
    decoder = CsvDecoder(rate_hz, live)
    blocks: list[RawBlock] = []
    error = ""
    try:
        blocks += decoder.feed(attack) + decoder.finish()
    except FormatError as caught:
        error = str(caught)
    assert len(error) < 300
    assert error.isprintable()
    assert all(0 <= block.first_index < 2**53 for block in blocks)


@pytest.mark.parametrize("header", [b"\x1b[31mEDA,\x1b]0;x\x07", b"a" * 3000 + b",b"])
def test_names_in_an_error_are_printable_and_short(header: bytes) -> None:
    with pytest.raises(FormatError, match="none of the columns") as caught:
        CsvDecoder(Fraction(10), live=False).feed(header + b"\n" + b"1,2\n" * 5)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
