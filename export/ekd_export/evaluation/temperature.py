"""Temperature scaling: one temperature a target makes confidences fit accuracies, and changes no class.

The temperature minimizes the negative log-likelihood (NLL) of the validation subjects' labels (Guo et al., On
Calibration of Modern Neural Networks, ICML 2017, section 4.2). It is folded into the last layer, whose weight and bias
are divided by it, before anything else happens to the student.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ekd_export.evaluation.window_metrics import reliability
from ekd_train.data.windows import WindowSet
from ekd_train.models.blocks import Classifier, LinearClassifier
from ekd_train.models.student import Student

__all__ = ["Temperature", "fit_temperature", "fit_temperatures", "with_temperatures"]

SMALLEST, LARGEST = 0.1, 10.0


@dataclass(frozen=True, slots=True)
class Temperature:
    """The temperature of one target, and what it changes on the validation windows that it was fitted on.

    value: 1 where none was fitted. nll: per window. ece: see `reliability`. The figures are None without windows.
    why_not: why none was fitted, with a remedy; None where one was.
    """

    target: str
    value: float
    windows: int
    nll_before: float | None
    nll_after: float | None
    ece_before: float | None
    ece_after: float | None
    why_not: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields, JSON-ready."""
        return asdict(self)


def fit_temperatures(
    validation: WindowSet, logits: NDArray[np.float32], class_names: Sequence[str]
) -> tuple[Temperature, ...]:
    """Fit one temperature for each target.

    Args:
        validation: the windows of the validation subjects, n of them; n may be 0.
        logits: of the float student, (n, targets, classes).
        class_names: in the order of the logits.

    Returns:
        A temperature for each target, in order: 1 where a class has no validation window.
    """
    return tuple(
        _of_target(target, validation.labels[:, column], logits[:, column], class_names)
        for column, target in enumerate(validation.targets)
    )


def fit_temperature(labels: NDArray[np.int64], logits: NDArray[np.float32]) -> float:
    """The temperature from 0.1 to 10 with the least NLL; labels (n,), logits (n, classes), n at least 1."""
    from scipy.optimize import minimize_scalar

    bounds = (np.log(SMALLEST), np.log(LARGEST))
    found = minimize_scalar(lambda log: _nll(labels, logits / np.exp(log)), bounds=bounds, method="bounded")
    return float(np.exp(found.x))


def with_temperatures(student: Student, temperatures: Mapping[str, float]) -> Student:
    """A copy of the student whose logits of each target are divided by its temperature."""
    scaled = copy.deepcopy(student)
    with torch.no_grad():
        for target, value in temperatures.items():
            classifier = scaled.classifier[target]
            assert isinstance(classifier, Classifier | LinearClassifier)
            last = classifier.layers()[-1]
            last.weight.div_(value)
            last.bias.div_(value)
    return scaled.eval()


def _of_target(
    target: str, labels: NDArray[np.int64], logits: NDArray[np.float32], class_names: Sequence[str]
) -> Temperature:
    for number, name in enumerate(class_names):
        if not (labels == number).any():
            why_not = (
                f"no validation window is {name} {target}, so no temperature is fitted and probabilities stay as "
                "trained: give validation more subjects with split.validation"
            )
            return Temperature(target, 1.0, len(labels), None, None, None, None, why_not)
    value = fit_temperature(labels, logits)
    scaled = logits / np.float32(value)
    return Temperature(
        target=target,
        value=value,
        windows=len(labels),
        nll_before=_nll(labels, logits),
        nll_after=_nll(labels, scaled),
        ece_before=reliability(labels, logits).ece,
        ece_after=reliability(labels, scaled).ece,
    )


def _nll(labels: NDArray[np.int64], logits: NDArray[np.float32]) -> float:
    from scipy.special import log_softmax

    logs = log_softmax(logits.astype(np.float64), axis=1)
    return float(-logs[np.arange(len(labels)), labels].mean())
