"""TFLiteConverter, which shares no code with ekd-export's conversion, gives the same outputs for the same student.

Both calibrate on the same windows, so the scales should be equal, and both files run in the same kernels. They differed
by at most three steps and in the class of one of 440 windows when this was measured.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ekd_train.models.config import StudentKind

Convert = Callable[[StudentKind], Mapping[str, NDArray[np.float32]]]

AGREEMENT = 0.98
MAX_STEPS = 6


def _same_class(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    shape = (len(one), -1, 2)
    return float((one.reshape(shape).argmax(-1) == other.reshape(shape).argmax(-1)).mean())


def _noise(logits: NDArray[np.float32], exact: NDArray[np.float32]) -> float:
    """Root mean square error over the spread of the logits."""
    return float(np.sqrt(np.mean((logits - exact) ** 2)) / exact.std())


def test_rebuilt_student_has_the_student_logits(second_converter: Convert, kind: StudentKind) -> None:
    found = second_converter(kind)
    np.testing.assert_allclose(found["rebuilt"], found["torch"], atol=5e-5)


def test_both_converters_agree(models, interpret, second_converter: Convert, kind: StudentKind) -> None:
    model_file, found = models(kind).model_file, second_converter(kind)
    output = model_file.manifest.quantization.output
    codes = interpret(model_file.flatbuffer, models(kind).codes, "BUILTIN_WITHOUT_DEFAULT_DELEGATES")
    ours = (codes.astype(np.float32) - output.zero_point) * np.float32(output.scale)
    theirs = found["int8"]
    agreement, steps = _same_class(ours, theirs), np.abs(ours - theirs) / output.scale
    about = (
        f"{kind}: same class on {agreement:.1%}, {steps.mean():.2f} LSB apart on average, {steps.max():.1f} at most; "
        f"noise of ours {_noise(ours, found['torch']):.3f}, of theirs {_noise(theirs, found['torch']):.3f}"
    )
    print(about)
    assert agreement >= AGREEMENT, about
    assert steps.max() <= MAX_STEPS, about
    assert _noise(ours, found["torch"]) <= 1.1 * _noise(theirs, found["torch"]), about
    assert _noise(theirs, found["torch"]) < 0.1, about
