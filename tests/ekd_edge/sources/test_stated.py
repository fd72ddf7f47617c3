"""What a sensor states wins over a default, and loses to an override; a difference is one notice."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ekd_edge.errors import FormatError
from ekd_edge.sources.sensor import SensorOptions, open_replay, open_sensor
from firmware_bridge.devices.ekd.emulator import frame_bursts, linear_hello
from firmware_bridge.units import Unit

LINES = "".join(f"{500 + n % 7}\n" for n in range(300))


def read(path: Path, options: SensorOptions) -> tuple[Fraction, Unit | None, list[str]]:
    notices: list[str] = []
    blocks = list(open_replay(path, options).blocks(notify=notices.append))
    return blocks[0].rate_hz, blocks[0].unit, [notice for notice in notices if not notice.startswith("reading ")]


@pytest.fixture
def stating(tmp_path: Path) -> Path:
    file = tmp_path / "s.csv"
    file.write_text(f"# rate_hz: 128\n# unit: uS\n{LINES}")
    return file


@pytest.fixture
def silent(tmp_path: Path) -> Path:
    file = tmp_path / "n.csv"
    file.write_text(LINES)
    return file


def test_default_is_used_where_the_file_states_nothing(silent: Path) -> None:
    options = SensorOptions("csv", default_rate_hz=Fraction(39, 2), default_unit=Unit("adc", 10))
    assert read(silent, options) == (Fraction(39, 2), Unit("adc", 10), [])


def test_stated_rate_and_unit_win_over_defaults_with_a_notice(stating: Path) -> None:
    options = SensorOptions("csv", default_rate_hz=Fraction(39, 2), default_unit=Unit("adc", 10, 50.0))
    rate_hz, unit, notices = read(stating, options)
    assert (rate_hz, unit) == (128, Unit("uS"))
    assert notices == [
        f"{stating} states 128 Hz: --rate 19.5 is not used for it; write --replay '{stating},rate=19.5' to override",
        f"{stating} states the unit uS: --unit adc with 10 bits is not used for it; write --replay "
        f"'{stating},unit=adc,adc-bits=10,full-scale-us=50' to override",
    ]


def test_override_wins_without_a_notice(stating: Path) -> None:
    options = SensorOptions("csv", Fraction(100), Unit("kohm"), default_rate_hz=Fraction(7), default_unit=Unit("ohm"))
    assert read(stating, options) == (100, Unit("kohm"), [])


def test_table_is_described_by_its_first_notice(stating: Path) -> None:
    notices: list[str] = []
    list(open_replay(stating).blocks(notify=notices.append))
    assert notices == ["reading s.csv: 128 Hz, uS from column 1, 300 samples"]


def test_default_completes_a_stated_unit_without_resolution(tmp_path: Path) -> None:
    file = tmp_path / "s.csv"
    file.write_text(f"# rate_hz: 128\nadc\n{LINES}")
    assert read(file, SensorOptions("csv", default_unit=Unit("adc", 12)))[1:] == (Unit("adc", 12), [])
    with pytest.raises(FormatError, match=f"{file}: the lines do not state the ADC's resolution"):
        read(file, SensorOptions("csv", default_unit=Unit("uS")))


def test_hello_wins_over_defaults(tmp_path: Path) -> None:
    hello = linear_hello(Fraction(128), 12, 25.0)
    file = tmp_path / "s.bin"
    counts = (np.arange(2000) % 4000).astype(np.uint16)
    file.write_bytes(b"".join(burst.data for burst in frame_bursts([counts], hello)))
    options = SensorOptions(default_rate_hz=Fraction(64), default_unit=Unit("uS"))
    rate_hz, unit, notices = read(file, options)
    assert (rate_hz, unit) == (128, Unit("adc", 12))
    assert [notice.partition(": ")[0] for notice in notices] == [
        f"{file} states 128 Hz",
        f"{file} states the unit adc with 12 bits",
    ]
    assert read(file, SensorOptions(default_rate_hz=Fraction(128), default_unit=Unit("adc", 12)))[2] == []


def test_live_sensor_names_the_port_in_its_notice_once() -> None:
    notices: list[str] = []
    url = "sim://?seconds=4&speed=0"
    with open_sensor(url, SensorOptions(default_rate_hz=Fraction(100))) as sensor:
        rates = {block.rate_hz for block in sensor.blocks(notify=notices.append)}
    assert rates == {Fraction(128)}
    assert notices == [f"{url} states 128 Hz: --rate 100 is not used for it; write --port '{url},rate=100' to override"]


def test_error_of_a_port_names_it() -> None:
    url = "sim://?format=csv&seconds=20&speed=0"
    with (
        pytest.raises(FormatError, match=r"^sim://\?format=csv&seconds=20&speed=0"),
        open_sensor(url, SensorOptions("ekd")) as sensor,
    ):
        list(sensor.blocks())
