"""The options of one sensor: its port's, the device's and the global ones."""

import argparse
from fractions import Fraction

import pytest

from ekd_edge.cli.arguments import add_sensor_arguments, check_sensor_arguments
from ekd_edge.cli.main import main
from ekd_edge.cli.port_options import check_ports, parse_port, sensor_options, with_wearers
from ekd_edge.errors import ConfigError
from firmware_bridge.units import Unit


def namespace(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_sensor_arguments(parser)
    return parser.parse_args(arguments)


def test_global_options_are_defaults_and_those_of_a_port_override() -> None:
    given = namespace("--format", "csv", "--rate", "100", "--unit", "adc", "--adc-bits", "10", "--baud", "9600")
    plain = sensor_options(given, parse_port("p"))
    assert (plain.format, plain.rate_hz, plain.unit, plain.baud) == ("csv", None, None, 9600)
    assert (plain.default_rate_hz, plain.default_unit) == (Fraction(100), Unit("adc", 10))
    own = sensor_options(given, parse_port("p,format=grove,rate=19.5,unit=divider,adc-bits=12,baud=115200"))
    assert (own.format, own.rate_hz, own.unit, own.baud) == ("grove", Fraction(39, 2), Unit("divider", 12), 115200)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--adc-bits", "10"], "no unit is given: add --unit adc or --unit divider"),
        (["--adc-bits", "10", "--unit", "uS"], "the unit is uS: add --unit adc"),
        (["--unit", "divider"], "add --adc-bits 10"),
        (["--full-scale-us", "50"], "--full-scale-us belongs to --unit adc"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_sensor_arguments(namespace(*arguments))


def test_adc_bits_without_a_unit_are_refused_in_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], ["calibrate", "--wearer", "a"]):
        assert main([*command, "--port", "sim://", "--adc-bits", "12"]) == 2
        assert "add --unit adc or --unit divider" in capsys.readouterr().err


def test_same_port_or_name_twice_is_refused() -> None:
    check_ports([parse_port("a"), parse_port("b,name=c")])
    with pytest.raises(ConfigError, match="the same --port is given twice, a: name each port once"):
        check_ports([parse_port("a"), parse_port("a,rate=3")])
    with pytest.raises(ConfigError, match="the same sensor name is given twice, b: give each --port another name="):
        check_ports([parse_port("b"), parse_port("a,name=b")])


def test_wearers_are_in_the_order_of_the_ports() -> None:
    ports = [parse_port("a"), parse_port("b")]
    assert with_wearers(ports, None) == ports
    assert [port.wearer for port in with_wearers(ports, ["anna", "ben"])] == ["anna", "ben"]
    with pytest.raises(ConfigError, match="one --wearer for each --port"):
        with_wearers(ports, ["anna"])
    with pytest.raises(ConfigError, match="not both: remove --wearer"):
        with_wearers([parse_port("a,wearer=anna")], ["ben"])
