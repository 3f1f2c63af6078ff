"""An `nn.Module` as a function of its parameters, for derivatives of every order."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lib.nets.kinds import overwrites


def output_and_leaves(module: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """module(x), and the tensors that stand for its parameters in it, for torch.autograd.

    The module is used in its present modes and left as it is: no gradients, no running statistics
    change. Works under torch.no_grad too.

    >>> linear = nn.Linear(1, 1)
    >>> output, leaves = output_and_leaves(linear, torch.ones(3, 1))
    >>> torch.autograd.grad(output.sum(), leaves)[1], linear.bias.grad
    (tensor([3.]), None)
    """
    with torch.enable_grad():
        leaves = {name: p.detach().requires_grad_() for name, p in module.named_parameters()}
        # copies, because BatchNorm writes its running statistics in training mode
        buffers = {name: b.clone() for name, b in module.named_buffers()}
        x = x.detach().clone() if overwrites(module) else x.detach()
        output = cast(Tensor, functional_call(module, {**leaves, **buffers}, (x,)))
    return output, list(leaves.values())
