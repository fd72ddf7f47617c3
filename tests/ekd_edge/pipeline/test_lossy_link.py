"""Real recordings over a link on which 1 % of the lines or frames are lost, and noise is inserted."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ekd_edge.model.file import load_model_file
from ekd_edge.model.find import DEMO_FILE
from ekd_edge.model.interpreter import open_classifier
from ekd_edge.pipeline.stream import predict_stream
from ekd_edge.prediction import Prediction
from ekd_edge.signal.design import BRIDGE_S
from ekd_edge.sources.sensor import SensorOptions, replay_blocks
from firmware_bridge.devices.ekd.emulator import frame_bursts, linear_hello
from firmware_bridge.devices.stated_unit import unit_of_hello
from firmware_bridge.units import Unit, parse_unit
from tests.helpers.paths import SHARED

DATA = SHARED / "data"
Values = NDArray[np.float64]


def wrist() -> tuple[Values, Fraction]:
    _, rate, *values = np.loadtxt(DATA / "stress_predict_eda" / "S05" / "EDA.csv").tolist()
    return np.array(values), Fraction(rate)


def finger() -> tuple[Values, Fraction]:
    path = DATA / "neurokit_bio" / "bio_resting_8min_100hz.csv"
    with path.open() as file:
        column = file.readline().strip().split(",").index("EDA")
    return np.loadtxt(path, delimiter=",", skiprows=1, usecols=column), Fraction(100)


def other_finger() -> tuple[Values, Fraction]:
    return Unit("adc", 12).to_microsiemens(np.loadtxt(DATA / "biosppy_eda" / "eda.txt")), Fraction(1000)


def lines(values: Values, rate: Fraction) -> list[bytes]:
    """CSV lines with the sensor's own milliseconds."""
    return [f"{round(1000 * i / rate)},{value:.4f}\n".encode() for i, value in enumerate(values.tolist())]


def frames(values: Values, rate: Fraction) -> list[bytes]:
    """Frames of ekd's firmware, each with eight samples."""
    hello = linear_hello(rate, full_scale_us=100.0)
    counts = unit_of_hello(hello).to_readings(values).astype(np.uint16)
    return [burst.data for burst in frame_bursts([counts], hello)]


def predicted(pieces: list[bytes], path: Path, rate: Fraction) -> list[Prediction]:
    """The demo model's predictions with a label from a file of a sensor's bytes."""
    path.write_bytes(b"".join(pieces))
    model = load_model_file(DEMO_FILE)
    assert model.manifest.signal.bridge_s == BRIDGE_S
    options = SensorOptions(rate_hz=rate, unit=parse_unit("uS")) if path.suffix == ".csv" else SensorOptions()
    found = predict_stream(replay_blocks(path, options), model.manifest, open_classifier(model))
    return [prediction for prediction in found if not prediction.withheld]


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared recordings are not here")
@pytest.mark.parametrize(
    ("recording", "encoded"),
    [(wrist, lines), (finger, lines), (finger, frames), (other_finger, frames)],
)
def test_lossy_link_gives_nearly_the_labels_of_the_clean_one(
    recording: Callable[[], tuple[Values, Fraction]],
    encoded: Callable[[Values, Fraction], list[bytes]],
    tmp_path: Path,
) -> None:
    values, rate = recording()
    pieces = encoded(values, rate)
    rng = np.random.default_rng(1)
    lost = rng.random(len(pieces)) < 0.01
    name, noise = ("bytes.csv", b"\xf3(9,,x\n") if encoded is lines else ("bytes.ekd", b"\xf3(9,\x00\x07,x\x00")
    damaged = [
        (noise if i % 20 == 19 else b"") + (b"" if lost[i] and i > 0 else piece) for i, piece in enumerate(pieces)
    ]
    clean = predicted(pieces, tmp_path / name, rate)
    found = {round(each.time_s): each.labels for each in predicted(damaged, tmp_path / name, rate)}
    both = [(each.labels, found[round(each.time_s)]) for each in clean if round(each.time_s) in found]
    assert len(clean) > 100
    assert len(both) >= 0.95 * len(clean)
    assert sum(one == other for one, other in both) >= 0.99 * len(both)
