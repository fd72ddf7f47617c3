"""Folding in float64: batch norms into the layer before them, consecutive dense layers into one."""

import torch
from torch import Tensor, nn

from ekd_train.models.blocks import Classifier, Classifiers, LinearClassifier

__all__ = ["batch_norm", "constant", "folded_classifier", "linear", "normed"]


def batch_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift (features,), float64, of the norm in inference mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def normed(dense: nn.Linear, norm: nn.BatchNorm1d) -> nn.Linear:
    """The dense layer and the batch norm after it, as one dense layer."""
    scale, shift = batch_norm(norm)
    return linear(dense.weight.double() * scale[:, None], dense.bias.double() * scale + shift)


def folded_classifier(classifiers: Classifiers) -> nn.Linear:
    """The dense layers of all targets' classifiers as one layer: feature -> targets * classes."""
    weights, biases = [], []
    for classifier in classifiers.values():
        assert isinstance(classifier, Classifier | LinearClassifier)
        first, *others = classifier.layers()
        weight, bias = first.weight.double(), first.bias.double()
        for dense in others:
            weight = dense.weight.double() @ weight
            bias = dense.weight.double() @ bias + dense.bias.double()
        weights.append(weight)
        biases.append(bias)
    return linear(torch.cat(weights), torch.cat(biases))


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A float32 dense layer with this weight (outputs, inputs) and bias (outputs,)."""
    dense = nn.Linear(weight.shape[1], weight.shape[0])
    dense.weight, dense.bias = constant(weight), constant(bias)
    return dense


def constant(values: Tensor) -> nn.Parameter:
    """A float32 copy without gradient."""
    return nn.Parameter(values.detach().float().contiguous().clone(), requires_grad=False)
