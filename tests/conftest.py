"""What holds for all tests, and what several of their folders need."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware_bridge.toolchain import Target, build, missing_tools

if TYPE_CHECKING:
    from ekd_train.network import NetworkConfig
    from ekd_train.student import Student


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Converted windows go to a folder of this session, never to the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "EKD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """built(target, **settings): what the C sources are built to; without the tools tests skip, and fail in CI."""
    made: dict[tuple[object, ...], Path] = {}

    def make(target: Target, **settings: str) -> Path:
        if (missing := missing_tools(target)) is not None:
            if os.environ.get("CI"):
                pytest.fail(missing)
            pytest.skip(missing)
        key = (target, *sorted(settings.items()))
        if key not in made:
            made[key] = build(target, tmp_path_factory.mktemp("csrc"), settings)
        return made[key]

    return make


@pytest.fixture(scope="session")
def random_student() -> "Callable[[NetworkConfig, NDArray[np.float32]], Student]":
    """A function of a shape and windows (n, window_samples) that makes a student of any kind without training."""
    return make_student


def make_student(config: "NetworkConfig", windows: NDArray[np.float32]) -> "Student":
    """Random weights and batch norm statistics; both classes of each target are predicted about as often."""
    import torch

    from ekd_train.student import Student

    torch.manual_seed(11)
    student = Student(config)
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            torch.nn.init.normal_(module.running_mean, std=0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.7, 1.6)
            torch.nn.init.normal_(module.bias, std=0.3)
    student.eval()
    with torch.no_grad():
        logits = student(torch.tensor(windows)).logits
        for column, classifier in enumerate(student.classifier.values()):
            bias = classifier.layers()[-1].bias
            bias[1] += (logits[:, column, 0] - logits[:, column, 1]).median()
    return student
