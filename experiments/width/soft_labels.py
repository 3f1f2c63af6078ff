"""Cross entropy with soft labels, and labels that make a net an exact critical point of it."""

from __future__ import annotations

import torch
from torch import Tensor

from lib.linear import jacobian
from lib.nets import MLP, flatten, forward, unflatten


def soft_cross_entropy(output: Tensor, y: Tensor) -> Tensor:
    """Mean over samples of -sum_k y_k log softmax(output)_k, one number for each net.

    >>> soft_cross_entropy(torch.zeros(1, 2), torch.tensor([[0.5, 0.5]]))
    tensor(0.6931)
    """
    return -(y * output.log_softmax(-1)).sum(-1).mean(-1)


def plant_labels(net: MLP, x: Tensor, generator: torch.Generator, size: float = 0.1) -> Tensor:
    """y = softmax(f) - r with J^T r = 0 and rows of r that add up to 0: the slope of the loss at
    the output is r / n, so that the gradient J^T r / n vanishes."""
    theta = flatten(net).detach().requires_grad_()
    output = forward(unflatten(theta, net), x)
    rows = torch.eye(len(x), dtype=x.dtype).repeat_interleave(output.shape[-1], 0)
    constraints = torch.cat([jacobian(output, [theta]), rows], 1)
    left, s, _ = torch.linalg.svd(constraints, full_matrices=True)
    kernel = left[:, int((s > 1e-12 * s[0]).sum()) :]
    r = kernel @ (kernel.T @ torch.randn(len(left), generator=generator, dtype=x.dtype))
    r = size * r / r.abs().max()
    return (output.softmax(-1) - r.reshape(output.shape)).detach()
