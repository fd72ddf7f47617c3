"""Readings outside the unit's range: gaps and a problem of a running sensor, a refusal before the first sample."""

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.errors import SignalError
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sources.readings import ReadingConverter
from ekd_edge.sources.stated import SensorOptions
from firmware_bridge.devices.stream import RawBlock
from firmware_bridge.units import Unit

HZ = Fraction(128)
OHM = SensorOptions(unit=Unit("ohm"))
ON, OPEN = 200_000.0, -5.0
OPEN_PROBLEM = (
    "many readings of /dev/x are no conductance: a resistance of -5 ohm has no conductance: "
    "check the unit and the electrodes"
)


def converted(
    readings: Iterable[float], options: SensorOptions = OHM, size: int = 16, live: bool = True
) -> tuple[list[SampleBlock], list[tuple[int, str]], ReadingConverter]:
    """The blocks, the messages with the number of readings before them, and the converter."""
    values = np.array(list(readings))
    converter = ReadingConverter(options, "/dev/x", "--port", live)
    blocks: list[SampleBlock] = []
    messages: list[tuple[int, str]] = []
    for first in range(0, len(values), size):

        def notify(message: str, at: int = first) -> None:
            messages.append((at, message))

        blocks += converter([RawBlock(values[first : first + size], first, HZ, 0)], notify)
    return blocks, messages, converter


def places(blocks: Iterable[SampleBlock]) -> dict[int, float]:
    return {block.first_index + i: value for block in blocks for i, value in enumerate(block.values.tolist())}


def test_open_electrodes_of_a_running_sensor_are_gaps_with_a_problem() -> None:
    blocks, messages, converter = converted([ON] * 640 + [OPEN] * 1280 + [ON] * 2560)
    assert places(blocks) == {i: 5.0 for i in range(640 + 1280 + 2560) if not 640 <= i < 1920}
    assert [message for _, message in messages] == [OPEN_PROBLEM, "the readings of /dev/x are a conductance again"]
    began, ended = (at for at, _ in messages)
    assert 640 <= began < 640 + 128
    assert 1920 <= ended < 1920 + 10 * 128
    assert converter.problem is None
    assert converter.out_of_range == 1280


def test_problem_lasts_while_the_electrodes_are_open() -> None:
    _, _, converter = converted([ON] * 640 + [OPEN] * 12800)
    assert converter.problem == OPEN_PROBLEM


@pytest.mark.parametrize("readings", [[OPEN] * 400, [float("inf")] * 400])
def test_readings_that_never_fit_the_unit_are_refused(readings: list[float]) -> None:
    with pytest.raises(SignalError, match=r"check the unit|missing values"):
        converted(readings)


def test_single_invalid_readings_are_gaps_without_a_problem() -> None:
    readings = [OPEN if i % 300 == 299 else ON for i in range(6000)]
    blocks, messages, converter = converted(readings)
    assert len(places(blocks)) == 5980
    assert messages == []
    assert converter.problem is None


def test_file_with_many_invalid_readings_is_refused() -> None:
    with pytest.raises(SignalError, match="check the unit and the electrodes"):
        converted([ON] * 640 + [OPEN] * 1280, live=False)


@given(st.lists(st.one_of(st.sampled_from([ON, OPEN]), st.floats()), min_size=1, max_size=400), st.integers(1, 64))
def test_any_readings_give_finite_samples_at_their_place(readings: list[float], size: int) -> None:
    blocks, _, _ = converted([ON, *readings], size=size)
    found = places(blocks)
    assert set(found) == {i for i, value in enumerate([ON, *readings]) if 1 <= value < float("inf")}
    assert all(0 < value <= 1e6 for value in found.values())
