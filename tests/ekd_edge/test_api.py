"""The public Python interface predicts what the command predicts, and raises EkdError with one sentence."""

import os
import pty
import subprocess
import sys
import time
import tty
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import ekd_edge
from ekd_edge.prediction import Prediction
from ekd_edge.sources import live_sensor
from firmware_bridge.units import Unit
from tests.helpers.edge_command import CSV, Wire, edge, predictions, recording

RATE = 32


def as_printed(found: list[Prediction]) -> list[tuple[object, ...]]:
    return [(p.first_index, p.segment, round(p.time_s, 6), dict(p.labels), rounded(p.probabilities)) for p in found]


def rounded(probabilities: object) -> dict[str, list[float]]:
    assert isinstance(probabilities, dict)
    return {name: [round(each, 6) for each in row] for name, row in probabilities.items()}


def from_json(lines: list[dict[str, object]]) -> list[tuple[object, ...]]:
    found = []
    for line in lines:
        targets = line["targets"]
        assert isinstance(targets, dict)
        labels = {name: target["label"] for name, target in targets.items()}
        shares = {name: target["probabilities"] for name, target in targets.items()}
        found.append((line["first_index"], line["segment"], line["time"], labels, shares))
    return found


@pytest.fixture(scope="module")
def csv_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recording(tmp_path_factory.mktemp("csv") / "r.csv", seconds=60, rate=RATE)


@pytest.mark.parametrize("smoothing", [{}, {"smoothing_s": 5.0, "hysteresis": 0.1}])
def test_csv_file_gives_the_commands_predictions(model_path: Path, csv_file: Path, smoothing: dict[str, float]) -> None:
    flags = ["--smooth", "5", "--margin", "0.1"] if smoothing else []
    done = edge("--replay", csv_file, *CSV, "--model", model_path, "--json", *flags)
    model = ekd_edge.load_model(model_path)
    source = ekd_edge.open_recording(csv_file, format="csv", rate_hz=RATE, unit="uS")
    found = as_printed(list(model.predict(source, **smoothing)))
    assert len(found) > 40
    assert found == from_json(predictions(done.stdout))


def test_array_and_blocks_give_the_predictions_of_the_file(model_path: Path, csv_file: Path) -> None:
    model = ekd_edge.load_model(str(model_path))
    values = np.array([float(line) for line in csv_file.read_text().split()])
    blocks = [ekd_edge.SampleBlock(values[at : at + 7], at, Fraction(RATE)) for at in range(0, len(values), 7)]
    source = ekd_edge.open_recording(csv_file, format="csv", rate_hz=RATE, unit="uS")
    of_file = as_printed(list(model.predict(source)))
    assert as_printed(list(model.predict(values, rate_hz=RATE))) == of_file
    assert as_printed(list(model.predict(blocks))) == of_file


def test_recording_replays_with_its_own_smoothing(model_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    live = edge(
        *("--port", "sim://?seconds=40&speed=0&seed=3", "--record", folder, "--smooth", "4", "--hysteresis", "0.2"),
        *("--model", model_path, "--json"),
    )
    found = ekd_edge.load_model(model_path).predict(ekd_edge.open_recording(folder))
    assert as_printed(list(found)) == from_json(predictions(live.stdout))


def test_simulated_sensor_gives_the_commands_predictions(model_path: Path) -> None:
    port = "sim://?seconds=40&speed=0&seed=3"
    done = edge("--port", port, "--model", model_path, "--json")
    with ekd_edge.open_sensor(port, notify=lambda message: None) as sensor:
        found = as_printed(list(ekd_edge.load_model(model_path).predict(sensor)))
        assert sensor.counts.samples == 40 * 128
    assert len(found) > 30
    assert found == from_json(predictions(done.stdout))


def test_second_iteration_continues_where_the_first_stopped() -> None:
    with ekd_edge.open_sensor("sim://?seconds=20&speed=20", notify=lambda message: None) as sensor:
        first = next(iter(sensor))
        rest = list(sensor)
    assert rest[0].first_index == first.first_index + len(first.values)
    assert len(first.values) + sum(len(block.values) for block in rest) == 20 * 128


def test_unplugged_sensor_ends_with_port_error() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    received: list[int] = []
    with ekd_edge.open_sensor(
        os.ttyname(slave), format="csv", rate_hz=RATE, unit="uS", notify=lambda message: None
    ) as sensor:
        os.write(master, b"5.0\r\n" * 100)
        blocks = iter(sensor)
        received.append(len(next(blocks).values))
        os.close(slave)
        os.close(master)
        with pytest.raises(ekd_edge.PortError):
            received.extend(len(block.values) for block in blocks)
    assert 0 < sum(received) <= 100


def test_program_that_reads_too_slowly_gets_an_error_after_what_was_received(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_sensor, "_MAX_BLOCKS", 3)
    with ekd_edge.open_sensor(wire.name, format="csv", rate_hz=RATE, unit="uS", notify=lambda message: None) as sensor:
        deadline = time.monotonic() + 300
        while sensor.state.connected and time.monotonic() < deadline:
            wire.send(b"5.0\r\n" * 4)
            time.sleep(0.05)
        blocks = iter(sensor)
        assert [len(next(blocks).values) > 0 for _ in range(3)] == [True] * 3
        with pytest.raises(ekd_edge.PortError, match="too slowly"):
            next(blocks)


def test_closed_sensor_is_refused() -> None:
    sensor = ekd_edge.open_sensor("sim://?seconds=5", notify=lambda message: None)
    sensor.close()
    with pytest.raises(ekd_edge.PortError, match="is closed"):
        next(iter(sensor))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda model: model.predict(np.zeros(9)), ekd_edge.ConfigError, "give rate_hz"),
        (lambda model: model.predict(np.zeros((2, 9)), rate_hz=4), ekd_edge.SignalError, r"shape \(2, 9\)"),
        (
            lambda model: model.predict(np.zeros(9), rate_hz=float("nan")),
            ekd_edge.ConfigError,
            "rate_hz is nan: give a number of Hz from 0.001",
        ),
        (lambda model: model.predict([], rate_hz=4), ekd_edge.ConfigError, "rate_hz is for arrays"),
        (lambda model: model.predict("r.csv"), ekd_edge.ConfigError, "open_recording"),
        (lambda model: next(model.predict([1.0])), ekd_edge.ConfigError, "SampleBlock"),
        (lambda model: model.predict([], hysteresis=1.0), ekd_edge.ConfigError, "hysteresis"),
        (lambda model: ekd_edge.load_model(model.path, threads=0), ekd_edge.ConfigError, "threads"),
        (lambda model: ekd_edge.load_model("no.tflite"), ekd_edge.ModelFileError, "no.tflite"),
        (lambda model: ekd_edge.open_recording("no.csv"), ekd_edge.PortError, "no.csv"),
        (lambda model: ekd_edge.open_sensor("/dev/ttyNONE"), ekd_edge.PortError, "does not exist"),
        (lambda model: ekd_edge.open_sensor("sim://", unit="adc"), ekd_edge.ConfigError, "resolution"),
        (lambda model: ekd_edge.open_sensor("sim://", unit="volt"), ekd_edge.SignalError, "unknown unit"),
        (lambda model: ekd_edge.open_sensor("sim://", format="nosuch"), ekd_edge.ConfigError, "nosuch"),
    ],
)
def test_wrong_argument_raises_one_sentence(
    model_path: Path, call: Callable[[ekd_edge.Model], object], error: type[Exception], words: str
) -> None:
    model = ekd_edge.load_model(model_path)
    with pytest.raises(error, match=words) as caught:
        call(model)
    assert "\n" not in str(caught.value)


def test_model_of_an_untrusted_key_is_refused(model_path: Path, signing_key: object) -> None:
    key = signing_key.public_path  # type: ignore[attr-defined]
    with pytest.raises(ekd_edge.ModelFileError, match="is not signed"):
        ekd_edge.load_model(model_path, trust=key)


def test_unit_object_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("512\n" * 64)
    unit = Unit("adc", adc_bits=10)
    block = next(iter(ekd_edge.open_recording(tmp_path / "r.csv", format="csv", rate_hz=19.5, unit=unit)))
    assert (block.rate_hz, float(block.values[0])) == (Fraction(39, 2), 12.5)


def test_public_names_are_found_and_a_wrong_one_is_an_attribute_error() -> None:
    for name in ekd_edge.__all__:
        assert getattr(ekd_edge, name) is not None
    assert set(ekd_edge.__all__) <= set(dir(ekd_edge))
    with pytest.raises(AttributeError, match="load_modell"):
        ekd_edge.load_modell  # noqa: B018


def test_python_m_ekd_edge_runs_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "ekd_edge", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ekd ")
