import io
from dataclasses import replace

from ekd_edge.sinks.plain_text import TextSink, plain_line
from tests.ekd_edge.sinks.conftest import BAD, GOOD, LABELS, block


def test_plain_line_names_each_target_and_why_it_is_withheld() -> None:
    assert plain_line(GOOD, LABELS) == "0:12:34  arousal high 75%  valence low 60%  signal 100%"
    assert plain_line(BAD, LABELS) == "0:12:34  arousal -  valence -  signal 0%  withheld: electrodes off or dry"


def test_plain_line_has_the_probability_of_its_own_label() -> None:
    kept = replace(GOOD, labels={"arousal": "low", "valence": "low"})
    assert plain_line(kept, LABELS) == "0:12:34  arousal low 25%  valence low 60%  signal 100%"


def test_plain_line_has_no_control_characters() -> None:
    named = replace(BAD, source="/dev/tty\x1b[2J\n")
    assert plain_line(named, LABELS).startswith("/dev/tty\\x1b[2J\\n  0:12:34  ")


def test_plain_line_states_synthetic_data() -> None:
    assert plain_line(GOOD, LABELS, synthetic=True).endswith(" [synthetic data]")


def test_text_lines_are_one_line_a_prediction() -> None:
    stream = io.StringIO()
    sink = TextSink(stream, LABELS)
    sink.observe(block(1))
    sink.write(GOOD)
    sink.write(BAD)
    sink.flush()
    sink.close()
    assert stream.getvalue().splitlines() == [plain_line(GOOD, LABELS), plain_line(BAD, LABELS)]


def test_text_line_is_written_to_a_stream_that_lacks_its_characters() -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, "ascii", "strict", newline="")
    sink = TextSink(stream, {"stress": ("no", "erhöht")})
    sink.write(replace(GOOD, probabilities={"stress": (0.25, 0.75)}, labels={"stress": "erhöht"}, source="é"))
    sink.close()
    assert buffer.getvalue() == b"?  0:12:34  stress erh?ht 75%  signal 100%\n"
