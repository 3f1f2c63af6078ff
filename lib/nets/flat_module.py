"""An `nn.Module` as a function of one vector, all its parameters in a row, for derivatives of every
order."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call


def parameter_vector(module: nn.Module) -> Tensor:
    """All parameters (M,), detached, in the order of `module.parameters()`.

    >>> parameter_vector(nn.Linear(2, 3)).shape
    torch.Size([9])
    """
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


def output_at(module: nn.Module, theta: Tensor, x: Tensor) -> Tensor:
    """module(x) with the parameters theta (M,), differentiable in theta; the module itself stays as
    it is.

    Raises:
        ValueError: theta is not (M,).

    >>> output_at(nn.Linear(1, 1), torch.tensor([2.0, 1.0]), torch.ones(1, 1))
    tensor([[3.]])
    """
    names, shapes = zip(*((n, p.shape) for n, p in module.named_parameters()), strict=True)
    sizes = [s.numel() for s in shapes]
    if theta.shape != (sum(sizes),):
        raise ValueError(f"theta has shape {tuple(theta.shape)}: expected ({sum(sizes)},)")
    state = {n: p.reshape(s) for n, p, s in zip(names, theta.split(sizes), shapes, strict=True)}
    # Copies, because BatchNorm writes its running statistics in training mode.
    state |= {n: b.clone() for n, b in module.named_buffers()}
    return functional_call(module, state, (x,))
