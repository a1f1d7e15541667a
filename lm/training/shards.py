"""A batch's gradient, formed in slices whose sum has the same bits on any number of processes.

Floating-point sums depend on their order, so the order is made part of a run's configuration, and the number of
processes is not: a batch is cut into ``shards`` slices, the gradient of each is one flat fp32 vector, and the vectors
are added pairwise in a binary tree. A process holds a subtree; what is above it is added between processes.

    shards       0   1   2   3   4   5   6   7
                 └─┬─┘   └─┬─┘   └─┬─┘   └─┬─┘    with 2 processes, within each
                   └───┬───┘       └───┬───┘      as well
                       └───────┬───────┘          between them
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lm.corpus.windows import PADDING, Batch
from lm.training.processes import Processes


def slices(batch: Batch, shards: int) -> list[Batch]:
    """The batch's windows in order, in ``shards`` parts whose sizes differ by one at most, the larger ones first.

    Of a batch with fewer windows the last parts are empty.
    """
    padded = batch.predicted < batch.targets_BT.numel()
    parts = zip(batch.inputs_BT.tensor_split(shards), batch.targets_BT.tensor_split(shards), strict=True)
    return [
        Batch(inputs_BT, targets_BT, int((targets_BT != PADDING).sum()) if padded else targets_BT.numel())
        for inputs_BT, targets_BT in parts
    ]


@dataclass(frozen=True, kw_only=True)
class Sum:
    """Over some shards: the gradients of all parameters in one vector, and the negative log-likelihood."""

    gradient_P: Tensor
    nll: Tensor


class ShardedGradient:
    """Leaves a batch's gradient in ``parameters``, as a backward pass over the whole batch does."""

    def __init__(self, parameters: Iterable[nn.Parameter], shards: int, processes: Processes) -> None:
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self._sizes = [parameter.numel() for parameter in self._parameters]
        self._shards, self._processes = shards, processes

    def form(self, batch: Batch, backward: Callable[[Batch, int], Tensor]) -> Tensor:
        """Set every parameter's gradient to the sum over all shards, of every process.

        ``backward`` takes a slice and its number, adds its gradients to the parameters', and returns its negative
        log-likelihood. Returns that of this process's shards, float64.
        """
        parts, here = slices(batch, self._shards), self._shards // self._processes.size
        total = self._sum(parts, backward, self._processes.rank * here, here)
        gradient_P = self._processes.add_up(total.gradient_P)
        for parameter, gradient in zip(self._parameters, gradient_P.split(self._sizes), strict=True):
            parameter.grad = gradient.view_as(parameter)
        return total.nll

    def _sum(self, parts: list[Batch], backward: Callable[[Batch, int], Tensor], first: int, count: int) -> Sum:
        if count == 1:
            return self._of_one(parts[first], first, backward)
        half = count // 2
        left = self._sum(parts, backward, first, half)
        right = self._sum(parts, backward, first + half, half)
        return Sum(gradient_P=left.gradient_P.add_(right.gradient_P), nll=left.nll + right.nll)

    def _of_one(self, part: Batch, number: int, backward: Callable[[Batch, int], Tensor]) -> Sum:
        some = self._parameters[0]
        if part.predicted == 0:
            nothing = some.new_zeros(sum(self._sizes))
            return Sum(gradient_P=nothing, nll=some.new_zeros((), dtype=torch.float64))
        nll = backward(part, number)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters]
        for parameter in self._parameters:
            parameter.grad = None
        return Sum(gradient_P=torch.cat([gradient.flatten() for gradient in gradients]), nll=nll)
