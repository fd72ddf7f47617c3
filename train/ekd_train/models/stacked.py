"""Several networks of one shape trained side by side: one set of kernels for all folds of a sweep.

A `Stack` holds the weights of its members along a leading axis and runs them by `torch.func.vmap`; the losses of
`ekd_train.training.distillation` are summed over members, so each gets its own gradient, and Adam, which works
element by element, takes the same step for each as it would alone.
"""

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from ekd_train.models.config import Output
from ekd_train.models.student import Student
from ekd_train.models.teacher import Teacher

__all__ = ["Network", "Stack", "assemble"]


class Stack(nn.Module):
    """Networks (K of them) as one: inputs (K, B, ...) -> Output of tensors (K, B, ...). Dropout differs by member."""

    def __init__(self, members: Sequence[Student | Teacher]) -> None:
        super().__init__()
        self.count = len(members)
        self.template = copy.deepcopy(members[0])
        parameters, buffers = stack_module_state(list(members))
        for name, tensor in parameters.items():
            owner, leaf = _owner(self.template, name)
            owner._parameters[leaf] = nn.Parameter(tensor.detach())
        for name, tensor in buffers.items():
            owner, leaf = _owner(self.template, name)
            owner._buffers[leaf] = tensor.detach()

    def forward(self, *inputs: Tensor) -> Output:
        """Float windows with a leading axis of members."""
        parameters: dict[str, Tensor] = dict(self.template.named_parameters())
        buffers = dict(self.template.named_buffers())

        def one(weights: dict[str, Tensor], statistics: dict[str, Tensor], *windows: Tensor) -> tuple[Tensor, ...]:
            return tuple(functional_call(self.template, (weights, statistics), windows))

        return Output(*vmap(one, randomness="different")(parameters, buffers, *inputs))

    def regularization(self) -> Tensor:
        """The sum of the members' penalties."""
        return self.template.regularization()

    def members(self) -> Iterator[Student | Teacher]:
        """Each member as a network of its own, with copies of its weights."""
        state = self.template.state_dict(keep_vars=True)
        for number in range(self.count):
            member = copy.deepcopy(self.template, {id(tensor): tensor for tensor in state.values()})
            for name, tensor in state.items():
                owner, leaf = _owner(member, name)
                mine = tensor[number].detach().clone()
                if leaf in owner._parameters:
                    owner._parameters[leaf] = nn.Parameter(mine)
                else:
                    owner._buffers[leaf] = mine
            yield member

    @torch.no_grad()
    def take_statistics(self, number: int, member: nn.Module) -> None:
        """Copy a member's batch statistics back."""
        for (_, mine), (_, theirs) in zip(self.template.named_buffers(), member.named_buffers(), strict=True):
            mine[number] = theirs


Network = Student | Teacher | Stack


def assemble(members: Sequence[Student | Teacher], stacked: bool) -> Network:
    """The single network, or the stack of all."""
    return Stack(members) if stacked else members[0]


def _owner(network: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    return network.get_submodule(path), leaf
