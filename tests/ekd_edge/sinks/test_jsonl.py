import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.errors import ModelFileError
from ekd_edge.prediction import Prediction
from ekd_edge.signal.quality import Quality
from ekd_edge.sinks.jsonl import JsonLinesSink, to_line

SHARES = st.floats(0, 1)
COUNTS = st.integers(0, 2**62)


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
    )


def as_an_object(prediction: Prediction) -> dict[str, object]:
    return {
        "first_index": prediction.first_index,
        "segment": prediction.segment,
        "time": round(prediction.time_s, 6),
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


def one(*chances: float) -> Prediction:
    return Prediction(256, 6.0, 0, {"arousal": chances}, {"arousal": "high"}, Quality(1.0), 2.1459)


def test_line_equals_a_known_example() -> None:
    stream = io.StringIO()
    JsonLinesSink(stream, flush_each=True).write(one(0.1898811, 0.8101189))
    assert stream.getvalue() == (
        '{"first_index": 256, "segment": 0, "time": 6.0, "targets": {"arousal": {"probabilities": '
        '[0.189881, 0.810119], "label": "high"}}, "quality": 1.0, "reason": null, "latency_ms": 2.146}\n'
    )


@pytest.mark.parametrize("chance", [math.nan, math.inf, -math.inf])
def test_non_finite_probabilities_are_refused(chance: float) -> None:
    with pytest.raises(ModelFileError, match=r"arousal.*not finite: export the model again"):
        to_line(one(0.5, chance))
