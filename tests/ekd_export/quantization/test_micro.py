import subprocess
import sys

import numpy as np
import pytest

import ekd_export.quantization.micro
from ekd_edge.errors import ExportError
from ekd_export.quantization.micro import _smallest, arena_bytes, micro_logits

JUNK = b"\x1c\0\0\0TFL3" + bytes(64)


@pytest.fixture(scope="session")
def arena(exports) -> int:
    pytest.importorskip("tflite_micro", reason="the micro extra is not installed, or has no wheel here")
    found = arena_bytes(exports.int8.flatbuffer)
    assert found is not None
    return found


def test_arena_is_the_smallest_that_works(arena: int, exports) -> None:
    assert arena % 64 == 0
    assert 10_000 < arena < 200_000
    run = "import sys; from ekd_export.quantization.micro import _model, _run; import numpy as np\n"
    run += "_run(_model(sys.stdin.buffer.read(), int(sys.argv[1])), np.zeros(256, np.int8))"
    for size, works in ((arena, True), (arena - 64, False)):
        done = subprocess.run(
            [sys.executable, "-c", run, str(size)], input=exports.int8.flatbuffer, capture_output=True, check=False
        )
        assert (done.returncode == 0) is works, done.stderr


def test_arena_search_prints_nothing(arena: int, exports, capfd) -> None:
    assert arena_bytes(exports.int8.flatbuffer) == arena
    assert capfd.readouterr() == ("", "")


def test_float_model_has_an_arena_too(arena: int, exports) -> None:
    assert (arena_bytes(exports.float32.flatbuffer) or 0) > arena


def test_invalid_model_has_no_arena(arena: int, capfd) -> None:
    assert arena_bytes(JUNK) is None
    assert arena_bytes(b"") is None
    assert capfd.readouterr() == ("", "")


def test_arena_is_none_without_tflite_micro(exports, monkeypatch) -> None:
    monkeypatch.setattr(ekd_export.quantization.micro, "find_spec", lambda name: None)
    assert arena_bytes(exports.int8.flatbuffer) is None


def test_micro_logits_are_near_the_models(arena: int, exports, windows, capfd) -> None:
    from ekd_edge.model.interpreter import open_classifier

    quantization = exports.int8.manifest.quantization
    scale, zero = quantization.input.scale, quantization.input.zero_point
    values = np.clip(np.rint(windows.gsr[:8] / scale) + zero, -128, 127).astype(np.int8)
    found = micro_logits(exports.int8.flatbuffer, values)
    assert found.dtype == np.int8
    expected = open_classifier(exports.int8).predict(windows.gsr[:8]).reshape(8, -1)
    logits = (found.astype(np.float32) - quantization.output.zero_point) * quantization.output.scale
    np.testing.assert_allclose(logits, expected, atol=10 * quantization.output.scale)
    assert capfd.readouterr() == ("", "")


def test_micro_logits_raise_with_the_reason(arena: int, exports, monkeypatch) -> None:
    window = np.zeros((1, 256), np.int8)
    with pytest.raises(ExportError, match="TFLite Micro cannot run"):
        micro_logits(exports.int8.flatbuffer, window[:, :100])
    monkeypatch.setitem(sys.modules, "tflite_micro.python.tflite_micro.runtime", None)
    with pytest.raises(ExportError, match=r"run `pip install .*\[micro\]'`"):
        micro_logits(exports.int8.flatbuffer, window)


@pytest.mark.parametrize("needed", [1, 64, 65, 31_040, 1 << 20])
def test_search_ends_at_the_smallest_step(needed: int) -> None:
    assert _smallest(lambda arena: arena >= needed, 1 << 20) == -(-needed // 64) * 64
