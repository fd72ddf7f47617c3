"""One line and the table at any size."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sinks.layout import one_line, table
from ekd_edge.sinks.pieces import Look, Piece, width_of
from ekd_edge.sinks.sensor_view import Progress, SensorView
from firmware_bridge.printable import printable
from tests.ekd_edge.sinks.conftest import BAD, GOOD, LABELS, block

LOOK = Look(unicode=True, color=False, encoding="utf-8")
MARK = " [synthetic data]"
ANY = st.sampled_from([GOOD, BAD, None])


def text(pieces: list[Piece]) -> str:
    return "".join(text for text, _ in pieces)


def sensor(prediction: Prediction | None = GOOD, name: str = "", seconds: int = 40) -> SensorView:
    made = SensorView(name, Progress(6.0), LABELS, 0.0)
    for second in range(0, seconds, 4):
        made.observe(block(4, first_s=second, level=5 + second / 10), 0.0)
    made.last = prediction
    return made


def line(made: SensorView, width: int = 200, now_s: float = 1.0, mark: str = "") -> str:
    return text(one_line(made, width, LOOK, mark, now_s))


def rows(
    sensors: list[SensorView], width: int = 120, height: int = 20, mark: str = "", now_s: float = 1.0
) -> list[str]:
    return [text(each) for each in table(sensors, (width, height), LOOK, mark, now_s)]


def test_line_counts_up_to_the_first_window_then_shows_it() -> None:
    made = SensorView("", Progress(6.0), LABELS, 0.0)
    made.observe(block(2), 0.0)
    assert "4.83 µS" in line(made)
    assert "waiting for the first window: 2 of 6 s" in line(made)
    made.observe(block(4, first_s=2), 0.0)
    made.last = GOOD
    for part in ("arousal", "high  75%", "valence", "low  60%", "signal 100%", "0:12:34", "0.9 ms"):
        assert part in line(made)


def test_line_counts_again_after_a_gap() -> None:
    made = sensor()
    made.observe(block(1, first_s=100), 0.0)
    assert "waiting for a window after the gap: 1 of 6 s" in line(made)


def test_interpolated_gap_interrupts_nothing() -> None:
    made = SensorView("", Progress(6.0, bridge_s=0.5), LABELS, 0.0)
    made.observe(SampleBlock(np.ones(32), 0, Fraction(16)), 0.0)
    made.observe(SampleBlock(np.ones(32), 40, Fraction(16)), 0.0)
    assert "waiting for the first window: 4 of 6 s" in line(made)
    made.observe(SampleBlock(np.ones(32), 81, Fraction(16)), 0.0)
    assert "waiting for a window after the gap: 2 of 6 s" in line(made)


def test_line_shows_why_labels_are_withheld() -> None:
    assert "arousal -" in line(sensor(BAD))
    assert "withheld: electrodes off or dry" in line(sensor(BAD))


def test_line_shows_the_probability_of_the_label_in_the_bar_too() -> None:
    kept = replace(GOOD, labels={"arousal": "low", "valence": "low"})
    assert "arousal ██▌······· low  25%" in line(sensor(kept))
    assert "arousal ███████▌·· high  75%" in line(sensor(GOOD))


def test_line_states_that_samples_stopped() -> None:
    assert "no samples for 12 s" in line(sensor(), now_s=12.0)


@given(st.integers(20, 250), ANY, st.sampled_from(["", MARK]))
def test_line_never_exceeds_its_width(width: int, prediction: Prediction | None, mark: str) -> None:
    shown = line(sensor(prediction), width, mark=mark)
    assert len(shown) <= width
    assert shown.endswith(mark)


def test_line_shows_the_course_of_the_signal_where_there_is_room() -> None:
    assert "▁" in line(sensor(), 160)
    assert "▁" not in line(sensor(), 60)


def test_table_has_one_line_for_each_sensor_with_its_name_first() -> None:
    found = rows([sensor(name="/dev/ttyUSB0"), sensor(BAD, "sim://?seed=2"), sensor(None, "c", seconds=4)], 150)
    assert [row.split()[0] for row in found] == ["/dev/ttyUSB0", "sim://?seed=2", "c"]
    assert "arousal ███████▌·· high  75%" in found[0]
    assert "signal 100%" in found[0]
    assert "withheld: electrodes off or dry" in found[1]
    assert "waiting for the first window: 4 of 6 s" in found[2]


def test_table_aligns_its_columns() -> None:
    found = rows([sensor(name="a"), sensor(name="longer name"), sensor(name="b")], 150)
    for part in (" µS", "arousal", "valence", "signal", "0:12:34", "▁"):
        assert len({row.index(part) for row in found}) == 1


def test_table_leaves_out_the_curve_then_the_time_then_the_bars() -> None:
    sensors = [sensor(name="/dev/ttyUSB0"), sensor(name="/dev/ttyUSB1")]
    full, no_curve, no_time, no_bars = (rows(sensors, width)[0] for width in (150, 104, 92, 76))
    assert "▁" in full
    assert "▁" not in no_curve
    assert "0:12:34" in no_curve
    assert "0:12:34" not in no_time
    assert "█" in no_time
    assert "█" not in no_bars
    assert "high  75%" in no_bars


def test_table_with_too_few_lines_shows_problems_first_and_counts_the_rest() -> None:
    sensors = [sensor(BAD if number in (7, 9) else GOOD, f"port{number}") for number in range(12)]
    found = rows(sensors, height=5)
    assert [row.split()[0] for row in found[:-1]] == ["port7", "port9", "port0", "port1"]
    assert found[-1] == "8 more"
    assert rows(sensors, height=2)[-1] == "11 more, 1 of them with a problem"
    assert rows(sensors, height=1) == ["12 more, 2 of them with a problem"]


@pytest.mark.parametrize("height", [1, 3, 4, 20])
def test_table_states_synthetic_data_in_its_last_line(height: int) -> None:
    assert rows([sensor(name=name) for name in "abc"], height=height, mark=MARK)[-1].endswith("[synthetic data]")


def test_silent_sensor_and_sensor_after_a_gap_are_problems() -> None:
    assert not sensor().problem(1.0)
    assert sensor().problem(6.0)
    gap = sensor()
    gap.observe(block(1, first_s=100), 0.0)
    assert gap.problem(1.0)
    assert not sensor(None, seconds=4).problem(1.0)


@given(
    st.lists(st.tuples(ANY, st.text(max_size=40)), min_size=1, max_size=6),
    st.integers(1, 200),
    st.integers(1, 8),
    st.sampled_from(["", MARK]),
    st.floats(0, 20),
)
def test_table_never_exceeds_its_size(
    made: list[tuple[Prediction | None, str]], width: int, height: int, mark: str, now_s: float
) -> None:
    found = table([sensor(prediction, name) for prediction, name in made], (width, height), LOOK, mark, now_s)
    assert len(found) <= height
    assert all(width_of(each) <= width for each in found)
    assert all(printable(text(each)) == text(each) for each in found)
