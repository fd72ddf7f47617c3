import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ekd_edge.errors import ExportError
from ekd_export.convert.fold import InferenceStudent
from ekd_export.quantization.annotate import FakeQuantized, _range, check_tunable
from ekd_export.quantization.recipes import RECIPES

SAMPLES = 12


class Gated(nn.Module):
    """A dense layer with a fused gate, whose product with a second dense layer is averaged."""

    def __init__(self, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.limits = nn.Linear(4, 4), nn.Linear(4, 4), (low, high)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        tokens = window.view(-1, 3, 4)
        return (F.hardtanh(self.first(tokens), *self.limits) * self.second(tokens)).mean(1)


class Unfused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(SAMPLES, 4)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        values = self.dense(window)
        return values * F.relu(values)


def test_attention_is_refused_by_name(run) -> None:
    folded = InferenceStudent(run.student(), integer=True)
    with pytest.raises(
        ExportError, match=r"fake quantization does not support .*softmax.*: use the recipe static or dynamic$"
    ):
        check_tunable(folded, run.network.window_samples)


def test_refusal_precedes_tuning(run) -> None:
    folded = InferenceStudent(run.student(), integer=True)
    with pytest.raises(ExportError, match="recipe qat cannot fine-tune"):
        FakeQuantized(folded, run.network.window_samples, RECIPES["qat"])


@pytest.mark.parametrize("student", [Gated(-4.0, 4.0), Unfused()], ids=["other limits", "several readers"])
def test_activation_function_that_is_not_fused_is_refused(student) -> None:
    with pytest.raises(ExportError, match=r"fake quantization does not support (hardtanh|relu)"):
        check_tunable(student, SAMPLES)


def test_every_output_is_rounded_once() -> None:
    """Input, gate, second dense layer, product, mean; the first dense layer is rounded after its gate."""
    quantized = FakeQuantized(Gated(), SAMPLES, RECIPES["qat"])
    schemes = [each.qscheme for each in quantized.module.modules() if hasattr(each, "fake_quant_enabled")]
    assert schemes.count(torch.per_tensor_affine) == 5
    assert schemes.count(torch.per_channel_symmetric) == 2


def test_rounding_is_off_until_ranges_are_measured_and_on_after() -> None:
    student, windows = Gated(), torch.randn(40, SAMPLES, generator=torch.Generator().manual_seed(0))
    quantized = FakeQuantized(student, SAMPLES, RECIPES["qat"])
    assert torch.equal(quantized.logits(windows), student(windows))
    quantized.measure(windows)
    rounded = quantized.logits(windows)
    assert not torch.equal(rounded, student(windows))
    assert torch.allclose(rounded, student(windows), atol=0.05)
    quantized.enable(False)
    assert torch.equal(quantized.logits(windows), student(windows))


def test_ranges_are_those_of_the_last_windows_measured() -> None:
    windows = torch.randn(40, SAMPLES, generator=torch.Generator().manual_seed(0))
    once, twice = (FakeQuantized(Gated(), SAMPLES, RECIPES["qat"]) for _ in range(2))
    once.measure(windows)
    twice.measure(100 * windows)
    twice.logits(50 * windows)
    twice.measure(windows)
    assert torch.equal(once.logits(windows), twice.logits(windows))


def test_zero_point_of_a_symmetric_range_is_zero() -> None:
    quantized = FakeQuantized(Gated(), SAMPLES, RECIPES["qat"])
    quantized.measure(100 * torch.randn(200, SAMPLES, generator=torch.Generator().manual_seed(0)))
    gates = [
        each.zero_point.item()
        for each in quantized.module.modules()
        if hasattr(each, "fake_quant_enabled") and each.scale.tolist() == pytest.approx([2 / 255])
    ]
    assert gates == [0]


def test_range_is_that_of_calibration() -> None:
    values = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    quantiles = torch.quantile(values, torch.tensor([0.0005, 0.9995]))
    assert _range(values, 99.9) == pytest.approx(quantiles.tolist(), abs=0.01)
    assert _range(values, 100) == (values.min().item(), values.max().item())
    rare = torch.zeros(100_000)
    rare[7] = 2
    assert _range(rare, 99.9) == (0, 2), "percentiles would leave no range"


def test_weights_are_a_copy_with_the_names_of_the_student() -> None:
    student = Gated()
    quantized = FakeQuantized(student, SAMPLES, RECIPES["qat"])
    assert quantized.weights.keys() == dict(student.named_parameters()).keys()
    with torch.no_grad():
        quantized.weights["first.bias"].add_(1)
    assert torch.equal(student.first.bias, Gated().first.bias)
    assert all(weight.requires_grad for weight in quantized.weights.values())


def test_torchao_is_silent_and_loaded_when_needed() -> None:
    code = (
        "import sys, ekd_export.quantization.qat as qat, numpy as np, torch; assert 'torchao' not in sys.modules; "
        "rows = np.ones((4, 6), np.float32); student = torch.nn.Linear(6, 2); "
        "qat.fine_tune(student, rows, rows, rows, seed=0, notify=lambda _: None, epochs=1); "
        "assert 'torchao' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
