import io
import json
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ekd_edge.errors import SignalError
from ekd_edge.model.file import load_model_file
from ekd_edge.model.interpreter import open_classifier
from ekd_edge.model.manifest import Manifest, Target, Training
from ekd_edge.pipeline.model_checks import restart_warning
from ekd_edge.pipeline.stream import SensorPipeline, predict_stream
from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.design import gsr_spec
from ekd_edge.signal.preprocessor import Preprocessor, WindowBatch
from ekd_edge.signal.spec import Normalization
from ekd_edge.sinks.jsonl import JsonLinesSink

RATE = Fraction(39, 2)
SIGNAL = 5.0 + np.cumsum(np.random.default_rng(3).normal(scale=0.02, size=1200))
THREE = ("low", "middle", "high")
MANIFEST = Manifest(
    kind="float32",
    signal=gsr_spec(rate_hz=Fraction(16), window_s=4, hop_s=1),
    targets=(Target("arousal", THREE), Target("valence", THREE)),
    training=Training("synthetic", "synthetic-test", True, (), (), ()),
    recipe="float32",
    student="paper",
)


class Linear:
    """A classifier in numpy: three labels a target."""

    def __init__(self, manifest: Manifest) -> None:
        shape = (manifest.signal.window_samples, len(manifest.targets), manifest.n_classes)
        self._weights = np.random.default_rng(5).normal(size=shape).astype(np.float32)
        self.batches: list[int] = []

    def predict(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        self.batches.append(len(values))
        # einsum over one row at a time: BLAS may sum in another order for another number of rows.
        return np.stack([np.einsum("i,ijk->jk", row, self._weights) for row in values])


def cut(values: NDArray[np.float64], sizes: list[int]) -> list[SampleBlock]:
    blocks, at = [], 0
    for size in sizes:
        blocks.append(SampleBlock(values[at : at + size], at, RATE))
        at += size
    return [*blocks, SampleBlock(values[at:], at, RATE)]


def predict(blocks: list[SampleBlock]) -> list[Prediction]:
    found = predict_stream(blocks, MANIFEST, Linear(MANIFEST))
    return [replace(prediction, latency_ms=0.0) for prediction in found]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=8))
def test_predictions_do_not_depend_on_block_sizes(sizes: list[int]) -> None:
    assert predict(cut(SIGNAL, sizes)) == predict(cut(SIGNAL, []))


def test_probabilities_are_those_of_the_logits_in_the_order_of_the_labels() -> None:
    [block] = cut(SIGNAL, [])
    batch = Preprocessor(MANIFEST.signal).push_batch(block)
    logits = Linear(MANIFEST).predict(batch.values).astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    predictions = predict([block])
    assert len(predictions) == len(batch) > 40
    for prediction, window, rows in zip(predictions, batch, expected, strict=True):
        assert (prediction.first_index, prediction.time_s) == (window.first_index, window.end_s)
        for target, row in zip(MANIFEST.targets, rows, strict=True):
            assert prediction.probabilities[target.name] == pytest.approx(tuple(row), abs=1e-12)
            assert prediction.labels[target.name] == target.labels[int(row.argmax())]


def test_pending_windows_share_an_inference_call() -> None:
    classifier = Linear(MANIFEST)
    found = list(predict_stream(cut(SIGNAL, [600]), MANIFEST, classifier))
    assert len(classifier.batches) == 2
    assert sum(classifier.batches) == len(found)


def test_first_window_comes_after_settle_time_and_one_window() -> None:
    first = predict(cut(SIGNAL, [1] * 400))[0]
    assert first.time_s == MANIFEST.signal.settle_s + MANIFEST.signal.window_s
    assert first.first_index == int(MANIFEST.signal.settle_s * RATE)


def test_label_is_withheld_where_the_signal_is_bad() -> None:
    loose = SIGNAL.copy()
    loose[600:] = 0.0
    found = predict(cut(loose, []))
    assert found[0].labels["arousal"] is not None
    assert not found[0].withheld
    assert found[-1].withheld
    assert found[-1].labels == {"arousal": None, "valence": None}
    assert sum(found[-1].probabilities["arousal"]) == pytest.approx(1.0)
    assert found[-1].quality.reason is not None


def test_windows_do_not_span_a_gap_and_time_continues() -> None:
    before, after = cut(SIGNAL, [600])
    found = predict([before, replace(after, first_index=10_600)])
    jump = [i for i, (a, b) in enumerate(pairwise(found)) if b.time_s - a.time_s > 1.5]
    assert len(jump) == 1
    assert found[jump[0]].time_s <= 600 / RATE
    assert found[jump[0] + 1].first_index >= 10_600


def lossy(lost: list[tuple[int, int]]) -> list[SampleBlock]:
    """SIGNAL without the samples from start up to stop of each pair, which are in order."""
    edges = [0, *(edge for pair in lost for edge in pair), len(SIGNAL)]
    return [SampleBlock(SIGNAL[a:b], a, RATE) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def test_windows_span_a_short_gap_with_a_lower_score() -> None:
    found, clean = predict(lossy([(500, 502), (800, 801)])), predict(cut(SIGNAL, []))
    assert [prediction.time_s for prediction in found] == [prediction.time_s for prediction in clean]
    assert not any(prediction.withheld for prediction in found)
    reduced = [prediction for prediction in found if prediction.quality.score < 1]
    assert len(reduced) == 8
    assert reduced[0].quality.score == 1 - 2 / 78
    assert reduced[0].quality.reason is not None
    assert reduced[0].quality.reason.startswith("samples were lost: up to 2.6 % of the window")


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 1199), min_size=2, max_size=12, unique=True).map(sorted),
    st.lists(st.integers(1, 90), min_size=1, max_size=20),
)
def test_predictions_over_gaps_do_not_depend_on_block_sizes(edges: list[int], sizes: list[int]) -> None:
    blocks = lossy(list(zip(edges[::2], edges[1::2], strict=False)))
    pieces = []
    for block in blocks:
        starts = [0, *(start for start in np.cumsum(sizes).tolist() if start < len(block.values)), len(block.values)]
        pieces += [
            replace(block, values=block.values[a:b], first_index=block.first_index + a) for a, b in pairwise(starts)
        ]
    assert predict(pieces) == predict(blocks)


def test_short_gap_needs_no_further_call_of_the_preprocessor(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    push_batch = Preprocessor.push_batch

    def counted(self: Preprocessor, block: SampleBlock) -> WindowBatch:
        calls.append(block.values.shape[-1])
        return push_batch(self, block)

    monkeypatch.setattr(Preprocessor, "push_batch", counted)
    found = []
    for kept in (range(1200), [i for i in range(1200) if i % 40 != 20]):
        calls.clear()
        pipeline = SensorPipeline(MANIFEST)
        pushed = [list(pipeline.push(SampleBlock(SIGNAL[i : i + 1], i, RATE), 0.0)) for i in kept]
        ends = [pending.batch.end_s.tolist() for pending_windows in pushed for pending in pending_windows]
        assert sum(calls) > 1150
        found.append((len(calls), ends))
    assert found[0] == found[1]


def test_model_for_another_signal_is_refused() -> None:
    volts = replace(MANIFEST, signal=replace(MANIFEST.signal, unit="uV"))
    with pytest.raises(SignalError, match="made for a signal in uV"):
        next(predict_stream([], volts, Linear(volts)))


def test_nan_ends_the_run_after_the_predictions_before_it() -> None:
    good, bad = cut(SIGNAL, [600])
    values = bad.values.copy()
    values[3] = np.nan
    blocks = [good, replace(bad, values=values)]
    found = predict_stream(blocks, MANIFEST, Linear(MANIFEST))
    before = len(predict([good]))
    assert before > 20
    assert all(isinstance(next(found), Prediction) for _ in range(before))
    with pytest.raises(SignalError, match="603"):
        next(found)


def test_real_classifier_gives_the_same_in_any_batch(model_path: Path) -> None:
    model_file = load_model_file(model_path)

    def lines(sizes: list[int]) -> str:
        stream = io.StringIO()
        sink = JsonLinesSink(stream)
        classifier = open_classifier(model_file)
        for found in predict_stream(cut(SIGNAL, sizes), model_file.manifest, classifier):
            sink.write(replace(found, latency_ms=0.0))
        return stream.getvalue()

    whole = lines([])
    assert whole == lines([7] * 150)
    first = json.loads(whole.splitlines()[0])
    keys = ["version", "first_index", "segment", "time", "utc", "targets", "quality", "reason", "latency_ms"]
    assert list(first) == keys
    assert list(first["targets"]) == ["arousal", "valence"]
    assert sum(first["targets"]["arousal"]["probabilities"]) == pytest.approx(1.0, abs=2e-6)


def test_restart_warning_is_for_models_whose_mean_restarted_in_training() -> None:
    restarted = replace(MANIFEST, training=replace(MANIFEST.training, normalization_state="restarted"))
    warning = restart_warning(restarted, "student.tflite")
    assert warning is not None
    assert warning.startswith("student.tflite was trained on trials that each restart the running mean")
    assert restart_warning(MANIFEST) is None
    stateless = replace(MANIFEST.signal, normalization=Normalization("window"))
    assert restart_warning(replace(restarted, signal=stateless)) is None
