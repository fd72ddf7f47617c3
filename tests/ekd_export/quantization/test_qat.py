"""Tests with a student that is hard to quantize: one filter is 40 times the others, and scaled back after the ReLU."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ekd_edge.errors import DataError
from ekd_export.convert.fold import fold
from ekd_export.convert.tflite import convert, torch_logits
from ekd_export.quantization.interpret import Graph
from ekd_export.quantization.qat import fake_quantized_logits, fine_tune
from ekd_export.quantization.quantize import quantize
from ekd_export.quantization.recipes import RECIPES
from ekd_train.models.config import NetworkConfig

WINDOWS = (np.random.default_rng(0).normal(size=(400, 64)).cumsum(1) / 4).astype(np.float32)
TRAIN, VALIDATION = WINDOWS[:256], WINDOWS[256:]
RECIPE = replace(RECIPES["qat"], weights="per-tensor")


class Hard(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.conv = nn.Conv2d(1, 8, (1, 8), stride=(1, 4))
        self.dense1, self.dense2, self.out = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8 * 15, 4)
        with torch.no_grad():
            self.conv.weight[3] *= 40
            self.conv.bias[3] *= 40
            self.dense1.weight[:, 3] /= 40
            self.out.weight *= 20
            self.out.bias.zero_()
            self.out.bias -= torch.cat([self(window[None]) for window in torch.tensor(TRAIN)]).median(0).values

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        tokens = F.relu(self.conv(window.view(-1, 1, 1, 64))).view(-1, 8, 15).transpose(1, 2)
        return self.out(self.dense2(F.relu(self.dense1(tokens))).reshape(-1, 120))


def _noise(exact: np.ndarray, other: np.ndarray) -> float:
    return float(np.square(exact - other).mean())


def _pairs(logits: np.ndarray) -> np.ndarray:
    return logits.reshape(len(logits), -1, 2)


def _margins(logits: np.ndarray) -> np.ndarray:
    return _pairs(logits)[:, :, 1] - _pairs(logits)[:, :, 0]


def _tune(
    student: nn.Module, train: np.ndarray = TRAIN, validation: np.ndarray = VALIDATION, seed: int = 0, **options: Any
) -> Any:
    return fine_tune(student, TRAIN, train, validation, seed=seed, **{"notify": str, "recipe": RECIPE} | options)


def _run(flatbuffer: bytes, windows: np.ndarray) -> np.ndarray:
    graph, rows = Graph(flatbuffer), []
    for window in windows:
        graph.run(window)
        rows.append(graph.values(graph.operations[-1].outputs[0])[0])
    return np.stack(rows)


@pytest.fixture(scope="module")
def student() -> Hard:
    return Hard().eval()


@pytest.fixture(scope="module")
def tuned(student) -> tuple[Hard, list[str]]:
    lines: list[str] = []
    return _tune(student, notify=lines.append, epochs=40), lines


def test_tuning_reduces_the_margin_error(student, tuned) -> None:
    exact = _margins(torch_logits(student, VALIDATION))
    before, after = (
        _noise(exact, _margins(fake_quantized_logits(each, TRAIN, VALIDATION, RECIPE))) for each in (student, tuned[0])
    )
    assert after < 0.8 * before
    assert tuned[1][-1].startswith("fine-tuning: epoch ")


def test_tuned_student_is_closer_to_the_float_one_in_int8(student, tuned) -> None:
    exact = torch_logits(student, VALIDATION)
    before, after = (_run(quantize(convert(each, 64), RECIPE, TRAIN), VALIDATION) for each in (student, tuned[0]))
    assert _noise(_margins(exact), _margins(after)) < 0.6 * _noise(_margins(exact), _margins(before))
    same = [(_pairs(exact).argmax(2) == _pairs(logits).argmax(2)).mean() for logits in (before, after)]
    assert same[1] >= same[0] - 0.02
    assert same[0] < 0.95, "the student is not hard to quantize"


@pytest.mark.parametrize("weights", ["per-channel", "per-tensor"])
def test_fake_quantization_matches_int8(student, weights) -> None:
    recipe = replace(RECIPE, weights=weights)
    exact = torch_logits(student, VALIDATION)
    rounded = fake_quantized_logits(student, TRAIN, VALIDATION, recipe)
    real = _run(quantize(convert(student, 64), recipe, TRAIN), VALIDATION)
    assert _noise(rounded, real) < 0.3 * _noise(exact, real)


def test_original_student_is_not_changed(student, tuned) -> None:
    assert all(torch.equal(*pair) for pair in zip(student.parameters(), Hard().parameters(), strict=True))
    assert not any(torch.equal(*pair) for pair in zip(student.parameters(), tuned[0].parameters(), strict=True))


def test_tuning_is_determined_by_the_seed(student) -> None:
    first, repeated, other = (_tune(student, TRAIN[:128], VALIDATION[:32], seed, epochs=3) for seed in (1, 1, 2))
    assert torch.equal(first.conv.weight, repeated.conv.weight)
    assert not torch.equal(first.conv.weight, other.conv.weight)


def test_untuned_weights_are_kept_without_an_improvement(student) -> None:
    """Epoch 0, the untuned student, is one of the choices."""
    lines: list[str] = []
    same = _tune(student, TRAIN[:32], VALIDATION[:8], notify=lines.append, epochs=0)
    assert torch.equal(same.conv.weight, student.conv.weight)
    assert lines[-1] == "fine-tuning: no epoch is better than the untuned student"


def test_edge_student_is_tuned(windows, random_student) -> None:
    samples, targets = windows.gsr.shape[1], ("arousal", "valence")
    shape = NetworkConfig(student="edge", window_samples=samples, targets=targets, student_filters=12, depth=2)
    folded = fold(random_student(shape, windows.gsr), integer=True)
    train, validation = windows.gsr[::2], windows.gsr[1::4]
    tuned = fine_tune(folded, train, train, validation, seed=0, notify=str, epochs=20)
    assert not any(weight.requires_grad for weight in tuned.parameters())
    rounded = fake_quantized_logits(folded, train, validation)
    real = _run(quantize(convert(folded, samples), RECIPES["static"], train), validation)
    exact = torch_logits(folded, validation)
    assert _noise(rounded, real) < 0.5 * _noise(exact, real)
    after = fake_quantized_logits(tuned, train, validation)
    before, after = (_noise(_margins(exact), _margins(logits)) for logits in (rounded, after))
    assert after < 0.9 * before, (before, after)


def test_missing_windows_are_refused(student) -> None:
    for train, validation, group in ((TRAIN[:0], VALIDATION, "training"), (TRAIN, VALIDATION[:0], "validation")):
        with pytest.raises(DataError, match=f"no {group} window"):
            _tune(student, train, validation)
    with pytest.raises(DataError, match="no calibration window"):
        fine_tune(student, TRAIN[:0], TRAIN, VALIDATION, seed=0, notify=str)
