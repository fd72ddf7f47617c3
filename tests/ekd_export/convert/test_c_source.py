"""The generated C, compiled and run on this machine: against ekd's own signal chain, and as a model in TFLite Micro."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from ekd_edge.errors import ConfigError, ExportError
from ekd_edge.model.file import load_model_file, save_model_file
from ekd_edge.model.interpreter import open_classifier
from ekd_edge.model.manifest import Manifest, Target
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.design import gsr_spec
from ekd_edge.signal.preprocessor import Preprocessor
from ekd_edge.signal.resample import Resampler
from ekd_edge.signal.spec import Bound, Normalization, NormalizationMode, SignalSpec
from ekd_export.cli.main import main
from ekd_export.convert.c_source import write_c_source
from firmware_bridge.synthesis import simulated_blocks
from tests.helpers.paths import SHARED

HARNESS = Path(__file__).with_name("csrc") / "harness.c"
RECORDING = SHARED / "data/neurokit_bio/bio_resting_8min_100hz.csv"
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-O2"]
LANGUAGES = {
    "C99": ["gcc", "-std=c99", *STRICT],
    "C11": ["gcc", "-std=c11", *STRICT],
    "C++11": ["g++", "-x", "c++", "-std=c++11", *STRICT],
    "C++20": ["g++", "-x", "c++", "-std=c++20", *STRICT],
}


def compiled(header: Path, language: str = "C99") -> ctypes.CDLL:
    """Build the harness as a shared library; the test fails where the compiler is not installed."""
    command = LANGUAGES[language]
    if shutil.which(command[0]) is None:
        pytest.fail(f"{command[0]} is not installed: `apt install gcc g++`")
    library = header.with_name(f"harness-{language}.so")
    source = header.with_suffix(".c")
    include = ["-I", str(header.parent), "-shared", "-fPIC", "-ffp-contract=off"]
    command = [*command, *include, str(HARNESS), str(source), "-x", "none", "-lm", "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return ctypes.CDLL(str(library))


@dataclass(frozen=True)
class Harness:
    """The compiled source of a model file."""

    library: ctypes.CDLL
    window_samples: int

    def text(self, name: str, *arguments: int) -> str:
        function = getattr(self.library, f"harness_{name}")
        function.restype = ctypes.c_char_p
        return str(function(*arguments).decode())

    def number(self, name: str) -> float:
        function = getattr(self.library, f"harness_{name}")
        function.restype = ctypes.c_double
        return float(function())

    def push(self, samples: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        """Windows, and the same quantized, each (k, window_samples)."""
        samples = np.ascontiguousarray(samples)
        most = len(samples)
        windows = np.empty((most, self.window_samples), np.float32)
        quantized = np.empty((most, self.window_samples), np.int8)
        function = self.library.harness_push
        function.restype = ctypes.c_long
        pointers = (each.ctypes.data_as(ctypes.c_void_p) for each in (windows, quantized))
        count = function(
            samples.ctypes.data_as(ctypes.c_void_p), ctypes.c_long(len(samples)), *pointers, ctypes.c_long(most)
        )
        return windows[:count], quantized[:count]

    def quantize(self, windows: NDArray[np.float32]) -> NDArray[np.int8]:
        result = np.empty(windows.shape, np.int8)
        for row, window in enumerate(np.ascontiguousarray(windows)):
            self.library.harness_quantize(
                window.ctypes.data_as(ctypes.c_void_p), result[row].ctypes.data_as(ctypes.c_void_p)
            )
        return result

    def logits(self, outputs: NDArray[np.int8]) -> NDArray[np.float32]:
        function = self.library.harness_logit
        function.restype = ctypes.c_float
        return np.array([[function(int(output)) for output in row] for row in outputs], np.float32)

    def model(self, size: int) -> bytes:
        function = self.library.harness_model
        function.restype = ctypes.c_void_p
        return ctypes.string_at(function(), size)


Build = Callable[..., Harness]


@pytest.fixture
def build(exports, tmp_path: Path) -> Build:
    """build(language, **changes to the manifest)."""

    def make(language: str = "C99", **changes: object) -> Harness:
        manifest: Manifest = replace(exports.int8.manifest, **changes)
        path = tmp_path / "student.tflite"
        save_model_file(path, exports.int8.flatbuffer, manifest)
        _, header, _ = write_c_source(load_model_file(path))
        harness = Harness(compiled(header, language), manifest.signal.window_samples)
        harness.library.harness_reset()
        return harness

    return make


@pytest.mark.parametrize("language", LANGUAGES)
def test_c_source_compiles_without_a_warning_and_contains_the_model(exports, build: Build, language: str) -> None:
    harness = build(language)
    assert harness.model(len(exports.int8.flatbuffer)) == exports.int8.flatbuffer
    function = harness.library.harness_model
    assert function() % 16 == 0
    assert harness.text("sha256") == exports.int8.manifest.sha256
    assert harness.text("unit") == "uS"
    assert [harness.text("target", i) for i in range(2)] == ["arousal", "valence"]
    assert [harness.text("label", 1, i) for i in range(2)] == ["low", "high"]
    assert harness.number("rate_hz") == 16.0


@pytest.mark.parametrize("language", ["C99", "C++11"])
def test_printable_text_survives_in_c(build: Build, language: str) -> None:
    labels = ('say "high"', "\\low*/??/", "mäßig 🙂 1", "%s")
    harness = build(language, targets=(Target("stress??=", labels), Target("b", ("1", "2", "3", "4"))))
    assert harness.text("target", 0) == "stress??="
    assert tuple(harness.text("label", 0, i) for i in range(4)) == labels


def recorded() -> NDArray[np.float64]:
    """Eight minutes of a resting person's skin conductance, uS at 100 Hz."""
    if not RECORDING.exists():
        pytest.skip(f"the recording {RECORDING} is not here")
    with RECORDING.open(encoding="utf-8") as file:
        column = file.readline().strip().split(",").index("EDA")
    return np.loadtxt(RECORDING, delimiter=",", skiprows=1, usecols=column)


def resampled(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    return Resampler(Fraction(100), Fraction(16)).push(samples)


def simulated(rate_hz: int, seconds: int) -> NDArray[np.float64]:
    return np.concatenate(list(islice(simulated_blocks(rate_hz, seed=3, block_samples=rate_hz), seconds)))


def expected(spec: SignalSpec, samples: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.array(Preprocessor(spec).push_batch(SampleBlock(samples, 0, spec.rate_hz)).values)


def ulps(one: NDArray[np.float32], two: NDArray[np.float32]) -> int:
    """The largest difference, in units of the last place at the largest magnitude of a window's values."""
    scale = np.spacing(np.maximum(np.abs(one), 1).max(axis=1, keepdims=True))
    return int(np.rint(np.abs(one.astype(np.float64) - two) / scale).max())


@pytest.mark.parametrize("bound", get_args(Bound))
@pytest.mark.parametrize("mode", get_args(NormalizationMode))
def test_real_recording_gives_the_windows_of_the_preprocessor(
    build: Build, mode: NormalizationMode, bound: Bound
) -> None:
    normalization = Normalization(mode, bound=bound)
    spec = gsr_spec(rate_hz=100, window_s=4, hop_s=1, normalization=normalization)
    samples = recorded()
    windows, _ = build(signal=spec).push(samples)
    truth = expected(spec, samples)
    assert windows.shape == truth.shape
    assert len(windows) > 450
    if mode in ("ema", "ema-zscore", "none"):
        np.testing.assert_array_equal(windows, truth)
    else:  # numpy has another logarithm and another order of summation
        assert ulps(windows, truth) <= 1


@pytest.mark.parametrize(
    "spec",
    [
        gsr_spec(rate_hz=Fraction(128), window_s=4, hop_s=1),
        gsr_spec(rate_hz=Fraction(16), window_s=32, hop_s=1, settle_s=0.0),
        gsr_spec(rate_hz=Fraction(1000, 3), window_s=3, hop_s=6, settle_s=1.3),
        replace(gsr_spec(rate_hz=Fraction(4), window_s=4, hop_s=1), sos=()),
    ],
    ids=["128 Hz", "16 Hz", "1000/3 Hz, hop over window", "4 Hz, no filter"],
)
def test_c_windows_match_at_any_rate_window_and_hop(build: Build, spec: SignalSpec) -> None:
    samples = simulated(128, 60)
    windows, _ = build(signal=spec).push(samples)
    truth = expected(spec, samples)
    assert windows.shape == truth.shape
    assert len(windows) > 3
    assert ulps(windows, truth) <= 1


def test_windows_do_not_span_a_gap_and_the_mean_survives_it(build: Build) -> None:
    spec = gsr_spec(rate_hz=Fraction(16), window_s=4, hop_s=1)
    samples = simulated(16, 100)
    harness = build(signal=spec)
    first, _ = harness.push(samples[:800])
    harness.library.harness_restart()
    second, _ = harness.push(samples[900:])
    preprocessor = Preprocessor(spec)
    truth = [
        np.array(preprocessor.push_batch(SampleBlock(samples[i:j], i, spec.rate_hz)).values)
        for i, j in ((0, 800), (900, len(samples)))
    ]
    assert ulps(first, truth[0]) <= 1
    assert ulps(second, truth[1]) <= 1
    harness.library.harness_reset()
    again, _ = harness.push(samples[900:])
    assert not np.array_equal(again, second)
    assert ulps(again, expected(spec, samples[900:])) <= 1


def test_non_finite_sample_is_a_gap(build: Build) -> None:
    spec = gsr_spec(rate_hz=Fraction(16), window_s=4, hop_s=1)
    samples = simulated(16, 40)
    clean, _ = build(signal=spec).push(samples)
    for bad in (np.nan, np.inf, -np.inf, 1e31):
        holed = samples.copy()
        holed[300] = bad
        windows, _ = build(signal=spec).push(holed)
        before = (300 - 32 - 64) // 16 + 1
        np.testing.assert_array_equal(windows[:before], clean[:before])
        assert len(windows) == before + (len(samples) - 301 - 32 - 64) // 16 + 1
        assert np.isfinite(windows).all()


def test_windows_are_quantized_and_logits_decoded_as_on_the_edge(exports, windows, build: Build) -> None:
    edge = open_classifier(exports.int8)
    scale, zero = exports.int8.manifest.quantization.input.scale, exports.int8.manifest.quantization.input.zero_point
    extremes = np.float32([[0, 1, -1, 0.5, 1.5, -0.5, 1e6, -1e6] * 32]) * np.float32(scale)
    harness = build()
    values = np.concatenate((windows.gsr[:200], extremes))
    np.testing.assert_array_equal(harness.quantize(values), edge._encode(values))  # type: ignore[attr-defined]
    outputs = np.arange(-128, 128, dtype=np.int8)[None]
    np.testing.assert_array_equal(harness.logits(outputs), edge._decode(outputs))  # type: ignore[attr-defined]
    assert zero in range(-128, 128)


@pytest.mark.parametrize("source", ["recorded", "simulated"])
def test_compiled_model_runs_in_tflite_micro(exports, build: Build, source: str) -> None:
    """From samples to logits without Python: the C chain, its quantization, the array's bytes in TFLM.

    Runtimes round differently: by at most 11 output steps when this was measured; 16 are allowed.
    """
    runtime = pytest.importorskip("tflite_micro", reason="tflite-micro is not installed").runtime
    spec, quantization = exports.int8.manifest.signal, exports.int8.manifest.quantization
    harness = build()
    samples = resampled(recorded()) if source == "recorded" else simulated(16, 600)
    _, inputs = harness.push(samples)
    interpreter = runtime.Interpreter.from_bytes(harness.model(exports.int8.manifest.size_bytes), arena_size=1 << 20)
    outputs = []
    for row in inputs:
        interpreter.set_input(row[None], 0)
        interpreter.invoke()
        outputs.append(interpreter.get_output(0)[0])
    micro = harness.logits(np.array(outputs, np.int8))
    edge = open_classifier(exports.int8).predict(expected(spec, samples)).reshape(micro.shape)
    lsb = np.rint(np.abs(micro - edge) / quantization.output.scale)
    ours, theirs = (logits.reshape(-1, 2, 2) for logits in (micro, edge))
    decided = np.abs(theirs[..., 1] - theirs[..., 0]) > 2 * 16 * quantization.output.scale
    assert lsb.max() <= 16
    assert decided.any()
    assert (ours.argmax(-1) == theirs.argmax(-1))[decided].all()


def test_command_writes_c_source_next_to_the_model(exports, tmp_path: Path, capsys) -> None:
    path = tmp_path / "student-int8.tflite"
    path.write_bytes(exports.int8.path.read_bytes())
    assert main(["c-source", str(path)]) == 0
    assert capsys.readouterr().out.startswith("C source   ")
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "ekd_signal.h",
        "student-int8.c",
        "student-int8.h",
        "student-int8.tflite",
    ]
    text = (tmp_path / "student-int8.h").read_text()
    assert "EKD_SYNTHETIC 1" in text
    assert "#define EKD_SIGNED_OFF 0 /* never signed off */" in text
    assert str(tmp_path) not in text + (tmp_path / "student-int8.c").read_text()


def test_invalid_model_or_name_is_refused_before_writing(exports, tmp_path: Path, capsys) -> None:
    with pytest.raises(ExportError, match=r"is float32: .*--int8"):
        write_c_source(exports.float32)
    odd = tmp_path / 'a"b.tflite'
    odd.write_bytes(exports.int8.path.read_bytes())
    with pytest.raises(ConfigError, match="name of a C file"):
        write_c_source(load_model_file(odd))
    assert main([str(exports.run.path), "--c-source", "-o", str(tmp_path / "b.tflite")]) == 2
    assert "add --int8" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ['a"b.tflite']
