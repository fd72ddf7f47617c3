import io
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.quality import Quality
from ekd_edge.sinks.terminal import LiveLineSink, TextSink, WaitingLine, bar, clock, plain_line, sparkline

GOOD = Prediction(
    first_index=256,
    time_s=754.0,
    segment=0,
    probabilities={"arousal": (0.25, 0.75), "valence": (0.6, 0.4)},
    labels={"arousal": "high", "valence": "low"},
    quality=Quality(1.0),
    latency_ms=0.913,
)
BAD = replace(GOOD, labels={"arousal": None, "valence": None}, quality=Quality(0.0, "electrodes off or dry"))


class Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]


def block(seconds: float, first_s: float = 0.0, level: float = 4.83) -> SampleBlock:
    values = np.full(int(seconds * 16), level)
    return SampleBlock(values, int(first_s * 16), Fraction(16))


def shown(line: LiveLineSink, width: int = 200) -> str:
    return "".join(text for text, _ in line.line(width))


@given(st.floats(0, 1), st.integers(1, 40), st.booleans())
def test_bar_has_its_width_for_any_fraction(fraction: float, width: int, unicode: bool) -> None:
    assert len(bar(fraction, width, unicode)) == width


def test_bar_is_empty_at_zero_and_full_at_one() -> None:
    assert bar(0.0, 4) == "····"
    assert bar(1.0, 4) == "████"
    assert bar(0.5, 4, unicode=False) == "##.."


@given(st.lists(st.floats(0, 60), max_size=50))
def test_sparkline_has_one_character_a_value(values: list[float]) -> None:
    assert len(sparkline(values)) == len(values)


def test_sparkline_does_not_magnify_noise() -> None:
    assert len(set(sparkline([5.0, 5.001, 4.999]))) <= 2
    assert sparkline([1.0, 2.0]) == "▁█"


def test_clock_reads_hours_minutes_seconds() -> None:
    assert clock(754.9) == "0:12:34"
    assert clock(36 * 3600) == "36:00:00"


def test_plain_line_names_each_target_and_why_it_is_withheld() -> None:
    assert plain_line(GOOD) == "0:12:34  arousal high 75%  valence low 60%  signal 100%"
    assert plain_line(BAD) == "0:12:34  arousal -  valence -  signal 0%  withheld: electrodes off or dry"


def test_text_lines_are_one_line_a_prediction() -> None:
    stream = io.StringIO()
    sink = TextSink(stream)
    sink.observe(block(1))
    sink.write(GOOD)
    sink.write(BAD)
    sink.close()
    assert stream.getvalue().splitlines() == [plain_line(GOOD), plain_line(BAD)]


def test_live_line_counts_up_to_the_first_window_then_shows_it() -> None:
    line = LiveLineSink(Terminal(), needed_s=6.0, color=False)
    line.observe(block(2))
    assert "4.83 µS" in shown(line)
    assert "waiting for the first window: 2 of 6 s" in shown(line)
    line.observe(block(4, first_s=2))
    line.write(GOOD)
    for part in ("arousal", "high  75%", "valence", "low  60%", "signal 100%", "0:12:34", "0.9 ms"):
        assert part in shown(line)


def test_live_line_counts_again_after_a_gap() -> None:
    line = LiveLineSink(Terminal(), needed_s=6.0, color=False)
    line.observe(block(6))
    line.write(GOOD)
    line.observe(block(1, first_s=100))
    assert "waiting for a window after the gap: 1 of 6 s" in shown(line)


def test_live_line_shows_why_labels_are_withheld() -> None:
    line = LiveLineSink(Terminal(), needed_s=6.0, color=False)
    line.observe(block(6))
    line.write(BAD)
    assert "arousal -" in shown(line)
    assert "withheld: electrodes off or dry" in shown(line)


@given(st.integers(1, 250), st.sampled_from([GOOD, BAD, None]))
def test_live_line_never_exceeds_the_terminal(width: int, prediction: Prediction | None) -> None:
    line = LiveLineSink(Terminal(), needed_s=6.0, color=False)
    for second in range(0, 400, 4):
        line.observe(block(4, first_s=second, level=5 + second / 100))
    if prediction is not None:
        line.write(prediction)
    assert len(shown(line, width)) <= width


def test_live_line_shows_the_course_of_the_signal_where_there_is_room() -> None:
    line = LiveLineSink(Terminal(), needed_s=6.0, color=False)
    for second in range(0, 40, 4):
        line.observe(block(4, first_s=second, level=5 + second / 10))
    line.write(GOOD)
    assert "▁" in shown(line, 160)
    assert "▁" not in shown(line, 60)


def test_live_line_falls_back_to_ascii() -> None:
    class Old(io.StringIO):
        encoding = "ascii"  # type: ignore[assignment]

    stream = Old()
    line = LiveLineSink(stream, needed_s=6.0, color=True)
    line.observe(block(8))
    line.write(GOOD)
    line.close()
    stream.getvalue().encode("ascii")
    assert "uS" in stream.getvalue()


def test_live_line_redraws_in_place_and_ends_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    line = LiveLineSink(stream, needed_s=6.0, color=False)
    line.observe(block(6))
    line.write(GOOD)
    line.close()
    assert stream.getvalue().startswith("\r")
    assert stream.getvalue().endswith("\x1b[K\n")
    assert stream.getvalue().count("\n") == 1


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    line = LiveLineSink(stream, needed_s=6.0)
    line.observe(block(6))
    line.write(GOOD)
    assert "\x1b[1m" not in stream.getvalue()


def test_waiting_line_is_erased_at_the_first_prediction() -> None:
    stream = Terminal()
    waiting = WaitingLine(stream, needed_s=34.0)
    waiting.observe(block(12))
    assert "waiting for the first window: 12 of 34 s" in stream.getvalue()
    waiting.write(GOOD)
    assert stream.getvalue().endswith("\r\x1b[K")
    length = len(stream.getvalue())
    waiting.observe(block(1, first_s=12))
    waiting.write(GOOD)
    waiting.close()
    assert len(stream.getvalue()) == length
