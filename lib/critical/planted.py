"""Targets for which a given net, of any depth and with any weights, is an exact critical point."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lib.linear import above_rounding, jacobian
from lib.nets import MLP, flatten, forward, unflatten
from lib.nets.checks import check_single, finite_number
from lib.nets.dense import check_inputs, check_precise
from lib.nets.derivatives import output_and_leaves
from lib.nets.samples import check_samples


def plant(
    net: MLP | nn.Module, x: Tensor, generator: torch.Generator, *, residual: float = 1.0
) -> Tensor:
    """Targets y that make `net` a critical point of the mean squared error on (x, y), with a
    residual that is not zero.

    grad R = (2 / nk) J^T (f(x) - y) vanishes as soon as f(x) - y is orthogonal to the columns of
    J = df(x)/dtheta: y = f(x) - r with r the part of a random vector in the kernel of J^T. No
    training is needed, and the Hessian keeps its residual part E sum_i r_i grad^2 f_i, so that the
    point may be a minimum (small residual) or a saddle.

    Args:
        net: one `MLP`, or a module with outputs (n, m_L) in the mode in which it is to be critical.
        x: inputs (n, ...), with n m_L > rank J.
        residual: root mean square of r, >= 0.
    Returns:
        y, (n, m_L).
    Raises:
        ValueError: a batch of nets, too few samples for a kernel, or residual < 0.
    Source: (derived; the empirical critical points of Zhang et al. 2021, Sec. 3.2, are found by
        training instead).

    >>> from lib.nets import init
    >>> from lib.nets import gradient, risk
    >>> g = torch.Generator().manual_seed(0)
    >>> net = init((2, 3, 3, 1), generator=0)
    >>> x = torch.randn(40, 2, generator=g, dtype=torch.float64)
    >>> y = plant(net, x, g)
    >>> round(float(risk(net, x, y)), 9), bool(flatten(gradient(net, x, y)).abs().max() < 1e-14)
    (1.0, True)
    """
    if isinstance(net, MLP):
        check_single(net)
        check_inputs(net, x)
    check_samples(x)
    check_precise("x", x.dtype)
    if finite_number("residual", residual) < 0:
        raise ValueError(f"residual is {residual}: expected >= 0")
    output, derivative = _linearised(net, x)
    # The full left singular basis: its columns beyond the rank span the kernel of J^T, to machine
    # precision.
    left, s, _ = torch.linalg.svd(derivative, full_matrices=True)
    found = int(above_rounding(s, derivative.shape).sum())
    free = output.numel() - found
    if free == 0:
        raise ValueError(
            f"{len(x)} samples of {output.shape[-1]} outputs leave no residual orthogonal to a"
            f" Jacobian of rank {found}: expected more than {found // output.shape[-1]} samples"
        )
    # A random vector projected, not random coordinates: the columns are any basis, another one on
    # another machine.
    kernel = left[:, found:]
    r = kernel @ (kernel.T @ torch.randn(output.numel(), generator=generator, dtype=output.dtype))
    scaled: Tensor = r * residual / r.square().mean().sqrt()
    return output - scaled.reshape(output.shape)


def _linearised(net: MLP | nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The output (n, m_L) and its Jacobian (n m_L, M)."""
    if not isinstance(net, MLP):
        output, leaves = output_and_leaves(net, x)
        return output.detach(), jacobian(output, leaves)
    output = forward(net, x).detach()
    # One copy of the net for every entry of the output: a single backward pass gives every row of
    # the Jacobian.
    copies = flatten(net).detach().expand(output.numel(), -1).clone().requires_grad_()
    with torch.enable_grad():
        entries = forward(unflatten(copies, net), x.detach()).flatten(1).diagonal()
        (derivative,) = torch.autograd.grad(entries.sum(), copies)
    return output, derivative
