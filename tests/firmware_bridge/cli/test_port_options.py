"""The text of `--port`."""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.cli.port_options import KEYS, PortOptions, escaped, parse_file, parse_port
from firmware_bridge.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("/dev/ttyUSB0", PortOptions("/dev/ttyUSB0")),
        ("usb:0403:6001:A7,X", None),
        ("/dev/ttyUSB0,format=grove,wearer=anna", PortOptions("/dev/ttyUSB0", format="grove", wearer="anna")),
        ("/dev/rfcomm0,format=bitalino:channel=A2", PortOptions("/dev/rfcomm0", format="bitalino:channel=A2")),
        ("p,format=x:a=1\\,b=2,rate=1000/3", PortOptions("p", format="x:a=1,b=2", rate_hz=Fraction(1000, 3))),
        ("/tmp/a\\,b c,baud=9600", PortOptions("/tmp/a,b c", baud=9600)),
        ("a\\\\,name=left hand", PortOptions("a\\", name="left hand")),
        ("sim://?rate=128&seed=1,rate=19.5", PortOptions("sim://?rate=128&seed=1", rate_hz=Fraction(39, 2))),
        (
            "p,unit=adc,adc-bits=12,full-scale-us=50",
            PortOptions("p", unit="adc", adc_bits=12, full_scale_us=50.0),
        ),
        ("p, rate = 128 ", PortOptions("p", rate_hz=Fraction(128))),
    ],
)
def test_port_text_becomes_its_options(text: str, options: PortOptions | None) -> None:
    if options is None:
        with pytest.raises(ConfigError, match=r"'X' in --port '.*' is not KEY=VALUE: write \\, for a comma"):
            parse_port(text)
    else:
        assert parse_port(text) == options


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no port"),
        (",rate=1", "names no port"),
        ("p,", "is not KEY=VALUE"),
        ("p,formatt=csv", "unknown option 'formatt': .*; did you mean format\\?"),
        ("p,rate=1,rate=2", "states rate twice"),
        ("p,rate=", "states no value of rate"),
        ("p,rate=1e99999999", "rate in --port .* is wrong: "),
        ("p,rate=0", "rate in --port .* is wrong: "),
        ("p,unit=volts", "unknown unit 'volts'"),
        ("p,unit=adc", "add adc-bits=10"),
        ("p,adc-bits=12", "add unit=adc or unit=divider"),
        ("p,unit=uS,adc-bits=12", "add unit=adc or unit=divider"),
        ("p,unit=divider,adc-bits=12,full-scale-us=3", "add unit=adc"),
        ("p,unit=adc,adc-bits=33", "1 to 32 bits"),
        ("p,baud=" + "9" * 5000, "baud in --port"),
        ("p\0q", "NUL"),
    ],
)
def test_wrong_port_text_is_one_sentence_with_a_remedy(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        parse_port(text)
    assert "\n" not in str(refused.value)


def test_option_of_another_command_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown option 'wearer': it may have format, rate"):
        parse_port("p,wearer=anna", ("format", "rate"))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_escaped_name_is_read_back(name: str) -> None:
    if not name.strip() or ("\\" in name and "," not in name) or name.startswith("~"):  # ~ is the home folder
        return
    assert parse_port(f"{escaped(name)},name=x") == PortOptions(name, name="x")


@given(st.text(max_size=60))
def test_any_text_is_a_port_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        assert parse_port(text).url


def test_file_that_exists_has_no_options(tmp_path: Path) -> None:
    file = tmp_path / "day,rate=3.csv"
    file.write_text("")
    assert parse_file(str(file), KEYS) == PortOptions(str(file))
    assert parse_file(f"{tmp_path}/day,rate=4", KEYS) == PortOptions(f"{tmp_path}/day", rate_hz=Fraction(4))
    assert parse_file("x" * 5000, KEYS) == PortOptions("x" * 5000)
