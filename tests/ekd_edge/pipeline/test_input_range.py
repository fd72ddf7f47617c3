"""Clipped samples of a sensor's windows, against a count over the whole stream."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ekd_edge.model.manifest import Manifest, Quantization, TensorQuantization
from ekd_edge.pipeline.input_range import InputRangeCounter
from ekd_edge.pipeline.stream import SensorPipeline, predict_blocks
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.design import gsr_spec
from ekd_edge.signal.preprocessor import WindowBatch
from ekd_edge.signal.spec import SignalSpec
from ekd_edge.signal.window import Windower

INPUT = TensorQuantization(0.03, -3)
SPEC = gsr_spec(rate_hz=Fraction(16), window_s=4, hop_s=1)
LOWEST, HIGHEST = 0.03 * -125, 0.03 * 130


def clipped(values: NDArray[np.float32], quantization: TensorQuantization) -> NDArray[np.bool_]:
    """Whether the int8 input clips each value: the steps are computed as `ekd_edge.model.interpreter` does."""
    steps = np.rint(values / np.float32(quantization.scale)) + np.float32(quantization.zero_point)
    return np.not_equal(np.clip(steps, -128, 127), steps)


def batches(
    values: NDArray[np.float32], spec: SignalSpec, sizes: list[int], origin_s: float = 0.0, segment: int = 0
) -> list[WindowBatch]:
    """The windows of a stream that arrives in blocks of these sizes, the rest in one block."""
    windower = Windower(spec.window_samples, spec.hop_samples, 0)
    found = []
    for piece in np.split(values, np.minimum(np.cumsum(sizes, dtype=int), len(values))):
        epochs = windower.push(piece)
        end_s = origin_s + (epochs.starts + spec.window_samples) / float(spec.rate_hz)
        found.append(WindowBatch(epochs.data, epochs.data, epochs.starts, end_s, segment))
    return found


def count(found: list[WindowBatch], spec: SignalSpec = SPEC) -> InputRangeCounter:
    counter = InputRangeCounter(INPUT, spec)
    for batch in found:
        counter.count(batch)
    return counter


@st.composite
def streams(draw: st.DrawFn) -> tuple[NDArray[np.float32], SignalSpec, list[int]]:
    rate = draw(st.sampled_from([Fraction(1), Fraction(1, 7), Fraction(39, 2)]))
    window, hop = draw(st.integers(1, 40)), draw(st.integers(1, 50))
    length = draw(st.integers(0, 9000))
    values = np.random.default_rng(draw(st.integers(0, 99))).normal(scale=2, size=length).astype(np.float32)
    sizes = draw(st.lists(st.integers(0, 2000), max_size=8))
    return values, replace(SPEC, rate_hz=rate, window_samples=window, hop_samples=hop), sizes


@settings(max_examples=60, deadline=None)
@given(streams())
def test_counts_are_those_of_each_sample_once(stream: tuple[NDArray[np.float32], SignalSpec, list[int]]) -> None:
    values, spec, sizes = stream
    window, hop = spec.window_samples, spec.hop_samples
    starts = range(0, len(values) - window + 1, hop)
    # The new samples of each window, by their index in the stream.
    fresh = [range(max(start, start - hop + window) if start else 0, start + window) for start in starts]
    counted = np.concatenate([values[part.start : part.stop] for part in fresh] or [values[:0]])
    began = np.cumsum([0, *map(len, fresh)])[:-1]
    minutes = [int(sample // (60 * spec.rate_hz)) for sample in began.tolist()]
    in_hour = [part for part, minute in zip(fresh, minutes, strict=True) if minute > minutes[-1] - 60]
    hour = np.concatenate([values[part.start : part.stop] for part in in_hour] or [values[:0]])

    found = count(batches(values, spec, sizes), spec).statistics()
    assert (found.samples, found.clipped) == (len(counted), np.count_nonzero(clipped(counted, INPUT)))
    assert (found.hour_samples, found.hour_clipped) == (len(hour), np.count_nonzero(clipped(hour, INPUT)))
    assert found.hour_seen == ((hour.min(), hour.max()) if len(hour) else None)


@settings(max_examples=200, deadline=None)
@given(st.floats(2**-10, 1, width=32), st.integers(-128, 127))
def test_limit_is_the_interpreters_to_the_last_bit(scale: float, zero: int) -> None:
    quantization = TensorQuantization(scale, zero)
    ends = np.array([(-128.5 - zero) * scale, (127.5 - zero) * scale], np.float32)
    values = np.concatenate([(ends.view(np.int32) + ulps).view(np.float32) for ulps in range(-4, 5)])
    counter = InputRangeCounter(quantization, replace(SPEC, window_samples=1, hop_samples=1))
    for number, value in enumerate(values):
        row = np.full((1, 1), value)
        before = counter.statistics().clipped
        counter.count(WindowBatch(row, row, np.zeros(1, np.int64), np.array([number / 16])))
        assert counter.statistics().clipped - before == clipped(value, quantization)


def test_window_after_a_gap_or_restart_is_counted_whole() -> None:
    values = np.zeros(SPEC.window_samples + 3 * SPEC.hop_samples, np.float32)
    once = len(values)
    after_gap = batches(values, SPEC, [], origin_s=60.0)
    restarted = batches(values, SPEC, [], segment=1)
    assert count(batches(values, SPEC, [])).statistics().samples == once
    assert count(batches(values, SPEC, []) + after_gap).statistics().samples == 2 * once
    assert count(batches(values, SPEC, []) + restarted).statistics().samples == 2 * once
    assert count(after_gap + batches(values, SPEC, [])).statistics().samples == 2 * once


def signal(minutes: int, permille: int) -> NDArray[np.float32]:
    """Zeros of this length, of which a share is outside the range, evenly."""
    values = np.zeros(minutes * 60 * 16, np.float32)
    values[np.arange(len(values)) * permille % 1000 < permille] = 9.0
    return values


@pytest.mark.parametrize(("minutes", "permille", "problem"), [(12, 40, False), (12, 120, True), (9, 500, False)])
def test_problem_needs_ten_minutes_and_five_percent(minutes: int, permille: int, problem: bool) -> None:
    found = count(batches(signal(minutes, permille), SPEC, [])).statistics()
    assert (found.problem is not None) == problem
    if problem:
        assert found.problem == (
            "12.0% of the last hour's input is outside the range that the model was calibrated on: check the "
            "electrodes and the unit, or train and calibrate on more people"
        )


def test_problem_ends_an_hour_after_the_last_clipped_sample() -> None:
    values = np.concatenate([signal(20, 500), signal(61, 0)])
    found = count(batches(values, SPEC, [20 * 60 * 16])).statistics()
    assert (found.hour_clipped, found.hour_seen, found.problem) == (0, (0.0, 0.0), None)
    assert found.clipped == 9600


def test_problem_is_notified_once_until_the_share_has_halved() -> None:
    messages: list[str] = []
    counter = InputRangeCounter(INPUT, SPEC, messages.append)
    notified = []
    for segment, (minutes, permille) in enumerate([(60, 52), (60, 48), (60, 52), (60, 0), (40, 100)]):
        for batch in batches(signal(minutes, permille), SPEC, [960] * minutes, segment=segment):
            counter.count(batch)
        notified.append(len(messages))
    assert notified == [1, 1, 1, 1, 2]


def test_json_has_rounded_ranges() -> None:
    found = count(batches(np.array([-4.00004, *[1.0] * 63], np.float32), SPEC, [])).statistics()
    assert found.to_json() == {
        "calibrated": [round(LOWEST, 4), round(HIGHEST, 4)],
        "samples": 64,
        "clipped": 1,
        "hour_samples": 64,
        "hour_clipped": 1,
        "hour_seen": [-4.0, 1.0],
        "problem": None,
    }
    assert count([]).statistics().to_json()["hour_seen"] is None


class Zeros:
    """A classifier whose logits are zeros."""

    def predict(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.zeros((len(values), 1, 2), np.float32)


def test_pipeline_counts_the_windows_that_it_classifies(gsr_manifest: Manifest) -> None:
    manifest = replace(gsr_manifest, targets=gsr_manifest.targets[:1], quantization=Quantization(INPUT, INPUT))
    pipeline = SensorPipeline(manifest)
    assert pipeline.input_range is not None
    jumps = np.where(np.arange(16 * 60) % 160 < 80, 2.0, 20.0)
    found = list(predict_blocks([SampleBlock(jumps, 0, Fraction(16))], pipeline, Zeros()))
    statistics = pipeline.input_range.statistics()
    assert statistics.samples == 64 + 16 * (len(found) - 1)
    assert statistics.hour_seen is not None
    assert statistics.hour_seen[1] > HIGHEST
    assert 0 < statistics.clipped < statistics.samples


def test_model_without_an_int8_input_has_no_counter(gsr_manifest: Manifest) -> None:
    assert SensorPipeline(gsr_manifest).input_range is None
