import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ekd_edge.errors import ModelFileError, SignalError
from ekd_edge.model.file import load_model_file, save_model_file
from ekd_edge.model.find import DEMO_FILE
from ekd_edge.model.interpreter import open_classifier, softmax
from ekd_edge.model.manifest import Manifest, Quantization, Target, TensorQuantization
from ekd_edge.signal.design import gsr_spec

WINDOWS = np.random.default_rng(3).normal(size=(5, 64)).astype(np.float32)

NO_RUNTIME = """
import sys
for name in ("ai_edge_litert", "tflite_runtime"):
    sys.modules[name] = None
from pathlib import Path
from ekd_edge.model.file import load_model_file
from ekd_edge.model.interpreter import open_classifier
from ekd_edge.errors import EkdError
try:
    open_classifier(load_model_file(Path(sys.argv[1])))
except EkdError as error:
    print(error)
"""

LIGHT = """
import sys
import ekd_edge.model.interpreter
heavy = {"ai_edge_litert", "tflite_runtime", "scipy", "torch", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""


def test_logits_equal_the_models_own(model_path: Path) -> None:
    weights = np.random.default_rng(7).normal(size=(4, 64), scale=0.3).astype(np.float32)
    logits = open_classifier(load_model_file(model_path)).predict(WINDOWS)
    assert logits.shape == (5, 2, 2)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, (WINDOWS @ weights.T).reshape(5, 2, 2), atol=1e-5)


def test_logits_do_not_depend_on_the_batch(model_path: Path) -> None:
    classifier = open_classifier(load_model_file(model_path))
    together = classifier.predict(WINDOWS)
    single = np.concatenate([classifier.predict(window[None]) for window in WINDOWS])
    np.testing.assert_array_equal(together, single)
    assert classifier.predict(WINDOWS[:0]).shape == (0, 2, 2)


def test_read_only_windows_are_accepted(model_path: Path) -> None:
    frozen = WINDOWS.copy()
    frozen.flags.writeable = False
    assert open_classifier(load_model_file(model_path)).predict(frozen).shape == (5, 2, 2)


def test_runtime_prints_nothing(model_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    open_classifier(load_model_file(model_path)).predict(WINDOWS)
    assert capfd.readouterr() == ("", "")


def test_windows_of_another_length_are_refused(model_path: Path) -> None:
    with pytest.raises(SignalError, match="64 samples"):
        open_classifier(load_model_file(model_path)).predict(WINDOWS[:, :32])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_windows_that_are_not_finite_are_refused(value: float) -> None:
    """The demo model is int8: not a number would become zero, and a prediction."""
    classifier = open_classifier(load_model_file(DEMO_FILE))
    windows = np.zeros((3, load_model_file(DEMO_FILE).manifest.signal.window_samples), np.float32)
    windows[1, 5] = value
    with pytest.raises(ModelFileError, match=r"the signal chain of .* not finite numbers: export the model again"):
        classifier.predict(windows)


@pytest.mark.parametrize("bias", [np.nan, np.inf, 3e38])
def test_logits_that_are_not_finite_are_refused(write_model: Callable[..., Path], tmp_path: Path, bias: float) -> None:
    path = write_model(tmp_path / "damaged.tflite", bias)
    with pytest.raises(
        ModelFileError, match=r"damaged\.tflite computes \[.*not finite numbers: export the model again"
    ):
        open_classifier(load_model_file(path)).predict(WINDOWS)


def _resave(model_path: Path, folder: Path, manifest: Manifest) -> Path:
    save_model_file(folder / "changed.tflite", load_model_file(model_path).flatbuffer, manifest)
    return folder / "changed.tflite"


@pytest.mark.parametrize("change", ["window", "targets", "kind"])
def test_model_that_differs_from_its_manifest_is_refused(model_path: Path, tmp_path: Path, change: str) -> None:
    manifest = load_model_file(model_path).manifest
    if change == "window":
        manifest = replace(manifest, signal=gsr_spec(rate_hz=Fraction(16), window_s=8, hop_s=1))
    elif change == "targets":
        manifest = replace(manifest, targets=(Target("arousal", ("low", "high")),))
    else:
        from ekd_edge.model.manifest import Calibration

        side = TensorQuantization(0.1, 0)
        calibration = Calibration("min-max", manifest.training.train_subjects, 1, 0, "00")
        manifest = replace(manifest, kind="int8", quantization=Quantization(side, side), calibration=calibration)
    with pytest.raises(ModelFileError, match=r"changed\.tflite.*export"):
        open_classifier(load_model_file(_resave(model_path, tmp_path, manifest)))


def test_model_that_the_runtime_cannot_read_is_refused(tmp_path: Path, gsr_manifest: Manifest) -> None:
    save_model_file(tmp_path / "junk.tflite", b"\x1c\0\0\0TFL3" + bytes(64), gsr_manifest)
    with pytest.raises(ModelFileError, match="cannot run"):
        open_classifier(load_model_file(tmp_path / "junk.tflite"))


def test_missing_runtime_names_the_install_command(model_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_RUNTIME, str(model_path)], capture_output=True, text=True, check=True
    )
    assert "no TFLite runtime is installed: run `pip install" in done.stdout


def test_import_loads_no_runtime() -> None:
    subprocess.run([sys.executable, "-c", LIGHT], check=True)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([0.0, 0.0], [0.5, 0.5]),
        ([1000.0, 0.0], [1.0, 0.0]),
        ([0.0, np.log(3)], [0.25, 0.75]),
        ([-1e30, 0.0], [0.0, 1.0]),
    ],
)
def test_softmax_gives_known_probabilities(logits: list[float], expected: list[float]) -> None:
    assert softmax(logits) == pytest.approx(expected, abs=1e-12)


def test_threads_do_not_change_a_small_model(write_model: Callable[..., Path], tmp_path: Path) -> None:
    model_file = load_model_file(write_model(tmp_path / "a.tflite"))
    one, two = (open_classifier(model_file, threads=threads).predict(WINDOWS) for threads in (1, 2))
    np.testing.assert_allclose(one, two, atol=1e-6)
