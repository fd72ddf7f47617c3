"""Names of columns and the units that they state."""

import pytest

from firmware_bridge.errors import FormatError
from firmware_bridge.tables.columns import Columns, columns_of, time_named, value_named
from firmware_bridge.units import parse_unit


def of(*names: str) -> Columns:
    return columns_of(names, len(names), "")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gsr_us", "uS"),
        ("GSR [µS]", "uS"),
        ("GSR [\u03bcS]", "uS"),
        ('"EDA (uS)"', "uS"),
        ("eda/uS", "uS"),
        ("uS", "uS"),
        ("µS", "uS"),
        ("microsiemens", "uS"),
        ("gsr_kohm", "kohm"),
        ("GSR (kOhm)", "kohm"),
        ("Skin Resistance (MOhm)", "Mohm"),
        ("resistance_ohm", "ohm"),
        ("kΩ", "kohm"),
        ("EDA [nS]", "nS"),
        ("eda_mS", "mS"),
        ("Conductance (S)", "S"),
        ("adc", "adc"),
        ("gsr_adc", "adc"),
    ],
)
def test_unit_of_a_name_is_found(name: str, kind: str) -> None:
    found = value_named(name)
    assert found is not None
    assert found.unit is not None
    assert parse_unit(found.unit).kind == kind


@pytest.mark.parametrize("name", ["gsr", "EDA", "EDA_Raw", "value", "SCL", "Skin Conductance", "GSR 1", "gsr_avg"])
def test_name_without_a_unit_is_a_value(name: str) -> None:
    found = value_named(name)
    assert found is not None
    assert found.unit is None


@pytest.mark.parametrize("name", ["", "time", "ppg", "EDA_Tonic", "SCR_Onsets", "eeg_gsr", "Grove GSR", "temperature"])
def test_other_names_are_not_a_value(name: str) -> None:
    assert value_named(name) is None


@pytest.mark.parametrize(
    ("name", "tick_s"),
    [
        ("time_s", 1.0),
        ("time", 1.0),
        ("Time (ms)", 1e-3),
        ("time [s]", 1.0),
        ("millis", 1e-3),
        ("ms", 1e-3),
        ("time_ms", 1e-3),
        ("micros", 1e-6),
        ("time_us", 1e-6),
        ("timestamp", None),
        ("Timestamp_ms", 1e-3),
        ("t", None),
        ("unix_time", None),
        ("datetime", None),
    ],
)
def test_unit_of_a_time_column_is_found(name: str, tick_s: float | None) -> None:
    found = time_named(name)
    assert found is not None
    assert found.tick_s == tick_s


def test_columns_of_a_header_are_found_by_name() -> None:
    found = of("", "Timestamp", "PPG", "EDA (uS)", "eeg_F3", "EEG_Cz")
    assert (found.time, found.value, found.unit, found.tick_s) == (1, 3, "uS", None)
    assert found.eeg == {"F3": 4, "Cz": 5}
    assert of("micros", "gsr", "millis").time == 2
    assert of("EDA_Clean", "EDA_Raw", "EDA_Tonic").value == 1


def test_columns_without_a_header_are_value_or_time_and_value() -> None:
    assert (columns_of((), 1, "5").time, columns_of((), 1, "5").value) == (None, 0)
    assert (columns_of((), 2, "0,5").time, columns_of((), 2, "0,5").value) == (0, 1)
    with pytest.raises(FormatError, match="have 3 columns, such as '1,2,3', and no header: add one"):
        columns_of((), 3, "1,2,3")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("time", "skin"), "none of the columns time, skin is skin conductance: rename"),
        (("gsr", "gsr"), "columns gsr and gsr could both be skin conductance"),
        (("gsr_1", "gsr_2"), "columns gsr_1 and gsr_2 could both"),
    ],
)
def test_header_without_a_clear_value_column_is_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        of(*names)


def test_header_with_another_number_of_columns_is_refused_with_the_line() -> None:
    with pytest.raises(FormatError, match=r"names 1 columns but the lines have 2, such as '4,81': write .* a point"):
        columns_of(("gsr",), 2, "4,81")


def test_greeting_is_not_a_header() -> None:
    assert columns_of(("Ready",), 2, "0,5").time == 0
