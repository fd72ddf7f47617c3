"""Conversion of raw readings to microsiemens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.errors import SignalError
from firmware_bridge.units import Unit, parse_unit


def one(unit, reading):
    return unit.to_microsiemens(np.array([float(reading)]))[0]


def test_microsiemens_are_not_converted():
    assert one(Unit(), 5.25) == 5.25


def test_adc_counts_follow_the_bitalino_data_sheet():
    """BITalino EDA data sheet: 0 to 25 uS over the converter's range."""
    assert one(Unit("adc", 10), 512) == pytest.approx(12.5)
    assert one(Unit("adc", 12), 2669) == pytest.approx(2669 / 4096 * 25)
    assert one(Unit("adc", 10, full_scale_us=100.0), 512) == pytest.approx(50.0)


def test_resistances_are_inverted():
    assert one(Unit("ohm"), 200_000) == pytest.approx(5.0)
    assert one(Unit("kohm"), 200) == pytest.approx(5.0)


@pytest.mark.parametrize(("kind", "reading"), [("S", 5e-6), ("mS", 5e-3), ("nS", 5e3), ("Mohm", 0.2)])
def test_units_of_other_magnitudes_are_converted_both_ways(kind, reading):
    unit = Unit(kind)
    assert one(unit, reading) == pytest.approx(5.0)
    assert unit.to_readings(np.array([5.0]))[0] == pytest.approx(reading)
    assert not unit.in_range(np.array([np.nan])).any()


@pytest.mark.parametrize("reading", [0, 1, 100, 400, 511])
def test_divider_readings_follow_seeeds_formula(reading):
    """Seeed's formula gives the resistance."""
    ohm = (1024 + 2 * reading) * 10_000 / (512 - reading)
    assert one(Unit("divider"), reading) == pytest.approx(1e6 / ohm)


def test_divider_at_or_above_its_zero_has_no_conductance():
    assert one(Unit("divider"), 512) == 0.0
    assert one(Unit("divider"), 700) == 0.0
    assert one(Unit("divider", divider_zero=520.0), 512) > 0


@given(st.integers(1, 32), st.data())
def test_every_count_is_between_zero_and_full_scale(bits, data):
    count = data.draw(st.integers(0, 2**bits - 1))
    assert 0 <= one(Unit("adc", bits), count) < 25
    assert one(Unit("divider", bits), count) >= 0


@pytest.mark.parametrize("reading", [-1, 1024, 5e9, np.nan])
@pytest.mark.parametrize("kind", ["adc", "divider"])
def test_counts_out_of_range_are_refused_with_a_remedy(kind, reading):
    with pytest.raises(SignalError, match=r"give its resolution, or another unit|missing"):
        one(Unit(kind, 10), reading)


@pytest.mark.parametrize("reading", [0, -5, np.nan, np.inf])
@pytest.mark.parametrize("kind", ["ohm", "kohm"])
def test_resistances_without_conductance_are_refused(kind, reading):
    with pytest.raises(SignalError):
        one(Unit(kind), reading)


def test_in_range_marks_the_valid_readings():
    readings = np.array([0.0, 1023.0, 1024.0, -1.0, np.nan, np.inf])
    assert Unit("adc").in_range(readings).tolist() == [True, True, False, False, False, False]
    assert Unit("ohm").in_range(readings).tolist() == [False, True, True, False, False, False]
    assert Unit("uS").in_range(readings).tolist() == [True, True, True, True, False, False]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("S", "S"),
        ("mS", "mS"),
        ("nS", "nS"),
        ("MOhm", "Mohm"),
        ("kΩ", "kohm"),
        ("k\u2126", "kohm"),
        ("uS", "uS"),
        ("µS", "uS"),
        ("US", "uS"),
        ("adc", "adc"),
        (" kOhm ", "kohm"),
        ("grove", "divider"),
    ],
)
def test_unit_names_are_parsed_in_any_case(text, kind):
    assert parse_unit(text).kind == kind


def test_parse_unit_passes_its_parameters():
    assert parse_unit("adc", 12, 50.0) == Unit("adc", 12, 50.0)


def test_unknown_units_and_invalid_parameters_are_refused():
    with pytest.raises(SignalError, match="volt"):
        parse_unit("volt")
    for kwargs in (
        {"adc_bits": 0},
        {"adc_bits": 33},
        {"full_scale_us": 0.0},
        {"full_scale_us": float("nan")},
        {"reference_ohm": -1.0},
        {"divider_zero": 5000.0},
        {"kind": "mho"},
    ):
        with pytest.raises(SignalError):
            Unit(**kwargs)


@pytest.mark.parametrize(
    ("unit", "valid", "invalid", "message"),
    [
        (
            Unit("uS"),
            [0.0, -1.0, 1e6],
            [1.1e6, -2e6, 3e96],
            "a reading of 1.1e+06 uS is not a conductance of skin: check the unit",
        ),
        (
            Unit("ohm"),
            [1.0, 1e9],
            [0.9, 0.0, -5.0],
            "a resistance of 0.9 ohm has no conductance: check the unit and the electrodes",
        ),
        (
            Unit("kohm"),
            [1e-3, 1e6],
            [9e-4, 0.0, -5.0],
            "a resistance of 0.0009 kohm has no conductance: check the unit and the electrodes",
        ),
    ],
)
def test_reading_that_no_skin_has_is_refused(
    unit: Unit, valid: list[float], invalid: list[float], message: str
) -> None:
    assert unit.in_range(np.array(valid)).all()
    assert not unit.in_range(np.array(invalid)).any()
    with pytest.raises(SignalError) as caught:
        unit.to_microsiemens(np.array(invalid))
    assert str(caught.value) == message
