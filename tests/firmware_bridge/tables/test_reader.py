"""Tables as people write them are read, or refused with a sentence."""

import math
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.devices.csv.table_file import read_placed_table
from firmware_bridge.errors import EkdError, FormatError
from firmware_bridge.tables.declared import Declared
from firmware_bridge.tables.reader import read_table
from firmware_bridge.units import Unit, parse_unit

VALUES = [round(4.8 + 0.5 * math.sin(k / 31), 4) for k in range(320)]
TIMES = [k / 16 for k in range(320)]


def timed(form: str = "{t:.4f},{v:.4f}", header: str = "time_s,gsr_us", times: list[float] = TIMES) -> str:
    return f"{header}\n" + "".join(form.format(t=t, v=v) + "\n" for t, v in zip(times, VALUES, strict=False))


def bare(form: str = "{v:.4f}", header: str = "# rate_hz: 16\ngsr_us\n") -> str:
    return header + "".join(form.format(v=v) + "\n" for v in VALUES)


def decimal_commas(text: str) -> str:
    return text.replace(".", ",")


READ = {
    "semicolons and decimal commas": decimal_commas(timed("{t:.4f};{v:.4f}", "time_s;gsr_us")),
    "semicolons and points": timed("{t:.4f};{v:.4f}", "time_s;gsr_us"),
    "tabs and decimal commas": decimal_commas(timed("{t:.4f}\t{v:.4f}", "time_s\tgsr_us")),
    "quoted decimal commas": decimal_commas(timed('"{t:.4f}"§"{v:.4f}"', "time_s§gsr_us")).replace("§", ","),
    "spaces": timed("{t:.4f}   {v:.4f}", "time_s gsr_us"),
    "spaces and decimal commas": decimal_commas(timed("{t:.4f} {v:.4f}", "time_s gsr_us")),
    "comma and space": timed("{t:.4f}, {v:.4f}", "time_s, gsr_us"),
    "quotes": timed('"{t:.4f}","{v:.4f}"', '"time_s","GSR [µS]"'),
    "trailing commas": timed("{t:.4f},{v:.4f},", "time_s,gsr_us,"),
    "trailing comma of one column": bare("{v:.4f},", "# rate_hz: 16,\ngsr_us,\n"),
    "blank line after each line": timed("{t:.4f},{v:.4f}\n"),
    "blank line after each line of one column": bare("{v:.4f}\n"),
    "a title and a greeting": "Session 3\nReady\n" + timed(),
    "no header, seconds": timed(header="").lstrip(),
    "no header, milliseconds": "".join(f"{t * 1e3:.0f},{v}\n" for t, v in zip(TIMES, VALUES, strict=True)),
    "no header, microseconds": "".join(f"{t * 1e6:.0f},{v}\n" for t, v in zip(TIMES, VALUES, strict=True)),
    "no header, seconds since 1970": timed(header="", times=[1.7e9 + t for t in TIMES]).lstrip(),
    "header of numpy": "# " + timed(),
    "header of numpy after declarations": bare(header="# rate_hz: 16\n# unit: uS\n# gsr_us\n"),
    "index of pandas": "".join(
        f"{k - 1 if k else ''},{line}\n" for k, line in enumerate(timed().replace("gsr_us", "EDA_Raw").splitlines())
    ),
    "notes": timed("{t:.4f},{v:.4f},good; all well", "time_s,gsr_us,note"),
    "header repeated": "".join(
        line + ("time_s,gsr_us\n" if k % 100 == 0 else "") for k, line in enumerate(timed().splitlines(keepends=True))
    ),
    "comments between": timed().replace("\n4.", "\n# pause\n4."),
    "ISO times": "".join(
        f"2024-01-01T10:00:{t:06.3f},{v}\n" if k else "timestamp,eda\n"
        for k, (t, v) in enumerate(zip([0.0, *TIMES], [0.0, *VALUES], strict=True))
    ),
}


@pytest.mark.parametrize("kind", READ)
def test_table_is_read_with_the_right_values_and_rate(kind: str) -> None:
    found = read_placed_table(READ[kind].encode())
    assert found.rate_hz == 16
    assert found.gaps_s == ()
    assert found.table.damaged == 0
    (block,) = found.blocks
    assert block.values.tolist() == VALUES


REFUSED = {
    "decimal commas of one column": (decimal_commas(bare()), r"'4,8000': write numbers with a point"),
    "decimal commas without a header": (
        decimal_commas(bare(header="")),
        r"line '4,8000' is a number with a decimal comma",
    ),
    "short decimal commas": ("4,8\n4,8\n4,9\n4,8\n" * 50, r"line '4,8' is a number with a decimal comma"),
    "decimal commas between commas": (decimal_commas(timed()), "the header names 2 columns but the lines have 4"),
    "mixed decimals": (
        decimal_commas(timed("{t:.4f};{v:.4f}", "time_s;gsr_us")).replace("4,8161", "4.8161"),
        r"decimal commas and decimal points, as in '.*4\.8161'",
    ),
    "two rates": ("# rate_hz: 128\n" + timed(), "stated rate is 128 Hz but the time column 'time_s' shows 16 Hz"),
    "milliseconds as seconds": (
        timed(header="time,gsr_us", times=[t * 1e3 for t in TIMES]),
        r"'time' shows 0\.016 Hz in seconds.*16 Hz if they are milliseconds: time_ms",
    ),
    "no rate": (bare(header="gsr_us\n"), "do not state the sampling rate: state the rate in Hz"),
    "Empatica E4": (
        "1551327840.00\n4.000000\n" + bare(header=""),
        "file of an Empatica E4: write '# rate_hz: 4'",
    ),
    "no samples": ("# rate_hz: 16\ngsr_us\n", "has a header but no samples"),
    "only gaps": ("# rate_hz: 16\ngsr_us\nNA\nNA\n", "has no line of numbers"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_table_is_refused_with_a_remedy(kind: str) -> None:
    text, message = REFUSED[kind]
    with pytest.raises(FormatError, match=message):
        read_placed_table(text.encode())


@pytest.mark.parametrize("cell", ["", "NA", "NaN", "ovf", "inf", "null", "--", "4.8x"])
@pytest.mark.parametrize("with_times", [False, True])
def test_cells_without_a_reading_are_a_gap(cell: str, with_times: bool) -> None:
    lines = (timed() if with_times else bare()).splitlines()
    lines[60:156] = [f"{line.split(',')[0]},{cell}" if with_times else cell for line in lines[60:156]]
    if cell == "4.8x":
        lines[70:] = (timed() if with_times else bare()).splitlines()[70:]
    found = read_placed_table("\n".join(lines).encode())
    lost = 10 if cell == "4.8x" else 96
    assert found.gaps_s == (lost / 16,)
    assert found.blocks[1].values[0] == VALUES[60 + lost - (1 if with_times else 2)]
    assert found.table.damaged == (10 if cell == "4.8x" else 0)


def test_hole_in_the_times_is_a_gap() -> None:
    found = read_placed_table(timed(times=[t + 600 * (t >= 10) for t in TIMES]).encode())
    assert found.gaps_s == (600,)
    assert found.summary("p0.csv", "uS") == "p0.csv: 16 Hz, uS from column gsr_us, 320 samples, 1 gap of 600 s"


def test_lines_left_out_are_counted_and_the_first_is_shown() -> None:
    found = read_placed_table(bare().replace("4.8483", "4.8O83").encode())
    assert "320 samples" not in found.summary("a.csv", None)
    assert found.summary("a.csv", None).endswith("1 lines left out, first line 6: '4.8O83'")


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("# unit: kohm\n# rate_hz: 16\ngsr\n5\n6\n", "kohm"),
        ("# rate_hz: 16\nGSR (kOhm)\n5\n6\n", "kohm"),
        ("# rate_hz: 16\n# unit: uS\ngsr_us\n5\n6\n", "uS"),
        ("# rate_hz: 16\ngsr\n5\n6\n", None),
    ],
)
def test_unit_is_that_of_the_comment_or_the_name(text: str, unit: str | None) -> None:
    declared = read_table(text.encode()).declared
    assert (None if declared.unit is None else parse_unit(declared.unit).kind) == unit
    assert read_table(text.encode(), Declared(unit="nS")).declared.unit == "nS"


def test_given_rate_replaces_none_and_refuses_another() -> None:
    assert read_table(b"gsr\n5\n6\n", Declared(rate_hz=Fraction(8))).rate_hz == 8
    with pytest.raises(FormatError, match="the file states 16 Hz, but 8 Hz is given"):
        read_table(bare().encode(), Declared(rate_hz=Fraction(8)))


def test_file_and_its_bytes_give_the_same_table(tmp_path: Path) -> None:
    for kind, text in READ.items():
        (tmp_path / "a.csv").write_text(text, encoding="utf-8")
        one, other = read_table(tmp_path / "a.csv"), read_table(text.encode())
        assert np.array_equal(one.numbers, other.numbers), kind
        assert np.array_equal(one.missing, other.missing), kind


UNITS = ("uS", "S", "mS", "nS", "ohm", "kohm", "Mohm")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_written_table_is_read_back_or_refused(data: st.DataObject) -> None:
    """A table of any form gives the values, places, rate and unit that were written, or it is refused."""
    draw = data.draw
    separator = draw(st.sampled_from([",", ";", "\t", " "]))
    comma = draw(st.booleans())
    rate = draw(st.sampled_from([4, 16, 50, 128, 1000]))
    count = draw(st.integers(40, 300))
    unit = Unit(draw(st.sampled_from(UNITS)))
    microsiemens = 5 + np.cumsum(np.random.default_rng(draw(st.integers(0, 99))).normal(size=count)) * 0.02
    values = [float(f"{value:.6e}") for value in unit.to_readings(np.abs(microsiemens) + 0.5)]
    tick = draw(st.sampled_from([None, 1.0, 1e-3, 1e-6]))
    named = draw(st.booleans())
    start = draw(st.sampled_from([0.0, 12.5, 1.7e9]))
    lost = set()
    if draw(st.booleans()):
        first = draw(st.integers(20, count - 10))
        lost = set(range(first, first + draw(st.integers(1, 8))))
    missing = (
        draw(st.sampled_from(["left out", "", "NA", "nan"]))
        if tick is not None
        else draw(st.sampled_from(["NA", "ovf"]))
    )
    time_name = {None: "", 1.0: "time_s", 1e-3: "time_ms", 1e-6: "time_us"}[tick]
    value_name = draw(st.sampled_from(["gsr_{}", "EDA ({})", "Conductance[{}]"])).format(unit.kind)
    if separator == " ":
        value_name = f"gsr_{unit.kind}"
    rows = [] if not named else [separator.join(([time_name] if tick else []) + [value_name])]
    for k, value in enumerate(values):
        cell = missing if k in lost else f"{value:.6e}"
        if cell == "left out":
            continue
        time = [] if tick is None else [f"{(start + k / rate) / tick:.4f}"]
        rows.append(separator.join([*time, cell]))
    text = "\n".join(rows) + "\n"
    if comma:
        text = text.replace(".", ",")
    comments = f"# unit: {unit.kind}\n" + (f"# rate_hz: {rate}\n" if tick is None or draw(st.booleans()) else "")
    end = draw(st.sampled_from(["\n", "\r\n", "\r", "\n\r"]))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
    try:
        found = read_placed_table((comments + text).replace("\n", end).encode(encoding))
    except EkdError:
        plain = not comma and separator == "," and (named or tick in (None, 1e-3)) and start < 1e9
        assert not plain or rate == 1000, f"a plain table is refused: {text[:80]}"
        return
    assert found.rate_hz == rate
    assert found.table.declared.unit is not None
    assert parse_unit(found.table.declared.unit).kind == unit.kind
    index = np.concatenate([block.first_index + np.arange(len(block.values)) for block in found.blocks])
    kept = [k for k in range(count) if k not in lost]
    assert np.concatenate([block.values for block in found.blocks]).tolist() == [values[k] for k in kept]
    assert index.tolist() == [k - kept[0] for k in kept]
    assert all(one.segment == other.segment for one, other in pairwise(found.blocks))
