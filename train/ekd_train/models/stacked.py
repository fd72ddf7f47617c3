"""A stack of networks of one shape that are trained together, such as all folds of a sweep.

A `Stack` stores the weights of its members along a leading axis and evaluates them with `torch.func.vmap`. The losses
of `ekd_train.training.distillation` are summed over members, so each member gets its own gradient. Adam works element
by element, so its step of each member is the same as without the stack.
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
    """K networks as one module: inputs (K, B, ...) -> Output of tensors (K, B, ...). Dropout differs by member."""

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
        """Float windows (K, B, ...) of each input -> Output of tensors (K, B, ...)."""
        parameters: dict[str, Tensor] = dict(self.template.named_parameters())
        buffers = dict(self.template.named_buffers())

        def one(weights: dict[str, Tensor], statistics: dict[str, Tensor], *windows: Tensor) -> tuple[Tensor, ...]:
            return tuple(functional_call(self.template, (weights, statistics), windows))

        return Output(*vmap(one, randomness="different")(parameters, buffers, *inputs))

    def regularization(self) -> Tensor:
        """Return the sum of the members' penalties."""
        return self.template.regularization()

    def members(self) -> Iterator[Student | Teacher]:
        """Yield each member as a separate network with a copy of its weights."""
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
    def set_statistics(self, number: int, member: nn.Module) -> None:
        """Copy the BatchNorm statistics of `member` to the member of this number."""
        for (_, mine), (_, theirs) in zip(self.template.named_buffers(), member.named_buffers(), strict=True):
            mine[number] = theirs


Network = Student | Teacher | Stack


def assemble(members: Sequence[Student | Teacher], stacked: bool) -> Network:
    """Return the stack of all members if `stacked`, else the first member."""
    return Stack(members) if stacked else members[0]


def _owner(network: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    return network.get_submodule(path), leaf
