"""The view on a real pseudo-terminal, whose screen is a model that wraps lines, scrolls and changes its size."""

import io
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ekd_edge.prediction import Prediction
from ekd_edge.sinks.screen import same_terminal, terminal_size
from ekd_edge.sinks.terminal import REDRAW_S, LiveView, WaitingLine
from tests.ekd_edge.sinks.conftest import BAD, GOOD, LABELS, Clock, block
from tests.helpers.screen import Terminal, set_size

PORTS = [f"/dev/ttyUSB{number}" for number in range(5)]
SIZES = st.tuples(st.integers(20, 150), st.integers(8, 40))
FIXTURES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with Terminal(columns=100, lines=24) as made:
        made.stream.write("ekd-edge: reading a sensor\n")
        made.stream.flush()
        yield made


def view_of(terminal: Terminal, ports: list[str] | None = None, synthetic: bool = False) -> LiveView:
    return LiveView(terminal.stream, 6.0, LABELS, ports or [None], synthetic)


def feed(view: LiveView, ports: list[str] | None = None, prediction: Prediction | None = GOOD) -> None:
    """40 s of signal and a prediction for each sensor."""
    for port in ports or [None]:
        for second in range(0, 40, 4):
            view.observe(block(4, first_s=second, level=5 + second / 10), port)
        if prediction is not None:
            view.write(replace(prediction, source=port))
    view.flush()


def test_one_sensor_is_one_line_below_the_earlier_output(terminal: Terminal, time: Clock) -> None:
    view = view_of(terminal)
    view.observe(block(2))
    view.flush()
    assert terminal.show()[0] == "ekd-edge: reading a sensor"
    assert "waiting for the first window: 2 of 6 s" in terminal.show()[1]
    time.wait()
    view.observe(block(4, first_s=2))
    view.write(GOOD)
    view.flush()
    shown = terminal.show()
    assert len(shown) == 2
    assert "arousal ███████▌·· high  75%" in shown[1]
    view.close()
    terminal.stream.write("the end\n")
    terminal.stream.flush()
    assert terminal.show() == [*shown, "the end"]


def test_line_is_drawn_at_most_four_times_a_second_and_only_if_it_changed(terminal: Terminal, time: Clock) -> None:
    view = view_of(terminal)
    for number in range(100):
        view.observe(block(1 / 16, first_s=number / 16))
        view.flush()
    terminal.show()
    assert terminal.screen.styles < 10
    written = terminal.written
    feed(view)
    terminal.show()
    assert terminal.written > written
    written = terminal.written
    for _ in range(10):
        time.wait(0.3)
        view.write(GOOD)
        view.flush()
    terminal.show()
    assert terminal.written == written


def test_prediction_is_shown_although_the_samples_before_it_were_just_drawn(terminal: Terminal, time: Clock) -> None:
    view = view_of(terminal)
    view.observe(block(40))
    view.flush()
    view.write(GOOD)
    view.flush()
    assert "high  75%" in terminal.show()[1]
    time.wait(REDRAW_S / 2)
    view.write(replace(GOOD, time_s=755.0))
    view.flush()
    assert "0:12:34" in terminal.show()[1]
    time.wait(REDRAW_S)
    view.observe(block(1, first_s=40))
    view.flush()
    assert "0:12:35" in terminal.show()[1]


@FIXTURES
@given(sizes=st.lists(SIZES, max_size=6))
def test_line_leaves_nothing_behind_when_the_terminal_is_resized(sizes: list[tuple[int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch, Terminal(120, 24) as terminal:
        time = Clock()
        patch.setattr("ekd_edge.sinks.terminal.monotonic", time)
        terminal.stream.write("ekd-edge: reading a sensor\n")
        view = view_of(terminal)
        feed(view)
        terminal.show()
        for number, size in enumerate(sizes):
            terminal.resize(*size)
            time.wait()
            view.write(replace(GOOD, time_s=800.0 + number))
            view.flush()
            terminal.show()
            banner, line = terminal.screen.everything
            assert banner == "ekd-edge: reading a sensor"
            assert line.startswith("  8.60 µS")
            assert len(line) < size[0]


@pytest.mark.parametrize("columns", [99, 60, 40, 25])
def test_line_leaves_nothing_behind_on_a_terminal_that_cuts_its_lines(time: Clock, columns: int) -> None:
    with Terminal(100, 24, reflow=False) as terminal:
        view = view_of(terminal)
        feed(view)
        terminal.show()
        terminal.resize(columns, 24)
        time.wait()
        feed(view)
        assert len(terminal.show()) == 1


def test_message_is_printed_above_the_line(terminal: Terminal, time: Clock) -> None:
    view = view_of(terminal)
    view.interrupt("ekd-edge: before the first line")
    feed(view)
    line = terminal.show()[-1]
    view.interrupt("ekd-edge: /dev/ttyUSB0 was unplugged" + "; waiting for it" * 10)
    view.interrupt("ekd-edge: an\x1b[2Jother")
    terminal.show()
    assert terminal.screen.everything == [
        "ekd-edge: reading a sensor",
        "ekd-edge: before the first line",
        "ekd-edge: /dev/ttyUSB0 was unplugged" + "; waiting for it" * 10,
        "ekd-edge: an\\x1b[2Jother",
        line,
    ]


def test_message_replaces_a_line_that_the_terminal_has_wrapped(terminal: Terminal, time: Clock) -> None:
    view = view_of(terminal)
    feed(view)
    terminal.show()
    terminal.resize(30, 24)
    view.interrupt("ekd-edge: a message")
    assert terminal.show() == ["ekd-edge: reading a sensor", "ekd-edge: a message"]
    time.wait()
    feed(view)
    assert len(terminal.show()) == 3


def test_several_sensors_are_a_table_on_the_other_screen(terminal: Terminal, time: Clock) -> None:
    view = view_of(terminal, PORTS)
    feed(view, PORTS)
    shown = terminal.show()
    assert [row.split()[0] for row in shown] == PORTS
    view.close()
    assert terminal.show() == ["ekd-edge: reading a sensor", *shown]


@FIXTURES
@given(sizes=st.lists(st.tuples(st.integers(1, 150), st.integers(1, 30)), max_size=6), messages=st.integers(0, 4))
def test_table_leaves_nothing_behind_when_the_terminal_is_resized(sizes: list[tuple[int, int]], messages: int) -> None:
    with pytest.MonkeyPatch.context() as patch, Terminal(150, 24) as terminal:
        time = Clock()
        patch.setattr("ekd_edge.sinks.terminal.monotonic", time)
        view = view_of(terminal, PORTS)
        feed(view, PORTS)
        terminal.show()
        for number in range(messages):
            view.interrupt(f"ekd-edge: message {number} of some length, about a sensor that was unplugged")
            terminal.show()
        for number, size in enumerate(sizes):
            terminal.resize(*size)
            time.wait()
            view.write(replace(BAD, source=PORTS[number % 5], time_s=800.0 + number))
            view.flush()
            shown = terminal.show()
            with Terminal(*size) as fresh:
                other = view_of(fresh, PORTS)
                other._sensors, other._messages = view._sensors, view._messages
                other.flush()
                assert shown == fresh.show()


def test_messages_are_shown_below_the_table_and_stay_after_the_end(terminal: Terminal, time: Clock) -> None:
    view = view_of(terminal, PORTS, synthetic=True)
    feed(view, PORTS)
    view.interrupt("ekd-edge: /dev/ttyUSB0 was unplugged")
    shown = terminal.show()
    assert shown[-3:] == ["[synthetic data]", "", "ekd-edge: /dev/ttyUSB0 was unplugged"]
    terminal.resize(100, 6)
    time.wait()
    feed(view, PORTS)
    shown = terminal.show()
    assert [row[:12] for row in shown] == [*PORTS[:3], "2 more [synt", "", "ekd-edge: /d"]
    view.close()
    assert terminal.show()[-1] == "[synthetic data]"
    assert terminal.screen.everything[:2] == ["ekd-edge: reading a sensor", "ekd-edge: /dev/ttyUSB0 was unplugged"]


@pytest.mark.parametrize("ports", [None, PORTS])
def test_message_after_the_end_is_an_ordinary_line(terminal: Terminal, time: Clock, ports: list[str] | None) -> None:
    view = view_of(terminal, ports)
    feed(view, ports)
    view.close()
    kept = terminal.show()
    view.interrupt("ekd-edge: the last message")
    time.wait()
    feed(view, ports)
    view.close()
    assert terminal.show() == [*kept, "ekd-edge: the last message"]


def test_view_without_samples_prints_only_its_messages(terminal: Terminal, time: Clock) -> None:
    view = view_of(terminal, PORTS)
    view.close()
    assert terminal.show() == ["ekd-edge: reading a sensor"]
    view = view_of(terminal)
    view.close()
    assert terminal.show() == ["ekd-edge: reading a sensor"]


def test_view_without_color_writes_no_styles(terminal: Terminal, time: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    view = view_of(terminal, PORTS)
    feed(view, PORTS)
    terminal.show()
    assert terminal.screen.styles == 0


def test_view_falls_back_to_ascii(time: Clock) -> None:
    with Terminal(120, 24, encoding="ascii") as terminal:
        view = view_of(terminal, PORTS)
        feed(view, PORTS)
        shown = terminal.show()
        assert "8.60 uS" in shown[0]
        assert "########.. high  75%" in shown[0]
        view.close()


def test_waiting_line_is_erased_at_the_first_prediction(terminal: Terminal, time: Clock) -> None:
    waiting = WaitingLine(terminal.stream, needed_s=34.0)
    waiting.observe(block(12))
    waiting.flush()
    assert terminal.show()[1:] == ["waiting for the first window: 12 of 34 s"]
    terminal.resize(20, 24)
    waiting.interrupt("ekd-edge: a message")
    waiting.write(GOOD)
    waiting.flush()
    waiting.interrupt("ekd-edge: another")
    waiting.close()
    terminal.show()
    assert terminal.screen.everything[1:] == ["ekd-edge: a message", "ekd-edge: another"]


def test_terminal_size_is_that_of_the_stream(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "33")
    monkeypatch.setenv("LINES", "11")
    assert terminal_size(terminal.stream) == (100, 24)
    set_size(terminal.slave, 0, 0)
    assert terminal_size(terminal.stream) == (33, 11)
    assert terminal_size(io.StringIO()) == (33, 11)


def test_same_terminal_is_known_by_its_name(terminal: Terminal) -> None:
    assert same_terminal(terminal.stream, terminal.stream)
    assert not same_terminal(terminal.stream, io.StringIO())
    with Terminal() as other:
        assert not same_terminal(terminal.stream, other.stream)
