from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from ekd_edge.errors import DataError, ExportError
from ekd_export.convert.fold import InferenceStudent
from ekd_export.convert.tflite import convert, student_logits
from ekd_export.quantization.audit import audit
from ekd_export.quantization.interpret import Graph
from ekd_export.quantization.quantize import calibration_windows, fingerprint, quantize
from ekd_export.quantization.recipes import RECIPES


def test_few_windows_are_all_taken_in_their_order(windows) -> None:
    np.testing.assert_array_equal(calibration_windows(windows, seed=0), windows.gsr)


def test_draw_is_even_over_subjects_and_classes(windows) -> None:
    marked = replace(windows, gsr=np.arange(len(windows), dtype=np.float32)[:, None] + np.array([[0.0, 0.5]], "f4"))
    picked = calibration_windows(marked, seed=3, count=48)[:, 0].astype(int)
    groups = Counter(zip(windows.subject[picked], map(tuple, windows.labels[picked].tolist()), strict=True))
    present = set(zip(windows.subject, map(tuple, windows.labels.tolist()), strict=True))
    assert groups.keys() == present
    assert max(groups.values()) - min(groups.values()) <= 1
    assert len(set(picked)) == 48


def test_draw_depends_only_on_the_seed(windows) -> None:
    one, again, other = (calibration_windows(windows, seed, 20) for seed in (1, 1, 2))
    assert fingerprint(one) == fingerprint(again) != fingerprint(other)


def test_fingerprint_is_a_hash_of_the_bytes() -> None:
    zeros = np.zeros((1, 4), np.float32)
    assert fingerprint(zeros) == "374708fff7719dd5979ec875d56cd2286f6d3cf7ec317a3b25632aab28ec37bb"


def test_windows_that_cannot_calibrate_are_refused(windows) -> None:
    with pytest.raises(DataError, match="no calibration window"):
        calibration_windows(windows.select([]), seed=0)
    with pytest.raises(DataError, match="constant"):
        calibration_windows(replace(windows, gsr=np.ones_like(windows.gsr)), seed=0)
    with pytest.raises(DataError, match="NaN or infinite values"):
        calibration_windows(replace(windows, gsr=np.full_like(windows.gsr, np.nan)), seed=0)
    with pytest.raises(DataError, match="same arousal"):
        calibration_windows(windows.select(windows.labels[:, 0] == 1), seed=0)


def test_windows_of_one_subject_cannot_calibrate(windows) -> None:
    with pytest.raises(DataError, match="one subject, s001: calibration needs two or more"):
        calibration_windows(windows.select(windows.subject == "s001"), seed=0)


def test_values_that_cannot_calibrate_are_refused(exports, windows) -> None:
    static = RECIPES["static"]
    for values, complaint in (
        (windows.gsr[:0], "no calibration window"),
        (np.where(np.arange(windows.gsr.shape[1]) == 9, np.float32(np.inf), windows.gsr), "NaN or infinite values"),
        (np.full_like(windows.gsr[:4], 0.5), "constant"),
    ):
        with pytest.raises(DataError, match=complaint):
            quantize(exports.float32.flatbuffer, static, values)


def test_invalid_model_cannot_be_quantized(windows) -> None:
    for name in ("static", "dynamic", "float16"):
        with pytest.raises(ExportError, match=r"cannot quantize|refuses this model"):
            quantize(b"\x1c\0\0\0TFL3" + bytes(64), RECIPES[name], windows.gsr[:2])


@pytest.fixture(scope="module")
def integer(run, windows) -> bytes:
    """The float flatbuffer of the run's student, in the form that quantizes."""
    return convert(InferenceStudent(run.student(), integer=True), windows.gsr.shape[1])


@pytest.fixture(scope="module")
def made(integer, windows) -> dict[str, bytes]:
    return {name: quantize(integer, recipe, windows.gsr[:48]) for name, recipe in RECIPES.items()}


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_gives_its_kind_and_runs(made, run, windows, name) -> None:
    audit(made[name], RECIPES[name].kind)
    expected = student_logits(run.student(), windows.gsr[:20])
    graph, rows = Graph(made[name]), []
    for window in windows.gsr[:20]:
        graph.run(window)
        rows.append(graph.values(graph.operations[-1].outputs[0]).reshape(expected.shape[1:]))
    error = np.abs(np.stack(rows) - expected).max() / np.abs(expected).max()
    # the approximation of softsign by tanhs contributes 3e-3
    assert error < (0.25 if RECIPES[name].kind in ("int8", "dynamic") else 0.02)


def test_less_precise_weights_take_less_room(made) -> None:
    size = {name: len(flatbuffer) for name, flatbuffer in made.items()}
    weights = sum(values.nbytes for values in _weights(made["float32"]))
    assert size["float32"] - size["float16"] == pytest.approx(weights / 2, rel=0.2)
    assert max(size["dynamic"], size["static"]) < size["float16"] < size["float32"]
    assert size["static-per-tensor"] < size["static"]


def test_float32_recipe_keeps_the_converted_model(made, integer) -> None:
    assert made["float32"] == integer


def test_scales_are_per_channel_or_per_tensor(made) -> None:
    channels = [len(graph.scales(index)) for graph, index in _weights_of(made["static"])]
    tensors = [len(graph.scales(index)) for graph, index in _weights_of(made["static-per-tensor"])]
    shapes = [values.shape for values in _weights(made["static"])]
    assert len(channels) == len(tensors) > 10
    assert channels == [shape[-1] if len(shape) == 4 else shape[0] for shape in shapes]
    assert set(tensors) == {1}


def test_percentile_narrows_a_range_widened_by_an_outlying_window(integer, windows) -> None:
    planted = windows.gsr[:64].copy()
    planted[7] *= 30
    close = replace(RECIPES["static-percentile"], percentile=95.0)
    widened, cut, usual = (
        Graph(quantize(integer, recipe, values))
        for recipe, values in ((RECIPES["static-min-max"], planted), (close, planted), (close, windows.gsr[:64]))
    )
    wide, narrow, plain = (graph.scales(graph.input)[0] for graph in (widened, cut, usual))
    assert wide > 5 * narrow
    assert narrow < 1.5 * plain


def _weights_of(flatbuffer: bytes) -> list[tuple[Graph, int]]:
    graph = Graph(flatbuffer)
    written = set(graph.activations)
    weighted = [each for each in graph.operations if each.name in ("FULLY_CONNECTED", "DEPTHWISE_CONV_2D")]
    return [(graph, each.inputs[1]) for each in weighted if each.inputs[1] not in written]


def _weights(flatbuffer: bytes) -> list[np.ndarray]:
    return [graph.raw(index) for graph, index in _weights_of(flatbuffer)]
