"""A student that is hard to quantize: one filter is 40 times the others, and undone after the ReLU."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import nn
from torch.nn import functional as F

from ekd_edge.errors import DataError
from ekd_export.convert.fold import InferenceStudent
from ekd_export.convert.tflite import convert, torch_logits
from ekd_export.quantization.interpret import Graph
from ekd_export.quantization.qat import fine_tune, rounded_logits
from ekd_export.quantization.quantize import quantize
from ekd_export.quantization.recipes import RECIPES

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
        tokens = F.relu(self.conv(window.view(1, 1, 1, -1))).reshape(8, 15).T
        return self.out(self.dense2(F.relu(self.dense1(tokens))).reshape(1, -1))


def _noise(exact: np.ndarray, other: np.ndarray) -> float:
    return float(np.square(exact - other).mean())


def _pairs(logits: np.ndarray) -> np.ndarray:
    return logits.reshape(len(logits), -1, 2)


def _divergence(exact: np.ndarray, other: np.ndarray) -> float:
    """Mean KL(exact || other)."""
    told, heard = (log_softmax(_pairs(logits), axis=2) for logits in (exact, other))
    return float((np.exp(told) * (told - heard)).sum(2).mean())


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
    return fine_tune(student, TRAIN, VALIDATION, seed=0, report=lines.append, recipe=RECIPE, epochs=16), lines


def test_tuning_brings_the_rounded_student_closer_to_the_float_one(student, tuned) -> None:
    exact = torch_logits(student, VALIDATION)
    before, after = (
        _divergence(exact, rounded_logits(each, TRAIN, VALIDATION, RECIPE)) for each in (student, tuned[0])
    )
    assert after < 0.8 * before
    assert tuned[1][-1].startswith("fine-tuning ends with epoch ")


def test_what_was_tuned_is_closer_to_the_float_student_in_int8(student, tuned) -> None:
    exact = torch_logits(student, VALIDATION)
    before, after = (_run(quantize(convert(each, 64), RECIPE, TRAIN), VALIDATION) for each in (student, tuned[0]))
    assert _divergence(exact, after) < 0.9 * _divergence(exact, before)
    same = [(_pairs(exact).argmax(2) == _pairs(logits).argmax(2)).mean() for logits in (before, after)]
    assert same[1] >= same[0]
    assert same[0] < 0.95, "the student is not hard to quantize"


def test_rounding_is_what_int8_does(student) -> None:
    exact = torch_logits(student, VALIDATION)
    rounded = rounded_logits(student, TRAIN, VALIDATION, RECIPE)
    real = _run(quantize(convert(student, 64), RECIPE, TRAIN), VALIDATION)
    assert _noise(rounded, real) < 0.3 * _noise(exact, real)


def test_the_student_given_stays_as_it_is(student, tuned) -> None:
    assert all(torch.equal(*pair) for pair in zip(student.parameters(), Hard().parameters(), strict=True))
    assert not any(torch.equal(*pair) for pair in zip(student.parameters(), tuned[0].parameters(), strict=True))


def test_tuning_depends_on_the_seed_alone(student) -> None:
    one, again, other = (
        fine_tune(student, TRAIN[:128], VALIDATION[:32], seed=seed, report=str, recipe=RECIPE, epochs=3)
        for seed in (1, 1, 2)
    )
    assert torch.equal(one.conv.weight, again.conv.weight)
    assert not torch.equal(one.conv.weight, other.conv.weight)


def test_where_nothing_is_gained_nothing_is_changed(student) -> None:
    """The untuned beginning is a candidate like any epoch."""
    lines: list[str] = []
    same = fine_tune(student, TRAIN[:32], VALIDATION[:8], seed=0, report=lines.append, epochs=0)
    assert torch.equal(same.conv.weight, student.conv.weight)
    assert lines[-1] == "fine-tuning found nothing better"


def test_the_published_student_is_tuned_as_well(run, windows) -> None:
    """Attention, layer norm and softsign: no gradient may be lost to the reciprocal root of a variance of zero."""
    folded = InferenceStudent(run.student(), integer=True)
    lines: list[str] = []
    tuned = fine_tune(folded, windows.gsr[:64], windows.gsr[64:80], seed=0, report=lines.append, epochs=1)
    assert isinstance(tuned, InferenceStudent)
    assert len(lines) == 3
    assert not any(weight.requires_grad for weight in tuned.parameters())
    assert np.isfinite(torch_logits(tuned, windows.gsr[:4])).all()


def test_there_must_be_windows_of_both_sides(student) -> None:
    for train, validation, whose in ((TRAIN[:0], VALIDATION, "training"), (TRAIN, VALIDATION[:0], "validation")):
        with pytest.raises(DataError, match=f"no {whose} window"):
            fine_tune(student, train, validation, seed=0, report=str)
