import io
import json
import math
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.errors import ModelFileError
from ekd_edge.formatting import utc_text
from ekd_edge.prediction import Prediction
from ekd_edge.signal.quality import Quality
from ekd_edge.sinks.jsonl import VERSION, JsonLinesSink, to_line

SHARES = st.floats(0, 1)
COUNTS = st.integers(0, 2**62)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMES = st.floats(-6e10, 2.5e11)


@st.composite
def any_prediction(draw: st.DrawFn) -> Prediction:
    """Names and labels have any characters, as they come from a file."""
    names = draw(st.lists(st.text(), min_size=1, max_size=3, unique=True))
    return Prediction(
        first_index=draw(COUNTS),
        time_s=draw(st.floats(0, 1e9)),
        segment=draw(COUNTS),
        probabilities={name: tuple(draw(st.lists(SHARES, min_size=1, max_size=4))) for name in names},
        labels={name: draw(st.none() | st.text()) for name in names},
        quality=Quality(draw(SHARES), draw(st.none() | st.text())),
        latency_ms=draw(st.floats(0, 1e7)),
        source=draw(st.none() | st.text()),
        utc_s=draw(st.none() | TIMES),
    )


def whole_milliseconds(utc_s: float) -> str:
    time = EPOCH + timedelta(milliseconds=round(utc_s * 1000))
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_an_object(prediction: Prediction) -> dict[str, object]:
    port = {} if prediction.source is None else {"port": prediction.source}
    return {
        "version": 1,
        **port,
        "first_index": prediction.first_index,
        "segment": prediction.segment,
        "time": round(prediction.time_s, 6),
        "utc": None if prediction.utc_s is None else whole_milliseconds(prediction.utc_s),
        "targets": {
            name: {"probabilities": [round(p, 6) for p in chances], "label": prediction.labels[name]}
            for name, chances in prediction.probabilities.items()
        },
        "quality": round(prediction.quality.score, 3),
        "reason": prediction.quality.reason,
        "latency_ms": round(prediction.latency_ms, 3),
    }


@given(any_prediction())
def test_line_equals_the_output_of_json_dumps(prediction: Prediction) -> None:
    assert to_line(prediction) == json.dumps(as_an_object(prediction), allow_nan=False)


@given(any_prediction())
def test_line_is_one_line_of_ascii(prediction: Prediction) -> None:
    line = to_line(prediction)
    assert line.isascii()
    assert line.splitlines() == [line]


def one(*chances: float) -> Prediction:
    end_s = datetime(2026, 11, 30, 9, 15, 2, 250_000, tzinfo=UTC).timestamp()
    return Prediction(256, 6.0, 0, {"arousal": chances}, {"arousal": "high"}, Quality(1.0), 2.1459, None, end_s)


def test_line_equals_a_known_example() -> None:
    stream = io.StringIO()
    JsonLinesSink(stream).write(one(0.1898811, 0.8101189))
    assert stream.getvalue() == (
        '{"version": 1, "first_index": 256, "segment": 0, "time": 6.0, "utc": "2026-11-30T09:15:02.250Z", '
        '"targets": {"arousal": {"probabilities": '
        '[0.189881, 0.810119], "label": "high"}}, "quality": 1.0, "reason": null, "latency_ms": 2.146}\n'
    )


@pytest.mark.parametrize("chance", [math.nan, math.inf, -math.inf])
def test_non_finite_probabilities_are_refused(chance: float) -> None:
    with pytest.raises(ModelFileError, match=r"arousal.*not finite: export the model again"):
        to_line(one(0.5, chance))


def test_version_is_that_of_the_documented_keys() -> None:
    assert VERSION == 1
    assert json.loads(to_line(one(0.5)))["version"] == VERSION


@given(TIMES)
def test_utc_text_is_the_time_to_half_a_millisecond(utc_s: float) -> None:
    text = utc_text(utc_s)
    assert text is not None
    parsed = (datetime.fromisoformat(text) - EPOCH) / timedelta(seconds=1)
    assert abs(parsed - utc_s) <= 0.0005 + 1e-15 * abs(utc_s) + 1e-4 * (abs(utc_s) > 1e10)
    assert len(text) == len("2026-11-30T09:15:02.250Z")


def test_utc_text_does_not_depend_on_the_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        assert utc_text(0.0) == "1970-01-01T00:00:00.000Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_utc_text_carries_a_rounded_millisecond_into_the_next_year() -> None:
    assert utc_text(datetime(2027, 1, 1, tzinfo=UTC).timestamp() - 0.0004) == "2027-01-01T00:00:00.000Z"


@pytest.mark.parametrize("utc_s", [None, math.nan, math.inf, -math.inf, 1e300, -1e300, 253402300800.0])
def test_utc_text_is_none_for_times_without_a_date(utc_s: float | None) -> None:
    assert utc_text(utc_s) is None
