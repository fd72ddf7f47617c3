"""A clock that the test moves, and predictions and blocks to show."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from ekd_edge.prediction import Prediction
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.quality import Quality
from ekd_edge.sinks import terminal

LABELS = {"arousal": ("low", "high"), "valence": ("low", "high")}
GOOD = Prediction(
    first_index=256,
    time_s=754.0,
    segment=0,
    probabilities={"arousal": (0.25, 0.75), "valence": (0.6, 0.4)},
    labels={"arousal": "high", "valence": "low"},
    quality=Quality(1.0),
    latency_ms=0.913,
)
BAD = replace(GOOD, labels={"arousal": None, "valence": None}, quality=Quality(0.0, "electrodes off or dry"))


class Clock:
    """Seconds that pass only when the test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def wait(self, seconds: float = 10.0) -> None:
        self.now_s += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(terminal, "monotonic", clock)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return clock


def block(seconds: float, first_s: float = 0.0, level: float = 4.83) -> SampleBlock:
    return SampleBlock(np.full(int(seconds * 16), level), int(first_s * 16), Fraction(16))
