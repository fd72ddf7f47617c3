"""Bulk parsing gives the same bits as Python's float for each field."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from firmware_bridge.devices.csv.layout import Layout
from firmware_bridge.devices.csv.parse import parse_bulk

ONE, TWO = Layout(1, 0), Layout(2, 1, 0)
DIGITS = st.text("0123456789", min_size=1, max_size=20)


@st.composite
def of_equal_places(draw: st.DrawFn) -> list[str]:
    """Fields with a fixed number of decimals, the most frequent form in recordings."""
    places = draw(st.integers(0, 25))
    behind = st.text("0123456789", min_size=places, max_size=places)
    return draw(st.lists(st.builds("{}.{}".format, DIGITS, behind), min_size=1, max_size=8))


ANY_PLACES = st.lists(st.from_regex(r"[+-]?[0-9]{1,20}(\.[0-9]{0,25})?(e[+-]?[0-9]{1,2})?", fullmatch=True), min_size=1)


def bits(values: list[float]) -> list[int]:
    return np.array(values).view(np.int64).tolist()


@given(of_equal_places() | ANY_PLACES)
@example(["0.1", "0.3", "9007199254740992.1", "00.5"])
@example(["9007199254740993", "18446744073709551616"])
@example(["-0.0000", "-1.2345"])
@example(["5.1234", "5.123", "5.12345"])
@example([".5", "1.5"])
@example(["5.", "6."])
@example(["0." + "1" * 22, "0." + "9" * 22])
@example(["8176441668080.3268", "14495820535222.7900"])  # more than 53 bits, which would be rounded twice
@example(["0.00000006854138572100988"])  # 10**23 is not an exact float
def test_bulk_parsing_equals_float_bit_for_bit(fields: list[str]) -> None:
    parsed = parse_bulk("".join(f"{field}\n" for field in fields).encode(), ONE, 256)
    assert parsed is not None
    assert bits(parsed.values.tolist()) == bits([float(field) for field in fields])
    rows = "".join(f"{i}.25,{field}\r\n" for i, field in enumerate(fields))
    parsed = parse_bulk(rows.encode(), TWO, 256)
    assert parsed is not None
    assert parsed.times_s is not None
    assert bits(parsed.values.tolist()) == bits([float(field) for field in fields])
    assert bits(parsed.times_s.tolist()) == bits([float(f"{i}.25") * TWO.tick_s for i in range(len(fields))])


@pytest.mark.parametrize("odd", ["", ".", "1.2.3", "1,2", "nan", "1e999", "0x10", "1_0", "#5", "5 5"])
@pytest.mark.parametrize("others", [["5.12", "6.34"], ["5", "6"]])
def test_bulk_parsing_declines_fields_that_are_not_numbers(odd: str, others: list[str]) -> None:
    for fields in ([odd, *others], [*others, odd]):
        assert parse_bulk("".join(f"{field}\n" for field in fields).encode(), ONE, 256) is None
