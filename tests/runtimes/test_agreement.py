"""One int8 file in six runtimes: their differences in steps (LSB) of the quantized logits.

All runtimes are compared with the reference kernels of LiteRT, because these are the same on every processor. Other
kernels round some intermediate results differently. Such differences of one step propagate, and a steep gate multiplies
them: to 7 steps, and to another class in 15 of 440 predictions, when this was measured. More than 12 steps, one
twentieth of the range, or another class in more than one of 20 predictions is a fault. Weights are random here, so many
windows are near the border between two classes; those of a trained student are further from it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from ekd_train.models.config import STUDENTS, StudentKind

MAX_STEPS = 12
MAX_FLIPS = 0.05

Codes = NDArray[np.int8]


@dataclass(frozen=True)
class Agreement:
    """Codes of logits (n, targets * 2) against those of the reference kernels; flips: predictions of another class."""

    rows_that_differ: float
    mean_steps: float
    max_steps: int
    flips: int
    predictions: int

    @classmethod
    def of(cls, codes: Codes, reference: Codes) -> "Agreement":
        steps = np.abs(codes.astype(int) - reference)
        flips = _classes(codes) != _classes(reference)
        return cls(
            float((steps > 0).any(1).mean()), float(steps.mean()), int(steps.max()), int(flips.sum()), flips.size
        )

    @property
    def holds(self) -> bool:
        return self.max_steps <= MAX_STEPS and self.flips <= MAX_FLIPS * self.predictions


def _classes(codes: Codes) -> NDArray[np.int64]:
    classes: NDArray[np.int64] = codes.reshape(len(codes), -1, 2).argmax(-1)
    return classes


def _table(found: Mapping[str, Agreement]) -> str:
    lines = [f"{'against the reference kernels':<42} rows that differ  mean LSB  max LSB  flips"]
    for name, each in found.items():
        lines.append(
            f"{name:<42} {each.rows_that_differ:>15.1%}  {each.mean_steps:>8.2f}  {each.max_steps:>7}  "
            f"{each.flips} of {each.predictions}"
        )
    return "\n".join(lines)


@pytest.fixture(scope="session")
def in_old_runtime(models, old_runtime, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Codes]:
    folder = tmp_path_factory.mktemp("old")
    for kind in STUDENTS:
        model = models(kind)
        (folder / f"{kind}.tflite").write_bytes(model.model_file.path.read_bytes())
        np.save(folder / f"{kind}.npy", model.codes)
    codes: Mapping[str, Codes] = old_runtime(folder)
    return codes


def _assert_agreement(found: Mapping[str, Codes], reference: Codes) -> None:
    agreements = {name: Agreement.of(codes, reference) for name, codes in found.items()}
    table = _table(agreements)
    print(table)
    assert all(each.holds for each in agreements.values()), f"\n{table}"


def test_classes_are_balanced_and_logits_use_the_range(models, interpret, kind: StudentKind) -> None:
    codes = interpret(models(kind).model_file.flatbuffer, models(kind).codes, "BUILTIN_REF")
    assert np.ptp(codes.astype(int)) > 150
    assert ((_classes(codes).mean(0) > 0.25) & (_classes(codes).mean(0) < 0.75)).all()


def test_litert_and_tflite_micro_agree(models, interpret, kind: StudentKind) -> None:
    pytest.importorskip("tflite_micro", reason="the micro extra is not installed, or has no wheel here")
    from ekd_export.quantization.micro import micro_logits

    flatbuffer, codes = models(kind).model_file.flatbuffer, models(kind).codes
    found = {
        f"{kind}, LiteRT as ekd-edge runs it": interpret(flatbuffer, codes, "AUTO"),
        f"{kind}, LiteRT without delegates": interpret(flatbuffer, codes, "BUILTIN_WITHOUT_DEFAULT_DELEGATES"),
        f"{kind}, TFLite Micro": micro_logits(flatbuffer, codes),
    }
    _assert_agreement(found, interpret(flatbuffer, codes, "BUILTIN_REF"))


def test_tflite_runtime_agrees(models, interpret, in_old_runtime, kind: StudentKind) -> None:
    reference = interpret(models(kind).model_file.flatbuffer, models(kind).codes, "BUILTIN_REF")
    _assert_agreement({f"{kind}, tflite-runtime 2.14 as ekd-edge runs it": in_old_runtime[kind]}, reference)


def test_tflite_micro_and_the_reference_kernels_of_tflite_runtime_agree_to_the_bit(models, in_old_runtime, kind):
    pytest.importorskip("tflite_micro", reason="the micro extra is not installed, or has no wheel here")
    from ekd_export.quantization.micro import micro_logits

    codes = micro_logits(models(kind).model_file.flatbuffer, models(kind).codes)
    np.testing.assert_array_equal(in_old_runtime[f"{kind}-reference"], codes)


def test_tensorflow_agrees(models, interpret, second_converter: Callable[[StudentKind], Mapping[str, Codes]], kind):
    reference = interpret(models(kind).model_file.flatbuffer, models(kind).codes, "BUILTIN_REF")
    _assert_agreement({f"{kind}, TensorFlow without delegates": second_converter(kind)["raw"]}, reference)


@pytest.mark.parametrize("steps", [MAX_STEPS, MAX_STEPS + 1])
def test_larger_deviation_is_detected(steps: int) -> None:
    reference = np.tile(np.array([10, -40, 0, 90], np.int8), (8, 1))
    assert Agreement.of(reference + np.int8(steps), reference).holds is (steps <= MAX_STEPS)
    other = reference[:, [1, 0, 2, 3]]
    assert not Agreement.of(other, reference).holds
