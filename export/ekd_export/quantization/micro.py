"""TFLite Micro, the runtime for microcontrollers: the memory that a model needs, and its predictions.

An arena that is too small may crash the process instead of raising an error. The search for the smallest arena
therefore runs in a subprocess, `python -m ekd_export.quantization.micro`, which forks for every size.
"""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import ExportError
from ekd_edge.native_output import quiet
from firmware_bridge.dependencies import install_command

__all__ = ["arena_bytes", "micro_logits"]

_LARGEST_ARENA = 16 << 20
_STEP = 64
_TIME_LIMIT_S = 120
_TRY_LIMIT_S = 10


def arena_bytes(flatbuffer: bytes) -> int | None:
    """The smallest arena, to 64 bytes, in which the model runs and predicts the same as in a large one.

    Measured on this machine: a 32-bit microcontroller needs less, because its pointers are half as long. None where
    tflite-micro is not installed, or the model does not run in 16 MiB.
    """
    if find_spec("tflite_micro") is None:
        return None
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ekd_export.quantization.micro"],
            input=flatbuffer,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TIME_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return int(done.stdout) if done.returncode == 0 else None


def micro_logits(flatbuffer: bytes, windows: NDArray[np.int8]) -> NDArray[np.int8]:
    """Predictions of TFLite Micro: quantized windows (n, window_samples) -> quantized logits (n, targets * classes).

    Raises ExportError where tflite-micro is not installed or cannot run the model.
    """
    with quiet():
        model = _model(flatbuffer, _LARGEST_ARENA)
        return np.concatenate([_run(model, window) for window in windows])


def _model(flatbuffer: bytes, arena: int) -> Any:
    try:
        from tflite_micro.python.tflite_micro.runtime import Interpreter
    except ImportError as error:
        raise ExportError(f"tflite-micro is not installed: run `{install_command('micro')}`") from error
    try:
        return Interpreter.from_bytes(flatbuffer, arena_size=arena)
    except (RuntimeError, ValueError) as error:
        raise ExportError(f"TFLite Micro cannot run this model: {error}") from error


def _run(model: Any, window: NDArray[np.int8]) -> NDArray[np.int8]:
    try:
        model.set_input(window[None], 0)
        model.invoke()
        logits: NDArray[np.int8] = np.array(model.get_output(0))
    except (RuntimeError, ValueError) as error:
        raise ExportError(f"TFLite Micro cannot run this model: {error}") from error
    return logits


def _smallest(fits: Callable[[int], bool], most: int) -> int:
    """The smallest multiple of `_STEP` up to `most` that fits; every larger one must fit, too (bisection)."""
    low, high = 0, most // _STEP
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle * _STEP) else (middle, high)
    return high * _STEP


def _survives(attempt: Callable[[], bool]) -> bool:
    """Run `attempt` in a fork: true where it returns true, false where it crashes, hangs or raises."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.alarm(_TRY_LIMIT_S)
            status = 0 if attempt() else 1
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def _main() -> int:
    flatbuffer = sys.stdin.buffer.read()
    model = _model(flatbuffer, _LARGEST_ARENA)
    details = model.get_input_details(0)
    window = np.random.default_rng(0).integers(-100, 100, tuple(details["shape"])).astype(details["dtype"])[0]
    expected = _run(model, window)

    def fits(arena: int) -> bool:
        return np.array_equal(_run(_model(flatbuffer, arena), window), expected)

    if not _survives(lambda: fits(_LARGEST_ARENA)):
        return 1
    print(_smallest(lambda arena: _survives(lambda: fits(arena)), _LARGEST_ARENA))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
