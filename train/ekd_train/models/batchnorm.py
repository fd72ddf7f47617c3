"""Recomputation of BatchNorm statistics for the current weights."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

__all__ = ["recompute_statistics"]


def recompute_statistics(network: nn.Module, forward: Callable[[Tensor], object], batches: Iterable[Tensor]) -> None:
    """Recompute the statistics of every BatchNorm as averages over these batches, without dropout.

    The published momentum keeps 99 % of the old value at every step. After a few hundred steps the running statistics
    lag behind the weights, so an evaluation with them does not measure the current network.
    The network is in inference mode afterwards.

    Args:
        network: the network.
        forward: runs the network on the windows with these indices.
        batches: indices of windows, one tensor per batch.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for batch in batches:
            forward(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
