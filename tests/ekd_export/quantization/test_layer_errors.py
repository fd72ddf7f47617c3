import math

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from ekd_edge.errors import ExportError
from ekd_export.convert.fold import InferenceStudent
from ekd_export.convert.tflite import convert
from ekd_export.quantization.layer_errors import layer_errors, worst_layers
from ekd_export.quantization.quantize import quantize
from ekd_export.quantization.recipes import RECIPES


@pytest.fixture(scope="module")
def integer(run, windows) -> bytes:
    return convert(InferenceStudent(run.student(), integer=True), windows.gsr.shape[1])


@pytest.fixture(scope="module")
def static(integer, windows) -> bytes:
    return quantize(integer, RECIPES["static"], windows.gsr[:64])


def _damaged(flatbuffer: bytes, operation: int) -> bytes:
    """Move the weights of one operation by one row: the values are the same, their places are wrong."""
    model = schema.ModelT.InitFromPackedBuf(flatbuffer, 0)
    graph = model.subgraphs[0]
    weights = graph.tensors[graph.operators[operation].inputs[1]]
    model.buffers[weights.buffer].data = np.roll(np.array(model.buffers[weights.buffer].data), weights.shape[-1])
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def test_operations_are_compared_in_graph_order(integer, static, windows) -> None:
    errors = layer_errors(integer, static, windows.gsr[:10])
    graph = schema.ModelT.InitFromPackedBuf(static, 0).subgraphs[0]
    assert [int(error.operation.split()[1]) for error in errors] == list(range(len(graph.operators)))
    assert errors[-1].name == "serving_default_output_0_output"
    assert all(error.rmse > 0 and error.sqnr_db is not None for error in errors)
    assert all(0 <= error.share_saturated < 0.2 for error in errors)


def test_damaged_layer_has_the_largest_error(integer, static, windows) -> None:
    healthy = layer_errors(integer, static, windows.gsr[:10])
    dense = [error for error in healthy if error.operation.startswith("FULLY") and "Linear" in error.name]
    for victim in dense[2:8:2]:
        operation = int(victim.operation.split()[1])
        worst = worst_layers(layer_errors(integer, _damaged(static, operation), windows.gsr[:10]), 1)
        assert [error.operation for error in worst] == [victim.operation]
        assert worst[0].name == victim.name


def test_model_compared_with_itself_has_no_errors(integer, windows) -> None:
    errors = layer_errors(integer, integer, windows.gsr[:3])
    assert {(error.sqnr_db, error.lost_db, error.rmse, error.share_saturated) for error in errors} == {
        (None, None, 0.0, 0.0)
    }
    assert worst_layers(errors) == ()


def test_values_beyond_the_calibrated_range_are_saturated(integer, windows) -> None:
    narrow = quantize(integer, RECIPES["static"], windows.gsr[:64] / 4)
    first = layer_errors(integer, narrow, windows.gsr[:10])[0]
    limit = np.abs(windows.gsr[:64]).max() / 4
    beyond = (np.abs(windows.gsr[:10]) > limit).mean()
    assert beyond > 0.05
    assert first.share_saturated == pytest.approx(beyond, abs=0.1)


def test_figures_match_their_definitions(integer, static, windows) -> None:
    from ekd_export.quantization.interpret import Graph

    pair, values = (Graph(integer), Graph(static)), []
    for window in windows.gsr[:10]:
        for graph in pair:
            graph.run(window)
        values.append([graph.values(graph.operations[-1].outputs[0]) for graph in pair])
    exact, rounded = np.array(values, np.float64).transpose(1, 0, 2, 3)
    last = layer_errors(integer, static, windows.gsr[:10])[-1]
    assert last.sqnr_db == pytest.approx(10 * math.log10((exact**2).sum() / ((exact - rounded) ** 2).sum()), abs=1e-6)
    assert last.rmse == pytest.approx(np.sqrt(((exact - rounded) ** 2).mean()))


def test_empty_windows_give_no_errors(integer, static, windows) -> None:
    assert layer_errors(integer, static, windows.gsr[:0]) == ()


def test_models_without_common_layers_are_refused(integer) -> None:
    import torch

    other = convert(torch.nn.Sequential(torch.nn.Linear(256, 8), torch.nn.Linear(8, 4)).eval(), 256)
    with pytest.raises(ExportError, match="too few layers in common"):
        layer_errors(integer, other, np.zeros((1, 256), np.float32))
