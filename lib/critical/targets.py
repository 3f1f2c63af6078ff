"""Targets that turn a given net into an exact critical point: minima and saddles without any training."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.func import jacrev

from lib.mlp import MLP, flatten, forward, unflatten


def critical_targets(net: MLP, x: Tensor, residual: float, *, generator: torch.Generator | None = None) -> Tensor:
    """Targets y for which the net is a critical point of the MSE with a residual of the given size.

    y = f(x) - r with J^T r = 0, where J = df(x)/dtheta, (n m_L, M): then grad R = (2 / (n m_L)) J^T r = 0. The Hessian is
    (2 / (n m_L)) (J^T J + sum_i r_i grad^2 f_i): small residuals leave a minimum (up to the net's own symmetries), large
    ones make a saddle unless the second sum is semi-definite.

    Args:
        net: one float64 net;  x: inputs (n, m_0), with n m_L larger than the rank of J.
        residual: root mean square of r, >= 0;  generator: draws r's direction in the null space; without one, seed 0.
    Returns:
        y, (n, m_L).
    Raises:
        TypeError: not float64.  ValueError: a batch of nets, a negative residual, or no null space (more samples needed).

    >>> from lib.mlp import init
    >>> from lib.risk import gradient
    >>> net, x = init((1, 2, 1)), torch.linspace(-2, 2, 12, dtype=torch.float64)[:, None]
    >>> bool(flatten(gradient(net, x, critical_targets(net, x, 0.3))).abs().max() < 1e-15)
    True
    """
    if net.batch:
        raise ValueError(f"{net!r} is a batch of nets: index one first")
    if net.dtype != torch.float64:
        raise TypeError(f"net is {net.dtype}: a criticality to rounding needs torch.float64")
    if not (isinstance(residual, (int, float)) and math.isfinite(residual) and residual >= 0):
        raise ValueError(f"residual is {residual!r}: expected a finite number >= 0")
    theta = flatten(net)
    f = forward(net, x)
    jacobian = jacrev(lambda v: forward(unflatten(v, net), x).flatten())(theta)
    u, s, _ = torch.linalg.svd(jacobian, full_matrices=True)
    rank = int((s > s[0] * max(jacobian.shape) * torch.finfo(s.dtype).eps).sum())
    null = u[:, rank:]
    if null.shape[1] == 0:
        raise ValueError(
            f"{net!r} can move its {f.numel()} outputs in every direction: no residual is critical; "
            f"expected more than {rank} outputs (n m_L), so more samples"
        )
    generator = generator or torch.Generator().manual_seed(0)
    r = null @ torch.randn(null.shape[1], generator=generator, dtype=f.dtype)
    return f - (residual * math.sqrt(f.numel()) / r.norm() * r).reshape(f.shape)
