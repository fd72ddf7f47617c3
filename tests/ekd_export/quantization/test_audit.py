import numpy as np
import pytest

from ekd_edge.errors import ExportError
from ekd_export.quantization.audit import audit, check_classes, layer_of, read_quantization
from ekd_export.quantization.quantize import quantize
from ekd_export.quantization.recipes import RECIPES


def test_exported_models_pass_the_audit(exports) -> None:
    found = audit(exports.int8.flatbuffer, "int8")
    assert found.float_tensors == 0
    assert set(found.tensors) == {"INT8", "INT32"}
    assert "DIV" not in found.operations
    assert found.size_bytes == exports.int8.manifest.size_bytes
    assert audit(exports.float32.flatbuffer, "float32").float_tensors > 50


def test_float_model_does_not_pass_for_int8(exports) -> None:
    with pytest.raises(ExportError, match="must be INT8, and this is FLOAT32"):
        audit(exports.float32.flatbuffer, "int8")


def test_int8_model_does_not_pass_for_float(exports) -> None:
    with pytest.raises(ExportError, match="must be FLOAT32, and this is INT8"):
        audit(exports.int8.flatbuffer, "float32")


def test_operation_left_in_float_is_found(exports, windows) -> None:
    """The float file computes softsign with abs, which ai-edge-quantizer does not support."""
    with pytest.raises(ExportError, match=r"tensors of the int8 model are still float.*: Score_0 \(ABS\), "):
        audit(quantize(exports.float32.flatbuffer, RECIPES["static"], windows.gsr[:32]), "int8")


def _changed(flatbuffer: bytes, change) -> bytes:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(flatbuffer, 0)
    change(schema, model)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def test_float_tensor_inside_is_named(exports) -> None:
    def hide(schema, model) -> None:
        for tensor in model.subgraphs[0].tensors[5:12]:
            tensor.type = schema.TensorType.FLOAT32

    with pytest.raises(ExportError, match=r"^7 tensors of the int8 model are still float, .* and 2 more"):
        audit(_changed(exports.int8.flatbuffer, hide), "int8")


def test_division_is_found(exports) -> None:
    def divide(schema, model) -> None:
        code = next(each for each in model.operatorCodes if each.builtinCode == schema.BuiltinOperator.SUB)
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DIV

    with pytest.raises(ExportError, match="DIV"):
        audit(_changed(exports.int8.flatbuffer, divide), "int8")


def test_custom_operation_is_named(exports) -> None:
    def customize(schema, model) -> None:
        code = model.operatorCodes[0]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = b"FlexSoftsign"

    with pytest.raises(ExportError, match="FlexSoftsign"):
        audit(_changed(exports.float32.flatbuffer, customize), "float32")


def test_scales_come_from_the_model(exports) -> None:
    assert read_quantization(exports.int8.flatbuffer) == exports.int8.manifest.quantization
    with pytest.raises(ExportError, match="not quantized"):
        read_quantization(exports.float32.flatbuffer)


def test_class_lost_by_quantization_is_named() -> None:
    both, first = np.zeros((2, 2, 2), np.float32), np.zeros((2, 2, 2), np.float32)
    both[0, 1] = (0, 1)
    with pytest.raises(ExportError, match="class 1 of valence"):
        check_classes(("arousal", "valence"), both, first)
    check_classes(("arousal", "valence"), first, both)


def test_weights_must_match_the_kind(exports) -> None:
    for kind, found in (("dynamic", "INT8"), ("float16", "FLOAT16")):
        with pytest.raises(ExportError, match=rf"layers of the {kind} model have no {found} weights: .*FLOAT32.* more"):
            audit(exports.float32.flatbuffer, kind)
    dynamic = quantize(exports.float32.flatbuffer, RECIPES["dynamic"], np.zeros((0, 0), np.float32))
    with pytest.raises(ExportError, match=r"Linear_spatial \(FULLY_CONNECTED, INT8\)"):
        audit(dynamic, "float32")


def test_scale_of_zero_is_found(exports) -> None:
    def flatten(schema, model) -> None:
        graph = model.subgraphs[0]
        graph.tensors[graph.operators[20].outputs[0]].quantization.scale = np.zeros(1, np.float32)

    with pytest.raises(ExportError, match="has a scale of zero"):
        audit(_changed(exports.int8.flatbuffer, flatten), "int8")


@pytest.mark.parametrize(
    ("tensor", "layer"),
    [
        ("ekd_export.convert.fold.InferenceStudent/ekd_export.convert.fold._Block_0/torch.nn.Linear_dense1;;a.B;3",
         "Block_0/Linear_dense1"),
        (";;ekd_export.convert.fold.InferenceStudent/ekd_export.convert.fold._Score_1;", "Score_1"),
        ("ekd_export.convert.fold.InferenceStudent;5", "InferenceStudent"),
        ("serving_default_args_0", "serving_default_args_0"),
        ("", ""),
    ],
)  # fmt: skip
def test_layers_are_named_by_their_module_path(tensor, layer) -> None:
    assert layer_of(tensor) == layer
