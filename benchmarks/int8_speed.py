"""Size, arena and latency of every student, recipe and runtime, and of peers, in turns in one process."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ekd_edge.native_output import quiet
from ekd_export.convert.fold import fold
from ekd_export.convert.tflite import convert
from ekd_export.quantization.micro import arena_bytes
from ekd_export.quantization.quantize import quantize
from ekd_export.quantization.recipes import RECIPES
from ekd_train.models.config import STUDENTS, NetworkConfig
from ekd_train.models.student import Student

__all__ = ["Timed", "flatbuffers", "measure"]

WINDOW = 512
TURNS, WARM_UP, RUNS = 40, 5, 10
"""Runs in a turn of a case: one with cold caches, some to warm up, and the measured ones."""
TIMED_RECIPES = ("float32", "float16", "dynamic", "static")


Case = tuple[str, str, str]
"""(student, recipe, runtime)"""


@dataclass(frozen=True, slots=True)
class Timed:
    """One line of the table; size and arena are None where they do not exist.

    ms: of every warm run, in order. cold_ms: of the first run of every turn.
    """

    student: str
    recipe: str
    runtime: str
    size_bytes: int | None
    arena_bytes: int | None
    ms: tuple[float, ...]
    cold_ms: tuple[float, ...]

    @property
    def turns_ms(self) -> list[float]:
        """The median of every turn in milliseconds."""
        return [float(np.median(self.ms[i : i + RUNS])) for i in range(0, len(self.ms), RUNS)]

    @property
    def p50_ms(self) -> float:
        """Median in milliseconds."""
        return float(np.median(self.ms))

    @property
    def p99_ms(self) -> float:
        """99th percentile in milliseconds."""
        return float(np.percentile(self.ms, 99))


def untrained(kind: str) -> Student:
    """Return a student for the published teacher's size with random weights, which do not affect size or speed."""
    torch.manual_seed(0)
    student = Student(NetworkConfig(student=kind))  # type: ignore[arg-type]
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            torch.nn.init.normal_(module.running_mean, std=0.3)
    return student.eval()


def flatbuffers(student: Student, calibration: NDArray[np.float32]) -> dict[str, bytes]:
    """Return the flatbuffers of a student by recipe."""
    made = {}
    for name in TIMED_RECIPES:
        recipe = RECIPES[name]
        converted = convert(fold(student, integer=recipe.kind == "int8"), WINDOW)
        made[name] = quantize(converted, recipe, calibration)
    return made


def measure(calibration: NDArray[np.float32]) -> list[Timed]:
    """Measure every student, recipe and runtime, and the peers, one window at a time on one thread."""
    torch.set_num_threads(1)
    about: dict[Case, tuple[int | None, int | None]] = {}
    calls: dict[Case, Callable[[], object]] = {}
    for kind in STUDENTS:
        student = untrained(kind)
        for recipe, flatbuffer in flatbuffers(student, calibration).items():
            case = (kind, recipe, "LiteRT")
            integer = recipe == "static"
            about[case] = len(flatbuffer), arena_bytes(flatbuffer) if integer or recipe == "float32" else None
            calls[case] = litert(flatbuffer)
            if integer:
                calls[kind, recipe, "LiteRT, no XNNPACK"] = litert(flatbuffer, delegate=False)
                calls[kind, recipe, "TFLite Micro (x86)"] = micro(flatbuffer, calibration[0])
        calls[kind, "float32", "torch eager"] = eager(student, calibration[0])
        for recipe, model in onnx_models(student, calibration).items():
            case = (kind, recipe, "onnxruntime")
            about[case] = len(model), None
            calls[case] = onnxruntime(model, calibration[0])
    cold, warm = take_turns(calls)
    return [
        Timed(*case, *about.get(case, (None, None)), ms=tuple(warm[case]), cold_ms=tuple(cold[case])) for case in calls
    ]


def take_turns(calls: Mapping[Case, Callable[[], object]]) -> tuple[dict[Case, list[float]], dict[Case, list[float]]]:
    """Milliseconds of cold runs and of warm ones, by case, in turns, so that other load affects all equally."""
    cold: dict[Case, list[float]] = {case: [] for case in calls}
    warm: dict[Case, list[float]] = {case: [] for case in calls}
    for turn in range(TURNS):
        for case in list(calls) if turn % 2 == 0 else list(calls)[::-1]:
            taken = []
            for _ in range(1 + WARM_UP + RUNS):
                start = time.perf_counter()
                calls[case]()
                taken.append(1e3 * (time.perf_counter() - start))
            cold[case].append(taken[0])
            warm[case] += taken[1 + WARM_UP :]
    return cold, warm


def litert(flatbuffer: bytes, delegate: bool = True) -> Callable[[], object]:
    """Return a function that invokes the model in LiteRT, with or without its default delegate."""
    with quiet():
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        kernels = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        model = Interpreter(model_content=flatbuffer, num_threads=1, experimental_op_resolver_type=kernels)
        model.allocate_tensors()
    invoke: Callable[[], object] = model.invoke
    return invoke


def micro(flatbuffer: bytes, window: NDArray[np.float32]) -> Callable[[], object]:
    """Return a function that invokes the model in TFLite Micro, which has reference kernels on a PC."""
    with quiet():
        from tflite_micro.python.tflite_micro.runtime import Interpreter

        model = Interpreter.from_bytes(flatbuffer, arena_size=4 << 20)
    model.set_input(np.zeros((1, len(window)), np.int8), 0)
    invoke: Callable[[], object] = model.invoke
    return invoke


def eager(student: Student, window: NDArray[np.float32]) -> Callable[[], object]:
    """Return a function that runs the folded student in PyTorch."""
    folded, values = fold(student, integer=False), torch.tensor(window[None])

    def call() -> object:
        with torch.inference_mode():
            return folded(values)

    return call


def onnx_models(student: Student, calibration: NDArray[np.float32]) -> Mapping[str, bytes]:
    """Return the float ONNX model of a student, and its static int8 model by onnxruntime (QDQ, per channel)."""
    with quiet(), tempfile.TemporaryDirectory() as folder:
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        source, ready, made = (Path(folder) / f"{name}.onnx" for name in ("float", "ready", "int8"))
        folded = fold(student, integer=False)
        torch.onnx.export(folded, (torch.zeros(1, WINDOW),), str(source), input_names=["window"], external_data=False)
        quant_pre_process(str(source), str(ready))

        class Windows(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.rows = iter(calibration[:128])

            def get_next(self) -> dict[str, NDArray[np.float32]] | None:
                row = next(self.rows, None)
                return None if row is None else {"window": row[None]}

        quantize_static(
            str(ready), str(made), Windows(), per_channel=True,
            activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
        return {"float32": source.read_bytes(), "int8 of onnxruntime": made.read_bytes()}


def onnxruntime(model: bytes, window: NDArray[np.float32]) -> Callable[[], object]:
    """Return a function that runs the model in onnxruntime."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: window[None]}
    return lambda: session.run(None, feed)
