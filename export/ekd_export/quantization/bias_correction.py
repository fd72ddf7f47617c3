"""Bias correction: the mean error of the int8 logits on calibration windows is subtracted from the last bias.

Rounding and clipped values leave errors that do not average out over windows. Nagel et al., "Data-Free Quantization
Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2, correct every layer; here the logits only,
because the decision depends on them and the correction needs no further tensor.
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

__all__ = ["correct_bias"]


def correct_bias(folded: nn.Module, quantized: NDArray[np.float32], exact: NDArray[np.float32]) -> nn.Module:
    """Return a copy of a folded student whose last bias removes the mean error of its quantized logits.

    Args:
        folded: the student that was quantized; its last layer is `classifier`.
        quantized: logits (n, targets, classes) of the quantized student for calibration windows.
        exact: logits of the float student for the same windows.

    Returns:
        The corrected student, to be quantized again.
    """
    corrected = copy.deepcopy(folded)
    error = (quantized.astype(np.float64) - exact).mean(axis=0).ravel()
    classifier = corrected.classifier
    assert isinstance(classifier, nn.Linear)
    with torch.no_grad():
        classifier.bias.sub_(torch.from_numpy(error).to(classifier.bias.dtype))
    return corrected
