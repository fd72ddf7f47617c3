"""BatchNorm statistics of the current weights."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

__all__ = ["settle_statistics"]


def settle_statistics(network: nn.Module, forward: Callable[[Tensor], object], batches: Iterable[Tensor]) -> None:
    """Recompute the statistics of every BatchNorm from these batches, without dropout, as plain averages.

    The published momentum keeps 99 % of the old value at every step, so after a few hundred steps the running
    statistics still lag behind the weights, and an evaluation with them does not measure the current network.

    forward: runs the network on the windows at these indices. The network is left in inference mode.
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
